"""Runs the export command: python -m model.export."""

import sys

from model.export.export import main

if __name__ == "__main__":
    sys.exit(main())
