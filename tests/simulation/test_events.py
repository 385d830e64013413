"""Are asynchronous events handled as on Lambda? The engine runs on a virtual clock; see events_world.py.

A name in brackets, such as [A1], is the name of a case that was recorded on AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest
from trio.testing import MockClock

from poller.core.backoff import DELIVERY
from poller.core.document import Document
from poller.engine.events.bytes_in_hand import BytesInHand
from poller.engine.events.former import EMPTY_FOR_SECONDS
from poller.engine.events.health import OVERDUE_IN_SECONDS
from poller.errors import DocumentTooLarge, QueueFull, Rejected
from poller.facts import (
    EventClaimLost,
    EventDelivered,
    EventDeliveryFailed,
    EventDropped,
    EventEnded,
    EventInvoked,
    EventPostponed,
    EventQueueFailed,
    EventQueueRecovered,
    EventRecordShortened,
    EventsCrashed,
    EventsRefused,
    EventsStored,
    EventStuck,
    FormerEventQueueForgotten,
    FormerEventQueueFound,
)
from poller.model.arn import Arn
from poller.model.event import Event
from poller.model.ids import RequestId
from tests.fakes.clock import EPOCH
from tests.fakes.destinations import FakeDestination
from tests.fakes.event_queue import FakeEventQueue
from tests.fakes.events import event as new_event
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.simulation.events_checker import request_id_of
from tests.simulation.events_function import EventFunctionPlan
from tests.simulation.events_life import EventsLife
from tests.simulation.events_world import NAME, EventsWorld

pytestmark = pytest.mark.anyio

ALWAYS_FAILS = EventFunctionPlan(failure_rate=1.0, duration_in_seconds=(1.0, 1.0))
WORKS_FOR_A_SECOND = EventFunctionPlan(duration_in_seconds=(1.0, 1.0))


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def accept(life: EventsLife, *names: str) -> None:
    for name in names:
        await life.acceptor.accept(NAME, orjson.dumps(name), request_id=RequestId(name))


Beside = Callable[[EventsLife], Coroutine[Any, Any, None]]


async def live(world: EventsWorld, *names: str, for_seconds: float = 0.0, then: Beside | None = None) -> EventsLife:
    """Accept these events and wait until no event is left, or for `for_seconds`. Then call `then`, and stop."""

    async def until(life: EventsLife) -> None:
        await life.has_begun.wait()
        await accept(life, *names)
        if for_seconds:
            await anyio.sleep(for_seconds)
        else:
            await until_done(world)
        if then is not None:
            await then(life)
        life.stop.begin()

    return await world.live(until)


async def until_done(world: EventsWorld) -> None:
    with anyio.fail_after(7 * 3600):
        while world.waiting:  # noqa: ASYNC110  # the time is virtual
            await anyio.sleep(1.0)


def condition_and_attempts(document: Document) -> tuple[str, int]:
    """Return the condition and the number of attempts in a record."""
    context = orjson.loads(document.text)["requestContext"]
    return context["condition"], context["approximateInvokeCount"]


@pytest.mark.parity("PutFunctionEventInvokeConfig.MaximumRetryAttempts")
async def test_an_event_that_fails_has_three_attempts_with_one_request_id_and_longer_waits() -> None:
    """[A1]"""
    destination = FakeDestination()
    world = EventsWorld(plan=ALWAYS_FAILS, destinations={"on_failure": destination})
    await live(world, "a")
    calls = world.function.calls
    assert [(call.request_id, call.attempt) for call in calls] == [("a", 1), ("a", 2), ("a", 3)]
    gaps = [later.began_at - earlier.ended_at for earlier, later in pairwise(calls)]
    assert gaps == pytest.approx([60.0, 120.0], abs=1.0)
    assert [condition_and_attempts(document) for document in destination.taken] == [("RetriesExhausted", 3)]
    assert [fact.retry_in_seconds for fact in world.facts_of(EventInvoked)] == [60.0, 120.0, None]


async def test_an_event_without_retries_has_one_attempt() -> None:
    """[A2]"""
    destination = FakeDestination()
    world = EventsWorld(plan=ALWAYS_FAILS, destinations={"on_failure": destination}, maximum_retry_attempts=0)
    await live(world, "a")
    assert [condition_and_attempts(document) for document in destination.taken] == [("RetriesExhausted", 1)]


@pytest.mark.parametrize(("age", "attempts", "at"), [(60, 1, 1.0), (90, 2, 62.0)], ids=["a3", "a4"])
@pytest.mark.parity("PutFunctionEventInvokeConfig.MaximumEventAgeInSeconds")
async def test_an_event_whose_next_attempt_would_be_too_late_ends_at_once(age: int, attempts: int, at: float) -> None:
    destination = FakeDestination()
    world = EventsWorld(plan=ALWAYS_FAILS, destinations={"on_failure": destination}, maximum_event_age_in_seconds=age)
    await live(world, "a")
    assert [condition_and_attempts(document) for document in destination.taken] == [("EventAgeExceeded", attempts)]
    assert destination.taken_at == pytest.approx([at], abs=1.0)


@pytest.mark.parity("PutFunctionEventInvokeConfig.DestinationConfig.OnFailure.Destination")
async def test_the_destination_and_the_dead_letter_queue_both_get_a_failed_event() -> None:
    """[A5]"""
    destination, dead_letters = FakeDestination(), FakeDestination()
    world = EventsWorld(
        plan=ALWAYS_FAILS,
        destinations={"on_failure": destination, "dead_letter": dead_letters},
        maximum_retry_attempts=0,
    )
    await live(world, "a")
    assert len(destination.taken) == len(dead_letters.taken) == 1
    assert {fact.delivery for fact in world.facts_of(EventDelivered)} == {"on_failure", "dead_letter"}


@pytest.mark.parity("PutFunctionEventInvokeConfig.DestinationConfig.OnSuccess.Destination")
async def test_only_the_destination_for_success_gets_an_event_that_succeeds() -> None:
    """[A6]"""
    success, failure = FakeDestination(), FakeDestination()
    world = EventsWorld(destinations={"on_success": success, "on_failure": failure})
    await live(world, "a")
    assert [condition_and_attempts(document) for document in success.taken] == [("Success", 1)]
    assert failure.taken == []
    assert world.own_queue.events == []


async def test_an_event_ends_at_once_without_an_invocation_if_the_reserved_concurrency_is_zero() -> None:
    """[A7]"""
    destination, dead_letters = FakeDestination(), FakeDestination()
    world = EventsWorld(concurrency=0, destinations={"on_failure": destination, "dead_letter": dead_letters})
    await live(world, "a", "b")
    assert world.function.calls == []
    assert [condition_and_attempts(document) for document in destination.taken] == [("ZeroReservedConcurrency", 0)] * 2
    assert len(dead_letters.taken) == 2


async def test_a_failed_event_without_a_destination_is_reported_as_dropped() -> None:
    world = EventsWorld(plan=ALWAYS_FAILS, maximum_retry_attempts=0)
    await live(world, "a")
    assert world.facts_of(EventDropped) == [EventDropped(NAME, RequestId("a"), "RetriesExhausted", 1)]


async def test_an_accepted_event_is_invoked_at_once() -> None:
    world = EventsWorld(plan=WORKS_FOR_A_SECOND)

    async def until(life: EventsLife) -> None:
        await life.has_begun.wait()
        await anyio.sleep(100.0)
        await accept(life, "a")
        await until_done(world)
        life.stop.begin()

    await world.live(until)
    assert world.function.calls[0].began_at == pytest.approx(100.0, abs=0.01)


async def test_no_more_events_are_taken_than_the_function_can_run() -> None:
    world = EventsWorld(plan=EventFunctionPlan(duration_in_seconds=(30.0, 30.0)), concurrency=2)

    async def count(_life: EventsLife) -> None:
        depth = await world.own_queue.depth(NAME)
        assert (depth.in_flight, depth.waiting) == (2, 8)

    await live(world, *"abcdefghij", for_seconds=20.0, then=count)
    assert world.function.most_running == 2


async def test_slow_destinations_do_not_use_up_the_concurrency_of_the_function() -> None:
    slow = FakeDestination(faults=FaultPlan(latency_in_seconds=(4.0, 4.0)))
    world = EventsWorld(plan=WORKS_FOR_A_SECOND, concurrency=1, destinations={"on_success": slow})
    await live(world, *"abcde")
    assert world.function.calls[-1].ended_at < 8.0, "the function goes on while records are delivered"
    assert len(slow.taken) == 5


class CountingDestination(FakeDestination):
    """A destination that needs 8 seconds for a document. `most_bytes` is the size of those that it had at once."""

    def __init__(self) -> None:
        super().__init__(faults=FaultPlan(latency_in_seconds=(4.0, 4.0)))
        self.most_bytes = 0
        self._bytes = 0

    async def deliver(self, document: Document) -> None:
        self._bytes += len(document.text)
        self.most_bytes = max(self.most_bytes, self._bytes)
        try:
            await super().deliver(document)
        finally:
            self._bytes -= len(document.text)


async def test_events_with_large_answers_that_wait_for_slow_destinations_are_bounded_in_bytes() -> None:
    slow = CountingDestination()
    plan = EventFunctionPlan(answer=orjson.dumps("x" * 100_000), duration_in_seconds=(0.1, 0.1))
    world = EventsWorld(
        plan=plan, concurrency=2, destinations={"on_success": slow}, bytes_in_hand=BytesInHand(1_000_000)
    )
    await live(world, *(str(number) for number in range(50)))
    assert len(slow.taken) == 50
    assert 900_000 < slow.most_bytes < 1_000_000 + 2 * 101_000, "two invocations may run when the limit is reached"
    assert world.bytes_in_hand.used == 0


async def test_an_event_stays_claimed_during_a_long_invocation() -> None:
    queue = FakeEventQueue(EventsWorld().clock, claim_in_seconds=60.0)
    world = EventsWorld(
        plan=EventFunctionPlan(duration_in_seconds=(800.0, 800.0)), timeout_in_seconds=900.0, own_queue=queue
    )
    await live(world, "a")
    assert len(world.function.calls) == 1
    assert world.facts_of(EventClaimLost) == []


async def test_a_claim_that_is_extended_while_its_event_is_removed_does_not_count_as_lost() -> None:
    queue = FakeEventQueue(EventsWorld().clock, claim_in_seconds=30.0, faults=FaultPlan(latency_in_seconds=(0.0, 4.0)))
    plan = EventFunctionPlan(duration_in_seconds=(15.0, 45.0))
    world = EventsWorld(plan=plan, own_queue=queue, concurrency=60, timeout_in_seconds=60.0)
    await live(world, *(str(number) for number in range(60)))
    assert world.facts_of(EventClaimLost) == []


async def test_an_event_that_loses_its_claim_while_it_waits_for_a_slot_is_not_invoked() -> None:
    world = EventsWorld(own_queue=FakeEventQueue(EventsWorld().clock, claim_in_seconds=30.0), concurrency=1)
    world.own_queue.faults.outages.append(Outage(2.0, 95.0, Fault.UNREACHABLE))

    async def until(life: EventsLife) -> None:
        await life.has_begun.wait()
        async with life.function.gate.slot(unless=anyio.Event()):
            await accept(life, "a")
            await anyio.sleep(150.0)
            assert len(world.facts_of(EventClaimLost)) == 1
        await until_done(world)
        life.stop.begin()

    await world.live(until)
    assert len(world.function.calls) == 1, "it was taken twice"


async def test_a_claim_that_is_lost_during_an_invocation_is_reported_and_the_event_may_run_twice() -> None:
    world = EventsWorld(
        plan=EventFunctionPlan(duration_in_seconds=(100.0, 100.0)),
        timeout_in_seconds=900.0,
        own_queue=FakeEventQueue(EventsWorld().clock, claim_in_seconds=30.0),
    )
    world.own_queue.faults.outages.append(Outage(0.5, 60.0, Fault.UNREACHABLE))
    await live(world, "a")
    assert len(world.facts_of(EventClaimLost)) == 1
    assert [call.attempt for call in world.function.calls] == [1, 1]


async def test_the_events_of_a_missing_function_end_without_waiting_for_each_other() -> None:
    destination = FakeDestination()
    world = EventsWorld(plan=EventFunctionPlan(is_gone=True), destinations={"on_failure": destination})
    await live(world, *(f"e{number}" for number in range(100)))
    assert [condition_and_attempts(document) for document in destination.taken] == [("RetriesExhausted", 0)] * 100
    assert destination.taken_at[-1] < 10
    assert {fact.retry_in_seconds for fact in world.facts_of(EventPostponed)} == {None}, "the events have ended"


async def test_a_throttled_function_gets_few_calls_and_then_all_events_run() -> None:
    world = EventsWorld(
        plan=EventFunctionPlan(throttled=(0.0, 600.0)), concurrency=5, destinations={"on_failure": FakeDestination()}
    )
    names = [str(number) for number in range(300)]
    await live(world, *names)
    assert len(world.function.refused_at) < 100
    assert {call.request_id for call in world.function.calls} == set(names)
    assert max(call.began_at for call in world.function.calls) < 600.0 + 330.0
    assert all(call.attempt == 1 for call in world.function.calls), "a throttle does not count"
    waits = [fact.retry_in_seconds for fact in world.facts_of(EventPostponed)]
    assert waits
    assert all(wait is not None and 0 < wait <= 330.0 for wait in waits)


@pytest.mark.parity("unreachable event destination")
async def test_an_event_is_kept_and_reported_while_its_destination_cannot_be_reached() -> None:
    destination, dead_letters = FakeDestination(), FakeDestination()
    destination.faults.outages.append(Outage(0.0, 1000.0, Fault.UNREACHABLE))
    world = EventsWorld(
        plan=ALWAYS_FAILS,
        destinations={"on_failure": destination, "dead_letter": dead_letters},
        maximum_retry_attempts=0,
    )

    async def look(life: EventsLife) -> None:
        status = life.supervisor.statuses()[0]
        assert (status.state, status.events is not None and status.events.waiting) == ("troubled", 1)
        assert "on_failure: ConnectionRefused" in (status.reason or "")
        await until_done(world)
        assert life.supervisor.statuses()[0].state == "ready"

    await live(world, "a", for_seconds=500.0, then=look)
    assert len(world.function.calls) == 1, "an event that has ended is not invoked again"
    assert len(destination.taken) == len(dead_letters.taken) == 1
    assert dead_letters.taken_at[0] < 5.0, "it does not wait for the destination"


async def test_the_trouble_of_a_destination_ends_when_a_person_has_dropped_its_only_event() -> None:
    destination = FakeDestination()
    destination.faults.outages.append(Outage(0.0, 1e9, Fault.UNREACHABLE))
    world = EventsWorld(plan=ALWAYS_FAILS, destinations={"on_failure": destination}, maximum_retry_attempts=0)

    async def look(life: EventsLife) -> None:
        for _ in range(3000):
            await anyio.sleep(1.0)
            assert life.supervisor.statuses()[0].state == "troubled", "each try fails"
        world.own_queue.drop_all()
        await anyio.sleep(DELIVERY.maximum + OVERDUE_IN_SECONDS + 30.0)
        assert life.supervisor.statuses()[0].state == "ready"

    await live(world, "a", for_seconds=10.0, then=look)
    assert len(world.facts_of(EventQueueRecovered)) == 1


@pytest.mark.parity("stuck events")
async def test_an_event_becomes_stuck_if_its_destination_always_denies_access() -> None:
    destination, dead_letters = FakeDestination(), FakeDestination()
    destination.faults.outages.append(Outage(0.0, 1e9, Fault.ACCESS_DENIED))
    world = EventsWorld(
        plan=ALWAYS_FAILS,
        destinations={"on_failure": destination, "dead_letter": dead_letters},
        maximum_retry_attempts=0,
    )

    async def look(life: EventsLife) -> None:
        status = life.supervisor.statuses()[0]
        assert status.events is not None
        assert (status.events.stuck, status.events.waiting) == (1, 0)

    await live(world, "a", for_seconds=1000.0, then=look)
    assert [event.request_id for event in world.own_queue.events] == ["a"], "its data is kept"
    (stuck,) = world.facts_of(EventStuck)
    assert stuck.destinations == ("on_failure",)
    assert len(dead_letters.taken) == 1
    failures = world.facts_of(EventDeliveryFailed)
    assert [fact.retry_in_seconds is None for fact in failures][-1]
    assert len(failures) >= 3


class SmallDestination(FakeDestination):
    """A destination that accepts no document of more than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    async def deliver(self, document: Document) -> None:
        if len(document.text) > self.limit:
            raise DocumentTooLarge("too large", code="DocumentTooLarge")
        await super().deliver(document)


