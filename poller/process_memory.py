"""May other processes of our user read this one's memory? No: it holds credentials, tokens and records.

A function's child processes run as the same user, and their environment leaves the daemon's secrets out.  Linux has a
flag for each process that keeps others from its memory and environment: /proc/PID/mem, /proc/PID/environ and ptrace
(prctl(2), PR_SET_DUMPABLE).  The daemon clears that flag, and writes no core dump since then.  Every exec sets the flag
again, so the children are not protected.
"""

from __future__ import annotations

import ctypes
import sys

PR_SET_DUMPABLE = 4


def protect() -> None:
    """Does nothing if the system has no such flag, or forbids to clear it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
