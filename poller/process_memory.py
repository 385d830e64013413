"""How does the daemon keep other processes of its user from reading its memory? It clears its "dumpable" flag.

The daemon's memory holds credentials, tokens and records.  A function's child processes run as the same user and do not
inherit the daemon's secrets, so they must not read them from its memory either.
On Linux, a process with the flag (prctl(2), PR_SET_DUMPABLE) can be read by other processes of its user, through
/proc/PID/mem, /proc/PID/environ and ptrace.  A process without the flag cannot, and it writes no core dump.
Every exec sets the flag again, so this does not protect the child processes.
"""

from __future__ import annotations

import ctypes
import sys

PR_SET_DUMPABLE = 4


def protect() -> None:
    """Clear the "dumpable" flag of this process. Do nothing if there is no such flag, or if it cannot be cleared."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
