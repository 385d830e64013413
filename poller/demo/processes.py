"""How are the emulators and the daemon started and ended?

Each process runs in its own session: a terminal's Ctrl-C reaches only the tour, which then ends them in order.
The output of a process goes to a file. If the process ends too early, the error shows the last lines of the file.
The processes and the tour itself do not see this machine's AWS settings, so nothing here can reach AWS.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
from anyio.abc import Process

import poller
from poller.errors import PollerError

REGION = "us-east-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}
"""The emulator accepts any credentials. With these the account is 000000000000."""

LINES_SHOWN = 30


class DemoError(PollerError):
    """The tour cannot continue. Any module of `demo/` raises this error.

    The tour shows the message and exits with 1.
    """


@contextmanager
def environment_of_the_demo() -> Iterator[None]:
    """Change this process's environment for the block: no AWS settings, the emulator's credentials, and no proxy."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("AWS_")]:
        del os.environ[name]
    packages = [str(Path(poller.__file__).parent.parent), *filter(None, [before.get("PYTHONPATH")])]
    os.environ.update(CREDENTIALS)
    os.environ.update(
        {
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "PYTHONPATH": os.pathsep.join(packages),
        }
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@asynccontextmanager
async def running(
    command: Sequence[str],
    *,
    log: Path,
    grace_in_seconds: float,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> AsyncIterator[Process]:
    """Run a command in the log's folder until the block ends.

    Then the process gets SIGTERM. When it has ended, or after the grace, its process group gets SIGKILL.
    """
    with log.open("wb") as output:
        process = await anyio.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env=environment,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process, grace_in_seconds)


async def _end(process: Process, grace_in_seconds: float) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with anyio.move_on_after(grace_in_seconds):
        await process.wait()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def must_run(process: Process, name: str, log: Path) -> None:
    """Raise DemoError, with the end of the log, if the process has ended."""
    if process.returncode is not None:
        raise DemoError(f"{name} ended with status {process.returncode}; the end of its log:\n{tail(log)}")


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES_SHOWN:])