@pytest.mark.parametrize(
    ("limit", "payloads"),
    [(100_000, {"requestPayload", "responsePayload"}), (2_000, {"requestPayload"}), (1_000, set())],
)
async def test_a_record_that_is_too_large_is_delivered_with_fewer_payloads(limit: int, payloads: set[str]) -> None:
    destination = SmallDestination(limit)
    world = EventsWorld(
        plan=EventFunctionPlan(answer=orjson.dumps("x" * 3_000)), destinations={"on_success": destination}
    )
    await live(world, "a" * 500)
    (document,) = destination.taken
    assert {"requestPayload", "responsePayload"} & orjson.loads(document.text).keys() == payloads
    assert len(world.facts_of(EventRecordShortened)) == (limit < 100_000)


async def test_an_event_becomes_stuck_if_even_its_smallest_record_is_too_large() -> None:
    world = EventsWorld(destinations={"on_success": SmallDestination(10)})
    await live(world, "a", for_seconds=1000.0)
    (event,) = world.own_queue.events
    assert "too large" in event.stuck


async def test_at_the_stop_running_invocations_finish_and_waiting_events_stay_unclaimed() -> None:
    world = EventsWorld(plan=EventFunctionPlan(duration_in_seconds=(20.0, 20.0)), concurrency=1)
    await live(world, "a", "b", for_seconds=5.0)
    assert [call.answer for call in world.function.calls] == ["succeeded"]
    assert anyio.current_time() == pytest.approx(20.0, abs=1.0)
    assert [event.request_id for event in world.own_queue.events] == ["b"]
    assert len(await world.own_queue.take(NAME, count=9, wait_in_seconds=0)) == 1, "nobody has claimed it"


