"""Is an event in hand written back, also if its own queue cannot keep it?"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.engine.events.claims import ClaimKeeper
from poller.engine.events.health import EventHealth
from poller.engine.events.settling import Settler
from poller.event_queues.sqs import SqsEventQueue
from poller.facts import Fact
from poller.model.event import LastAttempt
from tests.fakes.clock import VirtualClock
from tests.fakes.ended_events import ended
from tests.fakes.event_queue import FakeEventQueue
from tests.fakes.events import RESIZE, event
from tests.fakes.faults import Fault
from tests.fakes.sqs import FakeSqs

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def test_an_event_that_has_become_too_large_for_sqs_moves_to_the_daemons_own_queue() -> None:
    clock, sqs, facts = VirtualClock(), FakeSqs(), list[Fact]()
    stored = sqs.create_queue("events", maximum_message_bytes=1024)
    queue = SqsEventQueue(
        sqs, sqs.source(stored), queue_url=sqs.url(stored), function=RESIZE, clock=clock, of_sender=lambda event: event
    )
    await queue.describe()
    own_queue = FakeEventQueue(clock)
    health = EventHealth(function=RESIZE, source="events", clock=clock, emit=facts.append)
    keeper = ClaimKeeper(health=health, clock=clock, emit=facts.append)
    settler = Settler(own_queue=own_queue, keeper=keeper, health=health, randomness=random.Random(1))

    await queue.put([event(clock.now(), payload=b"1" * 880)])
    [taken] = await queue.take(RESIZE, count=10, wait_in_seconds=0)
    claim = keeper.hold(queue, taken)
    last = LastAttempt(status_code=200, function_error="Unhandled", error_message="no" * 100)
    claim.event = replace(taken.event, attempts=1, due_at=clock.now() + 60, last=last)
    with anyio.fail_after(600):
        await settler.settle(claim)
    assert own_queue.events == [claim.event]
    assert stored.messages == []
    assert (keeper.claims, facts) == ({}, [])


async def test_an_ended_event_that_is_moved_while_the_stop_cuts_it_is_stored_once() -> None:
    clock, facts = VirtualClock(), list[Fact]()
    queue, own_queue = FakeEventQueue(clock), FakeEventQueue(clock)
    health = EventHealth(function=RESIZE, source="events", clock=clock, emit=facts.append)
    keeper = ClaimKeeper(health=health, clock=clock, emit=facts.append)
    settler = Settler(own_queue=own_queue, keeper=keeper, health=health, randomness=random.Random(1))
    await queue.put([event(clock.now())])
    [taken] = await queue.take(RESIZE, count=10, wait_in_seconds=0)
    claim = keeper.hold(queue, taken)
    claim.event = ended(taken.event)
    own_queue.faults.script("put", Fault.ANSWER_SLOW)
    with anyio.move_on_after(1.0):
        await settler.settle(claim)
    await settler.release([claim])
    assert own_queue.events == [claim.event]
    assert queue.events == []
