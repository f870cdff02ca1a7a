"""From 96×96 pictures to scores: admission, batching, engines, health."""
