"""When does a run forget a former event queue?"""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from trio.testing import MockClock

from poller.engine.events.depth import DEPTH_IN_SECONDS
from poller.engine.events.former import EMPTY_FOR_SECONDS, FormerQueueReader
from poller.engine.events.health import EventHealth
from poller.errors import ServiceError, Unreachable
from poller.facts import Fact, FormerEventQueueForgotten, FormerEventQueueFound
from poller.model.arn import Arn
from poller.ports import EventQueue
from tests.fakes.clock import VirtualClock
from tests.fakes.event_queue import FakeEventQueue
from tests.fakes.events import RESIZE

pytestmark = pytest.mark.anyio

QUEUE = Arn.parse("arn:aws:sqs:eu-west-1:123456789012:former")
FOUND = FormerEventQueueFound(RESIZE, str(QUEUE))
FORGOTTEN = FormerEventQueueForgotten(RESIZE, str(QUEUE), "empty")


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class World:
    """An empty former queue, and the run that reads it. `errors` are those of the next calls that forget the queue."""

    def __init__(self) -> None:
        self.is_remembered = True
        self.is_named_again = False
        self.errors: list[ServiceError] = []
        self.takers = 0
        self.facts: list[Fact] = []
        clock = VirtualClock()
        self.queue = FakeEventQueue(clock)
        self.reader = FormerQueueReader(
            self,
            function=RESIZE,
            health=EventHealth(function=RESIZE, source="events", clock=clock, emit=self.facts.append),
            randomness=random.Random(1),
            emit=self.facts.append,
        )

    async def remembered(self) -> Collection[Arn]:
        await anyio.lowlevel.checkpoint()
        return [QUEUE] if self.is_remembered else []

    async def open(self, arn: Arn) -> EventQueue:
        await anyio.lowlevel.checkpoint()
        return self.queue

    async def forget(self, arn: Arn) -> bool:
        await anyio.lowlevel.checkpoint()
        if self.errors:
            raise self.errors.pop()
        self.is_remembered = self.is_named_again
        return not self.is_named_again

    async def take(self, queue: EventQueue, name: str) -> None:
        self.takers += 1
        try:
            await anyio.sleep_forever()
        finally:
            self.takers -= 1

    async def run_for(self, seconds: float) -> int:
        """Run the reader. Return how many takers there were at the end of this time."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.reader.run, self.take)
            await anyio.sleep(seconds)
            takers = self.takers
            tasks.cancel_scope.cancel()
        return takers


async def test_events_are_taken_from_a_former_queue_until_it_was_empty_for_a_while() -> None:
    world = World()
    assert await world.run_for(EMPTY_FOR_SECONDS - 1) == 1
    assert world.facts == [FOUND]
    world = World()
    assert await world.run_for(EMPTY_FOR_SECONDS + 2 * DEPTH_IN_SECONDS) == 0
    assert world.facts == [FOUND, FORGOTTEN]


async def test_a_former_queue_that_could_not_be_forgotten_is_read_until_a_later_try() -> None:
    world = World()
    world.errors = [Unreachable("no answer", code="Timeout", was_sent=True)]
    await world.run_for(EMPTY_FOR_SECONDS + 2 * DEPTH_IN_SECONDS)
    assert (world.is_remembered, world.facts) == (False, [FOUND, FORGOTTEN])


async def test_a_queue_that_the_settings_name_again_is_not_reported_as_forgotten() -> None:
    world = World()
    world.is_named_again = True
    await world.run_for(EMPTY_FOR_SECONDS + 2 * DEPTH_IN_SECONDS)
    assert world.facts == [FOUND]
