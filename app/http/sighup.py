"""SIGHUP before there is anything to load anew: it waits, where it would end the process."""

import signal

HANGUP: set[signal.Signals] = {signal.SIGHUP} if hasattr(signal, "SIGHUP") else set()


def hold() -> None:
    """From now on one that comes waits, in this thread and in whatever threads and processes it starts."""
    if HANGUP:
        signal.pthread_sigmask(signal.SIG_BLOCK, HANGUP)


def release() -> None:
    """One that came meanwhile is delivered, to the handler that there has to be by now."""
    if HANGUP:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANGUP)