async def test_at_the_stop_an_event_that_waits_for_a_slot_is_put_back_at_once() -> None:
    world = EventsWorld(concurrency=1)

    async def until(life: EventsLife) -> None:
        await life.has_begun.wait()
        async with life.function.gate.slot(unless=anyio.Event()):
            await accept(life, "a")
            await anyio.sleep(5.0)
            life.stop.begin()
            await anyio.sleep(20.0)

    with anyio.move_on_after(1000.0):
        await world.live(until)
    assert world.own_queue.history[-1].kind == "put_back"
    assert world.own_queue.history[-1].at == EPOCH + 5.0
    assert world.function.calls == []


async def test_an_event_that_becomes_too_old_while_it_waits_for_a_slot_is_not_invoked() -> None:
    world = EventsWorld(concurrency=1, maximum_event_age_in_seconds=60)

    async def until(life: EventsLife) -> None:
        await life.has_begun.wait()
        async with life.function.gate.slot(unless=anyio.Event()):
            await accept(life, "a")
            await anyio.sleep(61.0)
        await until_done(world)
        life.stop.begin()

    await world.live(until)
    assert world.function.calls == []
    assert [fact.condition for fact in world.facts_of(EventEnded)] == ["EventAgeExceeded"]


async def test_an_event_whose_invocation_outlasts_the_grace_is_put_back_unchanged() -> None:
    world = EventsWorld(
        plan=EventFunctionPlan(duration_in_seconds=(500.0, 500.0)), grace_in_seconds=30.0, timeout_in_seconds=900.0
    )
    await live(world, "a", for_seconds=5.0)
    assert [call.answer for call in world.function.calls] == ["cut"]
    assert anyio.current_time() == pytest.approx(35.0, abs=1.0)
    (taken,) = await world.own_queue.take(NAME, count=9, wait_in_seconds=0)
    assert (taken.event.attempts, taken.event.ending) == (0, None)


