"""How many cores this process may really use: its affinity and its container's quota, not the host's count."""

import math
import os
import sys
import threading
from pathlib import Path

QUOTAS = (Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
"""cgroup v2, "quota period" or "max period"; cgroup v1, the quota alone, its period beside it."""


SIDE_BY_SIDE = 8
"""Pictures from which a batch has a core to itself; fewer are computed alone, on all cores."""

STEP = 7
"""How much nicer the engine's threads are: where both want a core, the event loop gets almost five times as much."""

WORKERS = "GOOGLENET_WORKERS"
"""The setting, in the environment that the workers inherit: they share the cores."""


def usable_cores() -> int:
    """At least 1; a quota of one and a half cores counts as two."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, math.ceil(_quota() or cores)) // int(os.environ.get(WORKERS, "1")))


def step_back() -> None:
    """This thread, and those that it starts from now on, let the event loop go first.

    It needs little, but under overload it needs it at once: to refuse what cannot be done. Linux alone has
    niceness by thread. One that has stepped back already, or was started by one that has, goes no further.
    """
    if sys.platform == "linux":
        main_thread = os.getpriority(os.PRIO_PROCESS, os.getpid())
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(os.nice(0), min(19, main_thread + STEP)))


def _quota() -> float | None:
    """Cores' worth of time that the container may use, None without a limit."""
    v2, v1 = QUOTAS
    try:
        if v2.exists():
            quota, period = v2.read_text().split()
        else:
            quota, period = v1.read_text().strip(), v1.with_name("cpu.cfs_period_us").read_text().strip()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no cgroups here, or "max"
        return None
