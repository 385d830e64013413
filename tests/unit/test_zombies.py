"""Who reads the exit status of a process whose parent has ended?"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest

from poller import zombies
from poller.zombies import reap

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers"),
]

PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(autouse=True)
def _get_orphans() -> Iterator[None]:
    """Let this process be the new parent of orphans, as process 1 is."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


async def zombie(command: str) -> int:
    """Run the command in a process whose parent ends first, and return the process's id after its end."""
    script = f"exec 3<&0; ({command}) >/dev/null 2>&1 & echo $!"
    async with await anyio.open_process(["/bin/sh", "-c", script], stderr=None) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        pid = int(await shell.stdout.receive())
        await shell.wait()
        descriptor = os.pidfd_open(pid)
        await shell.stdin.aclose()
    with anyio.fail_after(30):
        await anyio.wait_readable(descriptor)
    os.close(descriptor)
    return pid


def started(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, start_new_session=True)


def wait_for_end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end of the process, and leave its exit status unread."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("command", ["read -r _ <&3", "exec setsid cat <&3"], ids=["in a group", "leading a group"])
async def test_the_zombies_of_processes_whose_parent_has_ended_are_removed(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zombies, "MOMENT_IN_SECONDS", 0.01)
    left = [await zombie(command) for _ in range(3)]
    assert all(map(is_there, left))
    await reap()
    assert not any(map(is_there, left))


async def test_the_exit_status_of_a_process_of_our_own_is_left_to_asyncio() -> None:
    """asyncio reads the status soon after the end of the process; here it does so while `reap` waits a moment."""
    process = started("sh", "-c", "exit 3")
    wait_for_end(process)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reap)
        await anyio.lowlevel.checkpoint()
        assert process.wait() == 3


async def test_processes_that_run_are_left_alone() -> None:
    process = started("sleep", "60")
    await reap()
    process.kill()
    assert process.wait() == -9