async def test_a_stop_during_deliveries_keeps_the_ending_and_the_deliveries_that_are_left() -> None:
    hangs, dead_letters = FakeDestination(faults=FaultPlan(latency_in_seconds=(9.0, 9.0))), FakeDestination()
    world = EventsWorld(
        plan=ALWAYS_FAILS,
        destinations={"on_failure": hangs, "dead_letter": dead_letters},
        maximum_retry_attempts=0,
        grace_in_seconds=2.0,
    )
    await live(world, "a", for_seconds=2.0)
    (taken,) = await world.own_queue.take(NAME, count=9, wait_in_seconds=0)
    assert taken.event.ending is not None
    assert taken.event.ending.deliveries == ("on_failure",), "the dead-letter queue has it"


async def test_an_undelivered_event_of_an_sqs_queue_moves_to_the_daemons_own_queue() -> None:
    destination = FakeDestination()
    destination.faults.outages.append(Outage(0.0, 100.0, Fault.UNREACHABLE))
    clock = EventsWorld().clock
    sqs = FakeEventQueue(clock)
    world = EventsWorld(
        plan=ALWAYS_FAILS, sqs_queue=sqs, destinations={"on_failure": destination}, maximum_retry_attempts=0
    )

    async def look(_life: EventsLife) -> None:
        assert sqs.events == []
        assert [event.ending is not None for event in world.own_queue.events] == [True]
        await until_done(world)

    await live(world, "a", for_seconds=20.0, then=look)
    assert len(destination.taken) == len(world.function.calls) == 1


