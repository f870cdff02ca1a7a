"""Temperature and out-of-distribution detector: python -m model.calibrate."""
