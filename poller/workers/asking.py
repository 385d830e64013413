"""How does the parent ask a worker? It sends an HTTP request to the worker's socket in the private folder.

    is the worker well? ── it answers ──> the request, whose answer may take long
                        └─ no answer within some seconds ──> the worker is not asked at all: status 504

So a worker whose process hangs delays nobody for long, and such a worker has certainly not made the change.
A worker that ends before it answers has the status 503.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import anyio
import orjson

from poller.admin.changing import LONGEST_SECONDS
from poller.admin.openapi import HEALTH
from poller.workers.membership import socket_path
from poller.workers.team import Worker

HANGS = 504
"""The status of a worker that did not get the request, because it does not respond."""

LONGEST_WAIT_IN_SECONDS = 5.0
"""How long a worker may take to say that it is well. A worker on a busy host needs a second at most."""


class Reply(NamedTuple):
    """The answer of a worker to a request."""

    worker: int
    status: int
    body: Mapping[str, Any]

    @property
    def why(self) -> str:
        """Return why the worker did not do what it was asked for."""
        faults = self.body.get("faults")
        return "; ".join(faults) if faults else str(self.body.get("error"))


async def all_asked(
    folder: Path, workers: Sequence[Worker], path: str, body: Mapping[str, str | None] | None = None
) -> Sequence[Reply]:
    """Ask the workers at the same time, and return their answers in the order of their numbers."""
    replies: list[Reply] = []

    async def ask(worker: Worker) -> None:
        replies.append(await asked(folder, worker, path, body))

    async with anyio.create_task_group() as tasks:
        for worker in workers:
            tasks.start_soon(ask, worker)
    return sorted(replies, key=lambda reply: reply.worker)


async def asked(
    folder: Path, worker: Worker, path: str, body: Mapping[str, object] | None = None, *, waits: bool = False
) -> Reply:
    """Return the worker's answer to a POST with this body, or to a GET without a body.

    If `waits` is true, a worker that hangs is asked, too, and its answer comes when it no longer hangs.
    """
    method, data = ("GET", None) if body is None else ("POST", orjson.dumps(body))
    try:
        if not waits and not await _is_well(folder, worker):
            why = f"worker {worker.number} did not answer within {LONGEST_WAIT_IN_SECONDS:g} s"
            return Reply(worker.number, HANGS, {"error": why})
        async with (
            session_with(folder, worker.number, LONGEST_SECONDS) as session,
            session.request(method, path, data=data) as answer,
        ):
            return Reply(worker.number, answer.status, await answer.json())
    except (aiohttp.ClientError, OSError, ValueError):
        return Reply(worker.number, 503, {"error": "it ended before it answered"})


async def _is_well(folder: Path, worker: Worker) -> bool:
    try:
        async with (
            session_with(folder, worker.number, LONGEST_WAIT_IN_SECONDS) as session,
            session.get(HEALTH.path),
        ):
            return True
    except TimeoutError:
        return False


def session_with(folder: Path, number: int, seconds: float) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        "http://localhost",
        connector=aiohttp.UnixConnector(str(socket_path(folder, number))),
        timeout=aiohttp.ClientTimeout(total=seconds),
    )
