"""What surrounds a test of several workers that share one stream? A world whose function sees the fencing tokens.

Several processes of one world share its state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import anyio
import orjson
from anyio.abc import TaskGroup

from poller.model.invocation import Invocation, Response
from tests.simulation.life import Life
from tests.simulation.one_stream import KinesisWorld, name_of


class Seen(NamedTuple):
    """One invocation, as the function sees it."""

    at: float
    token: int
    request_id: str
    attempt: int
    names: list[str]


class WorkersWorld(KinesisWorld):
    """A world that notes each invocation with its fencing token."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: list[Seen] = []

    async def invoke(self, invocation: Invocation) -> Response:
        assert invocation.fencing_token is not None
        names = [name_of(record) for record in orjson.loads(invocation.payload)["Records"]]
        self.seen.append(
            Seen(anyio.current_time(), invocation.fencing_token, invocation.request_id, invocation.attempt, names)
        )
        return await super().invoke(invocation)

    async def start(self, tasks: TaskGroup) -> Life:
        """Start a process as a task, and return it. The test ends it."""
        began = anyio.Event()

        async def until(_life: Life) -> None:
            began.set()
            await anyio.sleep_forever()

        number = len(self.lives)
        tasks.start_soon(self.live, until)
        await began.wait()
        await self.lives[number].has_begun.wait()
        return self.lives[number]


def reading(life: Life) -> int:
    """Return how many shards the process reads now."""
    return sum(status.polls_in_flight for status in life.supervisor.statuses())


async def until(is_true: Callable[[], bool], *, within: float) -> float:
    """Wait until this is true. Return how long it took."""
    began = anyio.current_time()
    with anyio.fail_after(within):
        while not is_true():  # noqa: ASYNC110
            await anyio.sleep(0.05)
    return anyio.current_time() - began


async def longest_gap(lives: Sequence[Life], shards: int, *, seconds: float) -> float:
    """Watch the processes for this many seconds. Return the longest time in which fewer than all shards were read."""
    last = began = anyio.current_time()
    longest = 0.0
    while anyio.current_time() < began + seconds:
        if sum(map(reading, lives)) == shards:
            last = anyio.current_time()
        longest = max(longest, anyio.current_time() - last)
        await anyio.sleep(0.05)
    return longest