async def test_an_ended_event_moves_to_the_daemons_own_queue_once_even_if_its_removal_from_sqs_fails() -> None:
    destination, sqs = FakeDestination(), FakeEventQueue(EventsWorld().clock)
    destination.faults.outages.append(Outage(0.0, 100.0, Fault.UNREACHABLE))
    sqs.faults.script("remove", Fault.UNREACHABLE, Fault.THROTTLED)
    world = EventsWorld(
        plan=ALWAYS_FAILS, sqs_queue=sqs, destinations={"on_failure": destination}, maximum_retry_attempts=0
    )
    await live(world, "a")
    assert len(destination.taken) == len(world.function.calls) == 1


async def test_an_ended_event_of_an_sqs_queue_is_not_lost_while_the_daemons_own_queue_is_full() -> None:
    destination = FakeDestination()
    destination.faults.outages.append(Outage(0.0, 100.0, Fault.UNREACHABLE))
    clock = EventsWorld().clock
    own, sqs = FakeEventQueue(clock), FakeEventQueue(clock)
    own.maximum_bytes = 3
    world = EventsWorld(
        plan=ALWAYS_FAILS,
        own_queue=own,
        sqs_queue=sqs,
        destinations={"on_failure": destination},
        maximum_retry_attempts=0,
    )

    async def look(life: EventsLife) -> None:
        assert {event.request_id for event in [*own.events, *sqs.events]} == {"a", "b"}
        assert world.facts_of(EventQueueFailed)[0].code == "QueueFull"
        assert life.supervisor.statuses()[0].state == "troubled"
        await until_done(world)

    await live(world, "a", "b", for_seconds=50.0, then=look)
    assert len(destination.taken) == len(world.function.calls) == 2


