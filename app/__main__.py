"""python -m app."""

import sys

from app.http.sighup import hold


def main() -> int:
    """What the process exits with."""
    hold()
    from app.http.serve import start  # takes most of a second

    return start()


if __name__ == "__main__":
    sys.exit(main())
