"""How is a child process started, so that it cannot outlive the daemon?

If the daemon itself is killed, it cannot end its children. Therefore each child begins as a shell. The shell starts a
watcher process in the group, and then becomes the command, with the same pid.
The watcher reads from a pipe to which only the daemon could write, and the daemon never writes. When the daemon is
gone, the pipe ends, and the watcher kills the group.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from resource import RLIM_INFINITY
from typing import IO

import anyio
from anyio.abc import Process

from poller.model.function import ChildProcess

LAUNCHER = """
exec 3<&0 </dev/null
(trap "" TERM; read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 &
exec "$@" 3<&-
"""


LIMITED_LAUNCHER = 'ulimit -Sn "$1"; shift' + LAUNCHER
"""Sets the soft limit of open files first, from the script's first argument."""


class StartError(Exception):
    """The program does not exist or cannot be run. `Child.live` raises this error; no process was started."""


async def launched(
    kind: ChildProcess,
    environment: Mapping[str, str],
    lifeline: int,
    stdout: IO[bytes],
    stderr: IO[bytes],
    *,
    descriptor_limit: int | None,
) -> Process:
    """Start the command. Raises StartError or OSError. `lifeline` and `descriptor_limit` are those of `Child`."""
    script, *limit = _launcher(descriptor_limit)
    program = _program(kind.command[0], kind.directory, environment)
    with stdout, stderr:
        return await anyio.open_process(
            ["/bin/sh", "-c", script, kind.command[0], *limit, program, *kind.command[1:]],
            stdin=lifeline,
            stdout=stdout,
            stderr=stderr,
            cwd=kind.directory,
            env=environment,
            start_new_session=True,
        )


def _launcher(descriptor_limit: int | None) -> tuple[str, ...]:
    """Return the shell's script, followed by the limit as its first argument if there is a limit."""
    if descriptor_limit is None:
        return (LAUNCHER,)
    return LIMITED_LAUNCHER, "unlimited" if descriptor_limit == RLIM_INFINITY else str(descriptor_limit)


def _program(name: str, directory: str, environment: Mapping[str, str]) -> str:
    """Return the path of the program. Raises StartError if it cannot be run.

    The program is looked up before the start, because a shell reports such an error only by an exit status, which a
    program may have, too.
    """
    if "/" not in name:
        found = shutil.which(name, path=environment.get("PATH"))
        if found is None:
            raise StartError(f"{name}: not found on PATH")
        return found
    path = Path(directory, name)
    if not path.is_file():
        raise StartError(f"{name}: no such file")
    if not os.access(path, os.X_OK):
        raise StartError(f"{name}: not executable")
    return str(path)
