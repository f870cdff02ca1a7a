"""Calibration: fits temperature and out-of-distribution detector of a trained network (python -m model.calibrate)."""
