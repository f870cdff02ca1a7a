"""`python -m app`: serves with the settings of the environment."""

import sys

from app.http.sighup import block_sighup


def main() -> int:
    """Returns the exit status."""
    block_sighup()
    from app.http.serve import serve  # takes most of a second

    return serve()


if __name__ == "__main__":
    sys.exit(main())
