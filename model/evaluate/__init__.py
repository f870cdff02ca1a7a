"""Accuracy, calibration, robustness, the model card: python -m model.evaluate."""
