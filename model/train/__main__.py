"""Runs the training command: python -m model.train."""

import sys

from model.train.command_line import main

if __name__ == "__main__":
    sys.exit(main())
