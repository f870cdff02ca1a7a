"""Runs the calibration command: python -m model.calibrate."""

import sys

from model.calibrate.calibrate import main

if __name__ == "__main__":
    sys.exit(main())
