"""How is the daemon started, and what does it say of itself? As a user would: `poller run -c FILE`, and /metrics.

The settings file is a template, with the emulator's address and a free port filled in.
It is written before it is shown, so what is shown is what runs.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from string import Template

import aiohttp
import anyio
from anyio.abc import Process
from prometheus_client.parser import text_string_to_metric_families

from poller.demo import story
from poller.demo.accounting import Counted
from poller.demo.emulator import ACCOUNT
from poller.demo.processes import REGION, DemoError, must_run, running, tail
from poller.demo.stage import COMPANIES, USERS
from poller.model.ids import MappingName

READY_IN_SECONDS = 20.0
"""A daemon that has not found its queues on this machine by then never will."""

STOP_IN_SECONDS = 8.0
"""Longer than its own `shutdown_grace_in_seconds`."""

LOOK_EVERY_SECONDS = 0.1


class Daemon:
    """A running daemon. `address` is its `http_listen`."""

    def __init__(self, process: Process, address: str, log: Path, session: aiohttp.ClientSession) -> None:
        self.process = process
        self.address = address
        self.log = log
        self._session = session

    async def ready(self) -> None:
        """Wait until every mapping polls its queue. Raises DemoError when that does not come."""
        with anyio.move_on_after(READY_IN_SECONDS):
            while not await self._is_ready():
                must_run(self.process, "the daemon", self.log)
                await anyio.sleep(LOOK_EVERY_SECONDS)
            return
        raise DemoError(f"the daemon was not ready within {READY_IN_SECONDS:.0f} s; its log ends:\n{tail(self.log)}")

    async def metrics(self) -> str:
        """Its metrics now, in Prometheus' text format. Raises DemoError when it is gone."""
        must_run(self.process, "the daemon", self.log)
        try:
            async with self._session.get(f"http://{self.address}/metrics") as answer:
                return await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise DemoError(f"the daemon does not answer: {error}; its log ends:\n{tail(self.log)}") from error

    async def _is_ready(self) -> bool:
        try:
            async with self._session.get(f"http://{self.address}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False


def settings(endpoint_url: str, http_listen: str) -> str:
    """The settings file."""
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"
    fifo, standard = story.QUEUES
    template = files("poller.demo").joinpath("poller.toml").read_text(encoding="utf-8")
    return Template(template).substitute(
        region=REGION,
        endpoint_url=endpoint_url,
        http_listen=http_listen,
        timeout=story.FUNCTION_TIMEOUT_IN_SECONDS,
        window=story.BATCHING_WINDOW_IN_SECONDS,
        max_receives=story.MAX_RECEIVES,
        users=USERS,
        companies=COMPANIES,
        fifo_arn=arn + fifo.name,
        standard_arn=arn + standard.name,
    )


@asynccontextmanager
async def daemon(file: Path, http_listen: str) -> AsyncIterator[Daemon]:
    """Run the daemon with this settings file until the block is left."""
    log = file.with_name("daemon.log")
    command = [sys.executable, "-m", "poller", "run", "-c", str(file)]
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=READY_IN_SECONDS)) as session,
        running(command, log=log, grace_in_seconds=STOP_IN_SECONDS) as process,
    ):
        yield Daemon(process, http_listen, log, session)


def free_address() -> str:
    """A loopback address that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        return f"{host}:{port}"


def counted(metrics: str, mapping: MappingName) -> Counted:
    """What the metrics say of one mapping."""
    records: dict[str, int] = {}
    invocations: dict[str, int] = {}
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.labels.get("mapping") != mapping:
                continue
            if sample.name == "poller_invocations_total":
                invocations[sample.labels["outcome"]] = int(sample.value)
            else:
                records[sample.name] = int(sample.value)
    return Counted(
        polled=records["poller_records_polled_total"],
        filtered_out=records["poller_records_filtered_out_total"],
        invoked=records["poller_records_invoked_total"],
        failed=records["poller_records_failed_total"],
        deleted=records["poller_records_deleted_total"],
        invocations=invocations,
    )
