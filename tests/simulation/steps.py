"""What can a test do while the daemon runs?"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import orjson
import pytest

from tests.fakes.queue import FakeQueue
from tests.simulation.life import Life
from tests.simulation.process import ProcessClient
from tests.simulation.world import Beside, World, run_seeded

Call = Callable[..., Coroutine[Any, Any, Any]]
"""One call of a process to SQS."""


def live(world: World, until: Beside) -> Life:
    return run_seeded(1, world.live, until)


def stopping_at(at: float) -> Beside:
    async def until(life: Life) -> None:
        await anyio.sleep_until(at)
        life.begin_stop()

    return until


def stopping_after(seconds: float) -> Beside:
    async def until(life: Life) -> None:
        await anyio.sleep(seconds)
        life.begin_stop()

    return until


def crashing_after(seconds: float) -> Beside:
    async def until(life: Life) -> None:
        await anyio.sleep(seconds)
        life.crash()

    return until


def sending(world: World, queue: FakeQueue, *bodies: str, group: str = "g", at: float = 0.0, stop_at: float) -> Beside:
    """Send all messages at once (to a FIFO queue in one group), and begin the stop at the given time."""

    async def until(life: Life) -> None:
        await anyio.sleep_until(at)
        for body in bodies:
            options = {"group": group, "deduplication_id": body[-9:]} if queue.is_fifo else {}
            world.sqs.send(queue, body, **options)
        await stopping_at(stop_at)(life)

    return until


def around_calls(monkeypatch: pytest.MonkeyPatch, wrapper: Callable[[Call, str, dict[str, Any]], Any]) -> None:
    """Replace each call to SQS by `wrapper(call, operation, request)`, which awaits `call(request)`."""
    original = ProcessClient.call

    async def call(self: ProcessClient, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        async def go_on(request: dict[str, Any]) -> Any:
            return await original(self, operation, orjson.dumps(request), timeout_in_seconds=timeout_in_seconds)

        return await wrapper(go_on, operation, orjson.loads(body))

    monkeypatch.setattr(ProcessClient, "call", call)
