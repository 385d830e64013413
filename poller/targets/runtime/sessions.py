"""Which processes belong to a child process? All processes of the session that the child leads.

Only Linux shows them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress


def is_supported() -> bool:
    """Return whether this system shows the sessions, descriptors and memory of processes."""
    return sys.platform == "linux"


def processes_and_sessions() -> Iterator[tuple[int, int]]:
    """Yield every visible process with its session. Call it in a worker thread, because 1,000 processes take 4 ms."""
    for pid in map(int, filter(str.isdigit, names("/proc"))):
        with suppress(OSError):  # it has ended
            yield pid, os.getsid(pid)


def names(folder: str) -> list[str]:
    """Return the names in a folder of /proc."""
    return os.listdir(folder)  # noqa: PTH208 - pathlib takes four times as long, and a host may have many processes
