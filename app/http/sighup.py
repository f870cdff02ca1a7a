"""Blocks SIGHUP until there is a checkpoint to reload. Its default action would end the process."""

import signal

SIGHUP: set[signal.Signals] = {signal.SIGHUP} if hasattr(signal, "SIGHUP") else set()
"""Empty on Windows."""


def block_sighup() -> None:
    """A SIGHUP stays pending in this thread, and in threads and processes that it starts."""
    if SIGHUP:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGHUP)


def unblock_sighup() -> None:
    """Delivers a pending SIGHUP. Its handler has to be installed by now."""
    if SIGHUP:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGHUP)
