"""Runs the evaluation command: python -m model.evaluate."""

import sys

from model.evaluate.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
