"""Which events belong to functions that the settings no longer have?"""

from __future__ import annotations

from typing import Any

import anyio.lowlevel
import pytest
from trio.testing import MockClock

from poller.engine.events.former import EMPTY_FOR_SECONDS
from poller.engine.events.orphans import OrphanedEvents
from poller.errors import AccessDenied, NotFound, ServiceError, Unreachable
from poller.facts import EventsOrphaned, Fact, FormerEventQueueForgotten
from poller.model.arn import Arn
from poller.model.event import EventQueueDepth, RememberedQueue
from poller.model.ids import FunctionName
from poller.model.status import EventsStatus
from tests.fakes.clock import EPOCH, VirtualClock

pytestmark = pytest.mark.anyio

RESIZE, OLD = FunctionName("resize"), FunctionName("old")
QUEUE = RememberedQueue(Arn.parse("arn:aws:sqs:eu-west-1:123456789012:old-events"), OLD)


class World:
    """A file and SQS queues with events, and the functions of the settings. A queue without a depth does not exist."""

    def __init__(self) -> None:
        self.stored = {RESIZE: EventQueueDepth(waiting=5, in_flight=0)}
        self.queues: dict[RememberedQueue, EventQueueDepth | ServiceError] = {}
        self.known = {RESIZE}
        self.is_broken = False
        self.is_named_again = False
        self.facts: list[Fact] = []
        self.orphans = OrphanedEvents(self, known=lambda: self.known, clock=VirtualClock(), emit=self.facts.append)

    async def in_the_file(self) -> dict[FunctionName, EventQueueDepth]:
        await anyio.lowlevel.checkpoint()
        if self.is_broken:
            raise Unreachable("no answer", code="Timeout", was_sent=True)
        return dict(self.stored)

    async def former(self) -> list[RememberedQueue]:
        await anyio.lowlevel.checkpoint()
        return list(self.queues)

    async def depth(self, queue: RememberedQueue) -> EventQueueDepth:
        await anyio.lowlevel.checkpoint()
        found = self.queues[queue]
        if isinstance(found, ServiceError):
            raise found
        return found

    async def forget(self, queue: RememberedQueue) -> bool:
        await anyio.lowlevel.checkpoint()
        if not self.is_named_again:
            del self.queues[queue]
        return not self.is_named_again

    def status(self) -> tuple[int, str]:
        """Return how many events of the removed function are stuck, and the reason in its status."""
        (status,) = self.orphans.statuses()
        assert status.events is not None
        return status.events.stuck, status.reason or ""


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def test_events_of_functions_in_the_settings_are_not_orphaned() -> None:
    world = World()
    await world.orphans.run_once()
    assert (world.orphans.statuses(), world.facts) == ([], [])


async def test_events_of_a_removed_function_count_as_stuck_and_are_reported_once() -> None:
    world = World()
    oldest = EPOCH - 100
    world.stored[OLD] = EventQueueDepth(waiting=3, in_flight=1, stuck=2, oldest_accepted_at=oldest)
    for _ in range(3):
        await world.orphans.run_once()
    (status,) = world.orphans.statuses()
    assert (status.function, status.state) == (OLD, "troubled")
    assert status.events is not None
    assert status.events._replace(oldest_age_in_seconds=0.0) == EventsStatus(stuck=6)
    assert status.events.oldest_age_in_seconds == pytest.approx(100.0, abs=1.0)
    assert world.facts == [EventsOrphaned(OLD, 6)]


async def test_a_function_that_is_added_again_has_no_orphaned_events() -> None:
    world = World()
    world.stored[OLD] = EventQueueDepth(waiting=3, in_flight=0)
    await world.orphans.run_once()
    world.known.add(OLD)
    assert world.orphans.statuses() == []


async def test_an_error_of_the_queue_keeps_the_known_orphaned_events() -> None:
    world = World()
    world.stored[OLD] = EventQueueDepth(waiting=3, in_flight=0)
    await world.orphans.run_once()
    world.is_broken = True
    await world.orphans.run_once()
    assert len(world.orphans.statuses()) == 1


async def test_events_in_the_sqs_queue_of_a_removed_function_count_as_stuck() -> None:
    world = World()
    world.stored[OLD] = EventQueueDepth(waiting=0, in_flight=0, stuck=1)
    world.queues[QUEUE] = EventQueueDepth(waiting=3, in_flight=1)
    await world.orphans.run_once()
    stuck, reason = world.status()
    assert stuck == 5
    assert f"4 of them in {QUEUE.arn}" in reason
    assert world.facts == [EventsOrphaned(OLD, 5)]


async def test_the_status_says_that_the_sqs_queue_of_a_removed_function_cannot_be_read() -> None:
    world = World()
    world.queues[QUEUE] = AccessDenied("not allowed", code="AccessDenied")
    await world.orphans.run_once()
    assert f"{QUEUE.arn} cannot be read: AccessDenied: not allowed" in world.status()[1]
    assert world.facts == []


@pytest.mark.parametrize("found", [EventQueueDepth(waiting=0, in_flight=0), NotFound("gone", code="QueueDoesNotExist")])
async def test_the_sqs_queue_of_a_removed_function_is_forgotten_when_it_was_empty_or_deleted_for_a_while(
    found: EventQueueDepth | ServiceError,
) -> None:
    world = World()
    world.queues[QUEUE] = found
    await world.orphans.run_once()
    await anyio.sleep(EMPTY_FOR_SECONDS - 1)
    world.queues[QUEUE] = EventQueueDepth(waiting=0, in_flight=1)
    await world.orphans.run_once()
    await anyio.sleep(2)
    world.queues[QUEUE] = found
    await world.orphans.run_once()
    assert world.queues, "an event was there meanwhile"
    await anyio.sleep(EMPTY_FOR_SECONDS)
    await world.orphans.run_once()
    assert world.queues == {}
    assert world.facts[-1] == FormerEventQueueForgotten(OLD, str(QUEUE.arn), "empty")
    await world.orphans.run_once()
    assert world.orphans.statuses() == []


async def test_an_sqs_queue_that_the_settings_name_again_is_not_reported_as_forgotten() -> None:
    world = World()
    world.queues[QUEUE] = EventQueueDepth(waiting=0, in_flight=0)
    world.is_named_again = True
    await world.orphans.run_once()
    await anyio.sleep(EMPTY_FOR_SECONDS)
    await world.orphans.run_once()
    assert world.facts == []


async def test_orphaned_events_are_looked_for_at_once() -> None:
    world = World()
    world.stored[OLD] = EventQueueDepth(waiting=3, in_flight=0)
    with anyio.move_on_after(0.1):
        await world.orphans.run()
    assert world.status()[0] == 3