async def test_after_an_unexpected_exception_the_event_is_put_back_and_other_events_continue() -> None:
    class Broken(FakeDestination):
        async def deliver(self, document: Document) -> None:
            if request_id_of(document) == "a" and not self.taken:
                raise ZeroDivisionError
            await super().deliver(document)

    broken = Broken()
    world = EventsWorld(plan=WORKS_FOR_A_SECOND, destinations={"on_success": broken})
    await live(world, "a", "b")
    assert len(world.facts_of(EventsCrashed)) >= 1
    assert sorted(map(request_id_of, broken.taken)) == ["a", "b"]
    assert len(world.function.calls) == 2, "an event that has ended is not invoked again"


async def test_after_an_unexpected_exception_the_event_is_put_back_before_the_other_events_finish() -> None:
    class Broken(FakeDestination):
        async def deliver(self, document: Document) -> None:
            if request_id_of(document) == "slow":
                await anyio.sleep(100.0)
            elif not self.taken:
                self.taken_at.append(anyio.current_time())
                self.taken.append(document)
                raise ZeroDivisionError
            await super().deliver(document)

    broken = Broken()
    world = EventsWorld(plan=WORKS_FOR_A_SECOND, destinations={"on_success": broken})
    await live(world, "slow", "a")
    assert [request_id_of(document) for document in broken.taken] == ["a", "a", "slow"]
    assert broken.taken_at[1] < 10.0


