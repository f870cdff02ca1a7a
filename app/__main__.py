"""`python -m app`: serves with the settings of the environment."""

import signal
import sys


def main() -> int:
    """Returns the exit status."""
    # SIGHUP stays pending, here and in threads and processes that start here, until there is a checkpoint to reload.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    from app.http.serve import serve  # takes most of a second

    return serve()


if __name__ == "__main__":
    sys.exit(main())
