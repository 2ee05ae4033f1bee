# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command, and print as JSON how long it took and how much memory: ``python -m … watched COMMAND``.

A process of its own, because Linux counts the memory of whoever starts a process as that process's own, and
this one has next to none.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence


def watch(command: Sequence[str]) -> dict[str, float | str | None]:
    """Run ``command``; return its seconds, its errors, and where the system tells it, MiB at the peak."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read().decode(errors="replace").strip()
    used = None
    if hasattr(os, "wait4"):
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    failed = process.wait() != 0
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return {
        "seconds": time.perf_counter() - begun,
        "processor_seconds": used and used.ru_utime + used.ru_stime,
        "peak_mib": used and used.ru_maxrss / unit,
        "error": (error or "it failed") if failed else None,
    }


if __name__ == "__main__":
    print(json.dumps(watch(sys.argv[1:])))
