"""May other processes of our user read this one's memory? No: it holds credentials, tokens and records.

A function's child processes run as the same user.  What they are given is in their environment; that they cannot take
more from the daemon's memory or environment (/proc/PID/mem, /proc/PID/environ, ptrace) is up to a flag that Linux has
for each process (prctl(2), PR_SET_DUMPABLE).  The daemon writes no core dumps then.  A program that is executed has the
flag anew, so it says nothing of the children.
"""

from __future__ import annotations

import ctypes
import sys

PR_SET_DUMPABLE = 4


def protect() -> None:
    """Where the system has no such flag, or forbids it, nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
