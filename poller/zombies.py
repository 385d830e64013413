"""Who reads the exit status of a process whose parent has ended? Process 1, which may be the daemon in a container.

Such a process becomes a child of process 1. When it ends, it stays as a zombie until process 1 reads its exit status.
Zombies use up the process ids of a container, and then no function can be started. Each child process of a function
leaves a zombie, because its watcher (targets/runtime/launching.py) ends after it.

asyncio reads the exit status of the processes that the daemon has started itself, as soon as they end. Each of them
leads a process group of its own. So this module reads the exit status of two kinds of zombies: those that lead no
group, and those that still exist after a moment.
"""

from __future__ import annotations

import os

import anyio

PERIOD_IN_SECONDS = 1.0

MOMENT_IN_SECONDS = 1.0
"""Much longer than asyncio needs for the exit status of a process of its own."""


async def reap_regularly() -> None:
    """Read the exit statuses of ended processes until cancelled. Return at once if this is not process 1."""
    while os.getpid() == 1:
        await anyio.sleep(PERIOD_IN_SECONDS)
        await reap()


async def reap() -> None:
    """Read the exit status of each child process that has ended and that asyncio does not know."""
    while (pid := _ended()) is not None:
        if os.getpgid(pid) == pid:
            await anyio.sleep(MOMENT_IN_SECONDS)
            if _ended() != pid:
                continue
        os.waitpid(pid, 0)  # noqa: ASYNC222  # it has ended


def _ended() -> int | None:
    """Return a child process that has ended, and leave its exit status unread."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid
