"""python -m app."""

import sys

from app.hangup import hold


def main() -> int:
    """What the process exits with."""
    hold()
    from app.start import start  # takes most of a second

    return start()


if __name__ == "__main__":
    sys.exit(main())
