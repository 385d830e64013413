"""Which emulator stands for AWS? ministack, which emulates many services in one process.

The tour opens the listening socket and hands it down to the emulator. So no other process can take the port, and the
tour need not wait: an early connection stays in the backlog until the emulator accepts it.
The emulator keeps its data in memory and its files in the tour's folder, so it is killed at the end.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from anyio.abc import Process

from poller.demo.processes import DemoError, running

KEPT_VARIABLES = ("PATH", "PYTHONPATH", "HOME", "LANG", "LC_ALL")
"""The variables of our environment that the emulator gets. Others may be settings for another emulator."""


class Emulator(NamedTuple):
    url: str
    log: Path
    process: Process


@asynccontextmanager
async def emulator(folder: Path) -> AsyncIterator[Emulator]:
    """Run an emulator on a free loopback port until the block ends. Raise DemoError if it is not installed."""
    if importlib.util.find_spec("ministack") is None:
        raise DemoError("the demo needs its emulator, which is not installed: pip install '.[demo]' beside the sources")
    log = folder / "emulator.log"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        command = [sys.executable, "-m", "hypercorn", "ministack.app:app"]
        command += ["--bind", f"fd://{listener.fileno()}", "--keep-alive", "75"]
        async with running(
            command,
            log=log,
            grace_in_seconds=0,
            environment=_environment(folder, port),
            pass_fds=[listener.fileno()],
        ) as process:
            listener.close()
            yield Emulator(f"http://{host}:{port}", log, process)


def _environment(folder: Path, port: int) -> dict[str, str]:
    return {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ} | {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "LOG_LEVEL": "WARNING",
        "STATE_DIR": str(folder / "emulator"),
        "S3_DATA_DIR": str(folder / "emulator"),
        "TMPDIR": str(folder),
        "DOCKER_HOST": f"unix://{folder}/no-docker.sock",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
    }
