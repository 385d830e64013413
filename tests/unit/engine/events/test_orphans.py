"""Which events belong to functions that the settings no longer have?"""

from __future__ import annotations

from typing import Any

import anyio.lowlevel
import pytest
from trio.testing import MockClock

from poller.engine.events.orphans import OrphanedEvents
from poller.errors import Unreachable
from poller.facts import EventsOrphaned, Fact
from poller.model.event import EventQueueDepth
from poller.model.ids import FunctionName
from poller.model.status import EventsStatus
from tests.fakes.clock import EPOCH, VirtualClock

pytestmark = pytest.mark.anyio

RESIZE, OLD = FunctionName("resize"), FunctionName("old")


class World:
    """A queue with events, and the functions of the settings."""

    def __init__(self) -> None:
        self.stored = {RESIZE: EventQueueDepth(waiting=5, in_flight=0)}
        self.known = {RESIZE}
        self.is_broken = False
        self.facts: list[Fact] = []
        self.orphans = OrphanedEvents(
            stored=self._stored, known=lambda: self.known, clock=VirtualClock(), emit=self.facts.append
        )

    async def _stored(self) -> dict[FunctionName, EventQueueDepth]:
        await anyio.lowlevel.checkpoint()
        if self.is_broken:
            raise Unreachable("no answer", code="Timeout", was_sent=True)
        return dict(self.stored)


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
