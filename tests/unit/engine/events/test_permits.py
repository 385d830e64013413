"""How many events may be taken now?"""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.engine.events.bytes_in_hand import BytesInHand
from poller.engine.events.pace import Pace
from poller.engine.events.permits import IN_DELIVERY, MOST_AT_ONCE, EventPermits
from poller.functions.room import FunctionRoom

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def permits_of(
    capacity: int, *, bytes_in_hand: BytesInHand | None = None, may_run: bool = True
) -> tuple[EventPermits, FunctionRoom, Pace]:
    room, pace = FunctionRoom(capacity), Pace(random.Random(1))
    permits = EventPermits(room=room, pace=pace, bytes_in_hand=bytes_in_hand or BytesInHand(1000), may_run=may_run)
    permits.enter()
    return permits, room, pace


async def test_as_many_events_may_be_taken_as_the_function_has_room_for() -> None:
    permits, room, _ = permits_of(5)
    assert permits.free == 5
    room.batches, room.short_polls = 1, 1
    assert permits.free == 3
    permits.begin(2)
    assert (permits.free, room.batches) == (2, 2)


async def test_at_most_64_events_may_be_taken_with_one_call() -> None:
    assert permits_of(1000)[0].free == MOST_AT_ONCE


async def test_one_event_may_be_taken_if_batches_use_up_the_room() -> None:
    permits, room, _ = permits_of(2)
    room.batches = 2
    assert permits.free == 1
    permits.begin(2)
    assert permits.free == 0


async def test_an_answered_event_takes_no_room_but_counts_as_in_hand() -> None:
    permits, room, _ = permits_of(1)
    for _ in range(IN_DELIVERY):
        permits.begin(2)
        permits.answered(grown_by=0)
    assert (room.batches, permits.invoking, permits.in_hand, permits.free) == (0, 0, IN_DELIVERY, 1)
    permits.begin(2)
    permits.answered(grown_by=0)
    assert permits.free == 0
    permits.end(2)
    assert permits.free == 1


async def test_one_event_at_a_time_may_be_taken_while_the_function_is_throttled() -> None:
    permits, _, pace = permits_of(5)
    pace.postponed(retry_after=None, began_at=0.0)
    assert permits.free == 1
    permits.begin(2)
    assert permits.free == 0


async def test_no_event_may_be_taken_while_those_in_hand_and_their_answers_have_too_many_bytes() -> None:
    permits, _, _ = permits_of(50, bytes_in_hand=BytesInHand(1000))
    permits.begin(600)
    assert permits.free == 49
    permits.answered(grown_by=400)
    assert permits.free == 0
    permits.end(1000)
    assert permits.free == 50


async def test_a_run_may_take_one_event_at_a_time_while_other_runs_use_up_the_bytes_of_the_process() -> None:
    process = BytesInHand(1000)
    others, _, _ = permits_of(50, bytes_in_hand=BytesInHand(2000, process))
    permits, room, _ = permits_of(50, bytes_in_hand=BytesInHand(2000, process))
    others.begin(1000)
    assert permits.free == 1
    permits.begin(10)
    assert permits.free == 0
    assert await waits(permits, room, until="another run ends its event", others=others) == 49


async def waits(permits: EventPermits, room: FunctionRoom, *, until: str, others: EventPermits | None = None) -> int:
    """Wait for a permit, and let `until` happen. Return how many events may be taken then; before, none may."""
    found: list[int] = []

    async def wait() -> None:
        found.append(await permits.some())

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert found == []
            if until == "an event is answered":
                permits.answered(grown_by=0)
            elif others is not None:
                others.end(1000)
            else:
                room.batches -= 1
                room.changed()
    return found[0]


@pytest.mark.parametrize("until", ["an event is answered", "a batch of a mapping ends"])
async def test_a_waiting_take_continues_when_the_function_has_room(until: str) -> None:
    permits, room, _ = permits_of(2)
    permits.begin(2)
    room.batches += 1
    assert await waits(permits, room, until=until) == 1


async def test_a_run_that_has_ended_no_longer_listens_to_the_room() -> None:
    bytes_in_hand = BytesInHand(1000)
    permits, room, _ = permits_of(1, bytes_in_hand=bytes_in_hand)
    permits.leave()
    assert not room._listeners
    assert not bytes_in_hand._listeners


async def test_a_worker_without_a_unit_of_the_function_takes_no_event() -> None:
    permits, room, _ = permits_of(0)
    assert permits.free == 0
    room.resize(2)
    assert permits.free == 2


async def test_events_of_a_function_that_is_never_invoked_are_taken_because_they_end_at_once() -> None:
    permits, _, _ = permits_of(0, may_run=False)
    assert permits.free == IN_DELIVERY


async def test_a_worker_without_a_unit_takes_one_event_after_ten_seconds() -> None:
    """The queue may have no other worker. The event waits for the function, and the worker asks for a unit."""
    permits, _, _ = permits_of(0)
    began = anyio.current_time()
    assert (await permits.some(), anyio.current_time() - began) == (1, 10)
    permits.begin(2)
    with anyio.move_on_after(100) as waiting:
        await permits.some()
    assert waiting.cancelled_caught


async def test_a_worker_that_gets_a_unit_takes_events_at_once() -> None:
    permits, room, _ = permits_of(0)
    async with anyio.create_task_group() as tasks:

        async def get_units() -> None:
            await anyio.sleep(3)
            room.resize(2)

        tasks.start_soon(get_units)
        began = anyio.current_time()
        assert (await permits.some(), anyio.current_time() - began) == (2, 3)
