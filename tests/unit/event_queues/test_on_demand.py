"""When is an event queue opened?"""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.errors import CannotStore, Rejected, Unreachable
from poller.event_queues.on_demand import OnDemandEventQueue
from poller.model.event import EventQueueDepth, TakenEvent
from poller.ports import EventQueue
from tests.fakes.clock import VirtualClock
from tests.fakes.event_queue import FakeEventQueue
from tests.fakes.events import RESIZE
from tests.fakes.events import event as new_event

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class World:
    """A queue that exists once it is opened. To create it as another process would, a test sets `exists`."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.behind = FakeEventQueue(self.clock)
        self.exists = False
        self.opened = 0
        self.errors: list[Exception] = []
        self.queue = OnDemandEventQueue(exists=self._exists, open_queue=self._open)

    async def _exists(self) -> bool:
        await anyio.lowlevel.checkpoint()
        return self.exists

    async def _open(self) -> EventQueue:
        await anyio.sleep(0.1)
        if self.errors:
            raise self.errors.pop(0)
        self.opened += 1
        self.exists = True
        return self.behind

    async def put(self) -> None:
        await self.queue.put([new_event(self.clock.now())])

    async def take(self, *, wait_in_seconds: float = 0.0) -> list[TakenEvent]:
        return await self.queue.take(RESIZE, count=1, wait_in_seconds=wait_in_seconds)


async def test_a_queue_that_does_not_exist_is_not_opened_before_a_put() -> None:
    world = World()
    assert await world.take(wait_in_seconds=20.0) == []
    assert anyio.current_time() == 20.0
    assert await world.queue.depth(RESIZE) == EventQueueDepth(waiting=0, in_flight=0)
    assert world.opened == 0


async def test_the_first_put_opens_the_queue_and_wakes_the_waiting_take() -> None:
    world = World()
    taken: list[TakenEvent] = []

    async def take() -> None:
        taken.extend(await world.take(wait_in_seconds=20.0))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await anyio.sleep(5.0)
        for _ in range(3):
            tasks.start_soon(world.put)
    assert len(taken) == 1
    assert anyio.current_time() < 6.0
    assert world.opened == 1
    assert (await world.queue.depth(RESIZE)).waiting == 2


async def test_a_take_waits_no_longer_than_asked_even_if_the_queue_is_opened_meanwhile() -> None:
    world = World()

    async def put_for_later() -> None:
        await anyio.sleep(5.0)
        await world.queue.put([new_event(world.clock.now(), due_in=1000.0)])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(put_for_later)
        await world.take(wait_in_seconds=20.0)
    assert anyio.current_time() <= 20.1


async def test_the_next_take_opens_a_queue_that_another_process_has_created() -> None:
    world = World()
    await world.behind.put([new_event(world.clock.now())])
    assert await world.take() == []
    world.exists = True
    assert len(await world.take()) == 1


async def test_a_take_that_waits_soon_finds_a_queue_that_another_process_creates() -> None:
    world = World()
    await world.behind.put([new_event(world.clock.now())])

    async def create() -> None:
        await anyio.sleep(4.0)
        world.exists = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(create)
        assert len(await world.take(wait_in_seconds=20.0)) == 1
    assert 4.0 <= anyio.current_time() <= 7.2


async def test_extend_put_back_and_remove_reach_the_opened_queue() -> None:
    world = World()
    await world.put()
    (taken,) = await world.take()
    extended = await world.queue.extend(taken, by_seconds=500.0)
    assert extended is not None
    assert extended.claimed_until > taken.claimed_until
    await world.queue.put_back(extended, taken.event)
    (again,) = await world.take()
    await world.queue.remove(again)
    assert world.behind.events == []


async def test_a_call_raises_the_error_of_opening_and_the_next_call_tries_again() -> None:
    world = World()
    world.errors = [CannotStore("the disk is full"), Unreachable("no answer", code="Timeout", was_sent=True)]
    with pytest.raises(Rejected, match="the disk is full") as error:
        await world.put()
    assert error.value.code == "EventQueueUnusable"
    with pytest.raises(Unreachable):
        await world.put()
    await world.put()
    assert len(world.behind.events) == 1
