"""Counts the cores that the process may use (affinity, cgroup quota), and lowers the engine threads' priority."""

import math
import os
import sys
import threading
from pathlib import Path

CGROUP_QUOTAS = (Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
"""cgroup v2, "quota period" or "max period"; cgroup v1, the quota alone, with its period in a file beside it."""

ENGINE_NICENESS = 7
"""Added to the niceness of the engine's threads: the event loop then gets almost five times their share of a core."""

THREAD_SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that runs Python yields, for sys.setswitchinterval. With Python's 5 ms, the engine's
threads would wait that long for the event loop or for threads that decode."""

WORKERS_VARIABLE = "GOOGLENET_WORKERS"
"""The environment variable with the number of worker processes, which share the cores."""


def usable_cores() -> int:
    """Cores for each worker process, at least 1. A quota of one and a half cores counts as two."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, math.ceil(_quota() or cores)) // int(os.environ.get(WORKERS_VARIABLE, "1")))


def lower_thread_priority() -> None:
    """Makes this thread, and the threads it starts later, give way to the event loop.

    Under overload the event loop must run at once to refuse requests. Only Linux has niceness for each thread. A second
    call, or a call in a thread that inherited the lower priority, changes nothing.
    """
    if sys.platform == "linux":
        main_thread = os.getpriority(os.PRIO_PROCESS, os.getpid())
        niceness = max(os.nice(0), min(19, main_thread + ENGINE_NICENESS))
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


def _quota() -> float | None:
    """Cores that the container may use, None without a limit."""
    v2, v1 = CGROUP_QUOTAS
    try:
        if v2.exists():
            quota, period = v2.read_text().split()
        else:
            quota, period = v1.read_text().strip(), v1.with_name("cpu.cfs_period_us").read_text().strip()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no cgroups here, or "max"
        return None