async def test_an_ended_event_of_an_sqs_queue_does_not_move_if_its_claim_is_lost() -> None:
    """SQS delivers the event again, so a move would make two events."""
    destination, sqs = FakeDestination(), FakeEventQueue(EventsWorld().clock, claim_in_seconds=30.0)
    destination.faults.outages.append(Outage(0.0, 200.0, Fault.UNREACHABLE))
    sqs.faults.outages.append(Outage(1.0, 100.0, Fault.UNREACHABLE))
    world = EventsWorld(
        plan=EventFunctionPlan(failure_rate=1.0, duration_in_seconds=(80.0, 80.0)),
        timeout_in_seconds=90.0,
        sqs_queue=sqs,
        destinations={"on_failure": destination},
        maximum_retry_attempts=0,
    )
    await live(world, "a")
    assert len(world.function.calls) == 2
    assert len(destination.taken) == 1


async def test_an_event_that_cannot_be_stored_is_not_accepted() -> None:
    world = EventsWorld(own_queue=FakeEventQueue(EventsWorld().clock, maximum_bytes=8))

    async def until(life: EventsLife) -> None:
        with pytest.raises(Rejected):
            await accept(life, "much too long")
        life.crash()
        await anyio.lowlevel.checkpoint()

    await world.live(until)
    assert world.own_queue.events == []
    assert [type(fact) for fact in world.facts if isinstance(fact, EventsRefused | EventsStored)] == [EventsRefused]


@pytest.mark.parity("full event queue")
async def test_a_full_queue_refuses_events_until_it_has_room() -> None:
    world = EventsWorld(
        plan=EventFunctionPlan(duration_in_seconds=(10.0, 10.0)),
        own_queue=FakeEventQueue(EventsWorld().clock, maximum_bytes=6),
    )

    async def until(life: EventsLife) -> None:
        await life.has_begun.wait()
        await accept(life, "a", "b")
        with pytest.raises(QueueFull):
            await accept(life, "c")
        await until_done(world)
        await accept(life, "c")
        await until_done(world)
        life.stop.begin()

    await world.live(until)
    assert [call.request_id for call in world.function.calls] == ["a", "b", "c"]


async def test_the_age_of_an_event_counts_from_its_acceptance_even_after_a_restart() -> None:
    destination = FakeDestination()
    world = EventsWorld(plan=ALWAYS_FAILS, destinations={"on_failure": destination}, maximum_event_age_in_seconds=100)

    async def kill(life: EventsLife) -> None:
        await life.has_begun.wait()
        await accept(life, "a")
        await anyio.sleep(10.0)
        life.crash()

    await world.live(kill)
    await anyio.sleep(200.0)
    await live(world)
    assert len(world.function.calls) == 1
    assert [condition_and_attempts(document) for document in destination.taken] == [("EventAgeExceeded", 1)]
    assert world.facts_of(EventEnded)[-1].condition == "EventAgeExceeded"


FORMER = Arn.parse("arn:aws:sqs:eu-west-1:123456789012:former")


async def with_a_former_queue(*waiting: Event, **world: Any) -> tuple[EventsWorld, FakeEventQueue]:
    """Return a world whose function has a former queue with these events."""
    made = EventsWorld(plan=WORKS_FOR_A_SECOND, **world)
    made.former_queues[FORMER] = former = FakeEventQueue(made.clock)
    if waiting:
        await former.put(waiting)
    return made, former


