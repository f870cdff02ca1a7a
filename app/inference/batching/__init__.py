"""Groups the pictures of many requests into batches and runs them on the engine."""
