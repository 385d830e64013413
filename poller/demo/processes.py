"""How are the emulator and the daemon run, and ended?

Each runs in a session of its own, so that a terminal's Ctrl-C reaches the demo alone, which then ends them in order.
Their output goes to a file; when one of them ends by itself, the file's last lines tell why.
They are shown nothing of this machine's AWS settings, and the demo itself forgets them too: nothing here can reach AWS.
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
"""Any credentials will do at the emulator; these mean its account 000000000000."""

LINES_SHOWN = 30


class DemoError(PollerError):
    """The demo cannot go on. Raised anywhere in demo/; the tour shows the message and exits with 1."""


@contextmanager
def environment_of_the_demo() -> Iterator[None]:
    """This process's environment without its AWS settings, with the emulator's credentials, and past any proxy."""
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
    """Run a command in the log's folder until the block is left: SIGTERM, and SIGKILL when the grace has passed."""
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
    """Raises DemoError, with the end of the log, when the process has ended."""
    if process.returncode is not None:
        raise DemoError(f"{name} ended with status {process.returncode}; the end of its log:\n{tail(log)}")


def tail(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES_SHOWN:])