def waiting_event(**fields: Any) -> Event:
    return new_event(EPOCH, function=NAME, **fields)


async def test_the_events_of_a_former_queue_are_invoked_and_the_empty_queue_is_forgotten() -> None:
    world, former = await with_a_former_queue(waiting_event(), waiting_event(due_in=1000.0))

    async def look(_life: EventsLife) -> None:
        assert former.events == []
        assert FORMER in world.former_queues, "SQS's counts lag, so one look is not enough"
        await anyio.sleep(EMPTY_FOR_SECONDS)
        assert world.former_queues == {}

    await live(world, for_seconds=1050.0, then=look)
    assert [round(call.began_at, -1) for call in world.function.calls] == [0.0, 1000.0]
    forgotten = FormerEventQueueForgotten(NAME, str(FORMER), "empty")
    assert [fact for fact in world.facts if isinstance(fact, FormerEventQueueFound | FormerEventQueueForgotten)] == [
        FormerEventQueueFound(NAME, str(FORMER)),
        forgotten,
    ]


async def test_a_failed_event_of_a_former_queue_is_retried_and_delivered() -> None:
    destination = FakeDestination()
    world, former = await with_a_former_queue(waiting_event(), destinations={"on_failure": destination})
    world.function.plan = ALWAYS_FAILS
    await live(world, for_seconds=300.0)
    assert [condition_and_attempts(document) for document in destination.taken] == [("RetriesExhausted", 3)]
    assert former.events == world.own_queue.events == []


async def test_a_deleted_former_queue_is_forgotten() -> None:
    world, former = await with_a_former_queue()
    former.faults.outages.append(Outage(0.0, 1e9, Fault.NOT_FOUND))
    await live(world, for_seconds=2 * EMPTY_FOR_SECONDS)
    assert world.former_queues == {}


async def test_a_former_queue_that_cannot_be_read_is_kept_and_shown_until_a_person_forgets_it() -> None:
    world, former = await with_a_former_queue(waiting_event())
    former.faults.outages.append(Outage(0.0, 1e9, Fault.ACCESS_DENIED))

    async def look(life: EventsLife) -> None:
        status = life.supervisor.statuses()[0]
        assert (status.state, status.events is not None and status.events.is_in_use) == ("troubled", True)
        assert f"depth, take: AccessDenied: not authorized ({FORMER})" in (status.reason or "")
        del world.former_queues[FORMER]
        await anyio.sleep(30.0)
        assert life.supervisor.statuses()[0].state == "ready"

    await live(world, for_seconds=2 * EMPTY_FOR_SECONDS, then=look)
    assert world.function.calls == []


async def test_a_former_queue_is_read_no_more_when_a_person_forgets_it() -> None:
    world, former = await with_a_former_queue(waiting_event(due_in=100.0))

    async def look(life: EventsLife) -> None:
        assert waiting_in(life) == (1, True)
        del world.former_queues[FORMER]
        await anyio.sleep(100.0)
        assert waiting_in(life) == (0, False)

    await live(world, for_seconds=50.0, then=look)
    assert len(former.events) == 1


def waiting_in(life: EventsLife) -> tuple[int, bool]:
    """Return how many events wait, and whether the status of the events is shown."""
    events = life.supervisor.statuses()[0].events
    assert events is not None
    return events.waiting, events.is_in_use


@pytest.mark.parametrize(("begins_at", "state"), [(0.0, "starting"), (20.0, "troubled")])
async def test_the_trouble_of_the_sqs_queue_does_not_end_when_the_daemons_own_queue_answers(
    begins_at: float, state: str
) -> None:
    sqs = FakeEventQueue(EventsWorld().clock)
    sqs.faults.outages.append(Outage(begins_at, 1e9, Fault.ACCESS_DENIED))
    world = EventsWorld(sqs_queue=sqs)

    async def look(life: EventsLife) -> None:
        for _ in range(100):
            assert life.supervisor.statuses()[0].state == state
            await anyio.sleep(1.0)

    await live(world, for_seconds=80.0, then=look)
    assert world.facts_of(EventQueueRecovered) == []
