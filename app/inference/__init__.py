"""Preprocessed pictures to scores: admission control, batching, engines, their health and replacement."""
