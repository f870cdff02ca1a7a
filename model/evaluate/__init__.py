"""Evaluation: accuracy, calibration, robustness, outlier detection and the model card (python -m model.evaluate)."""
