"""How does the tour start the daemon and read its metrics? As a user does: `poller run -c FILE`, /readyz and /metrics.

The table [daemon] of the settings file is a template. The tour fills in the emulators' addresses and a free port.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from pathlib import Path
from string import Template

import aiohttp
import anyio
from anyio.abc import Process

from poller.demo.metrics import Metrics
from poller.demo.processes import REGION, DemoError, must_run, running, tail

READY_IN_SECONDS = 60.0
"""How long the daemon may take to start and to find its sources. Usually it takes two seconds."""

STOP_IN_SECONDS = 8.0
"""How long the daemon may take to stop. This is longer than its grace in daemon.toml, so that it can end by itself."""

LOOK_EVERY_SECONDS = 0.1

FIRST_WORKER = "1"
"""The worker that starts first. At the start it reads most shards."""

DEATH_IN_SECONDS = 1.0
"""How long `metrics` waits for a daemon that does not answer to end. If it ends, the error says so."""


class Daemon:
    """A running daemon. `address` is its `http_listen`. `killed` is the worker that `kill_a_worker` has killed."""

    def __init__(self, process: Process, address: str, log: Path, session: aiohttp.ClientSession) -> None:
        self.process = process
        self.address = address
        self.log = log
        self.killed: int | None = None
        self._session = session

    async def ready(self) -> None:
        """Wait until every mapping has found its source. Raise DemoError if the daemon ends or takes too long."""
        with anyio.move_on_after(READY_IN_SECONDS):
            while not await self._is_ready():
                must_run(self.process, "the daemon", self.log)
                await anyio.sleep(LOOK_EVERY_SECONDS)
            return
        raise DemoError(f"the daemon was not ready within {READY_IN_SECONDS:.0f} s; its log ends:\n{tail(self.log)}")

    async def metrics(self) -> Metrics:
        """Return the daemon's metrics now. Raise DemoError if it has ended or does not answer."""
        must_run(self.process, "the daemon", self.log)
        try:
            async with self._session.get(f"http://{self.address}/metrics") as answer:
                return Metrics(await answer.text(), are_exact=self.killed is None)
        except (aiohttp.ClientError, TimeoutError) as error:
            with anyio.move_on_after(DEATH_IN_SECONDS):
                await self.process.wait()
            must_run(self.process, "the daemon", self.log)
            raise DemoError(f"the daemon does not answer: {error}; its log ends:\n{tail(self.log)}") from error

    async def kill_a_worker(self) -> int:
        """Kill the first worker as by `kill -9`, and return its process id."""
        async with self._session.get(f"http://{self.address}/api/status") as answer:
            workers = (await answer.json())["workers"]
        pid = int(workers[FIRST_WORKER]["pid"])
        self.killed = int(FIRST_WORKER)
        os.kill(pid, signal.SIGKILL)
        return pid

    async def _is_ready(self) -> bool:
        try:
            async with self._session.get(f"http://{self.address}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False


def settings(endpoint_url: str, http_listen: str, api_listen: str, endpoints: Mapping[str, str]) -> str:
    """Return the table [daemon] of the settings file.

    `endpoints` has the urls of services that are not at `endpoint_url`.
    """
    template = files("poller.demo").joinpath("daemon.toml").read_text(encoding="utf-8")
    text = Template(template).substitute(
        region=REGION, endpoint_url=endpoint_url, http_listen=http_listen, api_listen=api_listen
    )
    elsewhere = ", ".join(f'{service} = "{url}"' for service, url in endpoints.items())
    return text + (f"endpoints = {{ {elsewhere} }}\n" if elsewhere else "")


@asynccontextmanager
async def daemon(file: Path, http_listen: str, *, workers: int = 1) -> AsyncIterator[Daemon]:
    """Run the daemon with this settings file until the block ends. `workers` is the number of its processes."""
    log = file.with_name("daemon.log")
    command = [sys.executable, "-m", "poller", "run", "-c", str(file), "--workers", str(workers)]
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=READY_IN_SECONDS)) as session,
        running(command, log=log, grace_in_seconds=STOP_IN_SECONDS) as process,
    ):
        yield Daemon(process, http_listen, log, session)


@contextmanager
def reserved_address() -> Iterator[str]:
    """Yield a loopback address with a port of its own. No other program gets this port until the block ends.

    A socket that does not listen holds the port. On Linux the daemon can listen there nevertheless, because both
    sockets have SO_REUSEADDR. On other systems it could not, so there the port is only free at this moment.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        host, port = holder.getsockname()
        if sys.platform != "linux":
            holder.close()
        yield f"{host}:{port}"
