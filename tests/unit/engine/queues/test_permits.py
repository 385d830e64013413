from __future__ import annotations

import asyncio
import gc
import weakref

import anyio
import pytest

from poller.core.queues.scaling import Concurrency, PollScaling
from poller.engine.queues.permits import MappingRoom, Permits
from poller.functions.room import FunctionRoom

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def permits_for(
    room: FunctionRoom, *, polls: int = 10, batches: int = 10, mapping_room: MappingRoom | None = None
) -> tuple[Permits, PollScaling, Concurrency]:
    scaling, concurrency = PollScaling(ceiling=polls), Concurrency(ceiling=batches)
    scaling.wanted = polls
    permits = Permits(room=room, mapping_room=mapping_room or MappingRoom(), polls=scaling, concurrency=concurrency)
    return permits, scaling, concurrency


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_poll_that_is_cancelled_after_it_got_its_permit_lets_the_next_one_begin() -> None:
    permits, _, _ = permits_for(FunctionRoom(1), polls=1)
    assert await permits.begin_poll()
    first, second = (asyncio.create_task(permits.begin_poll()) for _ in range(2))
    await anyio.wait_all_tasks_blocked()
    permits.end_poll(with_batch=False)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    with anyio.fail_after(60):
        assert await second


async def test_the_batches_of_an_old_run_count_against_the_mappings_concurrency() -> None:
    mapping_room = MappingRoom()
    old, _, _ = permits_for(FunctionRoom(100), batches=2, mapping_room=mapping_room)
    new, _, _ = permits_for(FunctionRoom(100), batches=2, mapping_room=mapping_room)  # the function is another one
    for _ in range(2):
        assert await old.begin_poll()
        old.end_poll(with_batch=True)
    assert not new.has_room
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(new.begin_poll)
        await anyio.wait_all_tasks_blocked()
        assert new.polls_in_flight == 0
        old.end_batch()
        await anyio.wait_all_tasks_blocked()
        assert new.polls_in_flight == 1
    assert not new.has_room
    old.leave()
    assert new.has_room


async def test_the_batches_of_an_old_run_do_not_count_against_the_limit_that_a_failure_of_the_new_run_has_lowered() -> (
    None
):
    mapping_room, room = MappingRoom(), FunctionRoom(100)
    old, _, _ = permits_for(room, batches=4, mapping_room=mapping_room)
    new, _, concurrency = permits_for(room, batches=4, mapping_room=mapping_room)
    assert await old.begin_poll()
    old.end_poll(with_batch=True)
    concurrency.failed(concurrency.begin(), in_use=1)
    assert concurrency.limit == 1
    assert new.has_room
    assert await new.begin_poll()
    new.end_poll(with_batch=True)
    assert not new.has_room, "its own batch counts"


async def test_a_mapping_polls_only_within_its_concurrency() -> None:
    permits, _, _ = permits_for(FunctionRoom(100), batches=2)
    assert await permits.begin_poll()
    assert await permits.begin_poll()
    assert not permits.has_room
    permits.end_poll(with_batch=True)
    assert not permits.has_room
    permits.end_batch()
    assert permits.has_room


async def test_the_first_poll_of_a_mapping_does_not_use_the_functions_concurrency() -> None:
    room = FunctionRoom(1)
    busy, _, _ = permits_for(room)
    other, _, _ = permits_for(room)
    await busy.begin_poll()
    busy.end_poll(with_batch=True)
    assert not busy.has_room, "its own batch fills the function"
    assert other.has_room, "one batch may wait in line for each mapping"


async def test_further_polls_use_the_functions_concurrency() -> None:
    room = FunctionRoom(3)
    first, _, _ = permits_for(room)
    second, _, _ = permits_for(room)
    for _ in range(4):
        assert await first.begin_poll()
    assert not first.has_room
    assert await second.begin_poll()
    assert not second.has_room


async def test_a_function_that_may_run_more_wakes_a_mapping() -> None:
    room = FunctionRoom(1)
    permits, _, _ = permits_for(room)
    for _ in range(2):  # the first one needs no room
        assert await permits.begin_poll()
    async with anyio.create_task_group() as group:
        group.start_soon(permits.begin_poll)
        await anyio.wait_all_tasks_blocked()
        assert permits.polls_in_flight == 2
        room.resize(2)
        await anyio.wait_all_tasks_blocked()
        assert permits.polls_in_flight == 3


async def test_a_function_that_may_run_less_stops_further_polls_of_a_run_with_the_old_ceiling() -> None:
    room = FunctionRoom(10)
    permits, _, concurrency = permits_for(room)
    room.resize(1)
    assert concurrency.ceiling == 10
    assert await permits.begin_poll()
    permits.end_poll(with_batch=True)
    assert not permits.has_room
    permits.end_batch()
    assert permits.has_room


async def test_free_concurrency_of_the_function_wakes_another_mapping() -> None:
    room = FunctionRoom(1)
    first, _, _ = permits_for(room)
    second, _, _ = permits_for(room)
    for permits in (first, second):
        await permits.begin_poll()
        permits.end_poll(with_batch=True)
    woken = anyio.Event()

    async def poll() -> None:
        assert await second.begin_poll()
        woken.set()

    async with anyio.create_task_group() as group:
        group.start_soon(poll)
        await anyio.wait_all_tasks_blocked()
        second.end_batch()
        with anyio.fail_after(60):
            await woken.wait()


class CountingPermits(Permits):
    """Counts how often its rooms call it."""

    called = 0

    def call_next(self) -> None:
        self.called += 1
        super().call_next()


@pytest.mark.parametrize("ending", ["the poll is cancelled", "the poll begins", "the run closes"])
async def test_only_a_run_whose_polls_wait_is_called_when_the_function_has_more_room(ending: str) -> None:
    """Otherwise the end of thousands of mappings of one function would take minutes."""
    room = FunctionRoom(1)
    idle, waiting = (
        CountingPermits(
            room=room, mapping_room=MappingRoom(), polls=PollScaling(ceiling=2), concurrency=Concurrency(ceiling=2)
        )
        for _ in range(2)
    )
    busy, _, _ = permits_for(room)
    assert await busy.begin_poll()
    busy.end_poll(with_batch=True)
    waiting.begin_batch()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiting.begin_poll)
        await anyio.wait_all_tasks_blocked()
        busy.end_batch()
        busy.leave()
        assert (idle.called, waiting.called) == (0, 2)
        match ending:
            case "the poll is cancelled":
                tasks.cancel_scope.cancel()
            case "the poll begins":
                room.resize(2)
            case _:
                waiting.close()
    called = waiting.called
    room.changed()
    assert (idle.called, waiting.called) == (0, called), "no poll waits any more"


async def test_closing_ends_every_wait_for_a_permit() -> None:
    permits, scaling, _ = permits_for(FunctionRoom(1))
    scaling.wanted = 1
    await permits.begin_poll()
    answers: list[bool] = []

    async def poll() -> None:
        answers.append(await permits.begin_poll())

    async with anyio.create_task_group() as group:
        group.start_soon(poll)
        await anyio.wait_all_tasks_blocked()
        permits.close()
    assert answers == [False]
    assert not await permits.begin_poll()


async def test_a_mapping_that_ends_gives_back_all_its_permits() -> None:
    room = FunctionRoom(2)
    permits, _, _ = permits_for(room)
    for _ in range(3):
        await permits.begin_poll()
    permits.end_poll(with_batch=True)
    permits.leave()
    assert (room.batches, room.polls, room.short_polls) == (0, 0, 0)


async def test_the_functions_room_does_not_keep_a_run_that_ended_before_it_began() -> None:
    room = FunctionRoom(2)
    permits = Permits(
        room=room, mapping_room=MappingRoom(), polls=PollScaling(ceiling=1), concurrency=Concurrency(ceiling=1)
    )
    known = weakref.ref(permits)
    del permits
    gc.collect()
    assert known() is None, "the function's room, which outlives the run, keeps it"


async def test_a_worker_without_a_unit_of_the_function_does_not_poll() -> None:
    room = FunctionRoom(0)
    permits, _, _ = permits_for(room)
    assert not permits.has_room
    room.resize(1)
    assert permits.has_room


async def test_a_mapping_has_at_most_as_many_polls_and_batches_as_units() -> None:
    mapping_room = MappingRoom(5)
    assert mapping_room.units is not None
    permits, _, _ = permits_for(FunctionRoom(100), mapping_room=mapping_room)
    assert not permits.has_room
    held = [mapping_room.units.add(lambda: True) for _ in range(2)]
    await permits.begin_poll()
    permits.end_poll(with_batch=True)
    await permits.begin_poll()
    assert not permits.has_room
    permits.end_poll(with_batch=False)
    assert permits.has_room
    mapping_room.units.lose(held[0])
    assert not permits.has_room


async def test_the_limit_of_a_mapping_is_at_most_the_number_of_its_units_in_this_process() -> None:
    mapping_room, room = MappingRoom(5), FunctionRoom(3)
    assert mapping_room.units is not None
    permits, _, concurrency = permits_for(room, mapping_room=mapping_room)
    concurrency.limit = 2
    limits = [permits.limit]
    for _ in range(5):
        mapping_room.units.add(lambda: True)
        limits.append(permits.limit)
    assert limits == [0, 1, 2, 2, 2, 2]
    concurrency.limit = 10
    assert permits.limit == 3, "the units of the function"


async def test_a_poll_that_waits_for_a_unit_of_its_mapping_begins_when_there_is_one() -> None:
    mapping_room = MappingRoom(5)
    assert mapping_room.units is not None
    permits, _, _ = permits_for(FunctionRoom(100), mapping_room=mapping_room)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(permits.begin_poll)
        await anyio.wait_all_tasks_blocked()
        mapping_room.units.add(lambda: True)
        with anyio.fail_after(60):
            while not permits.polls_in_flight:
                await anyio.wait_all_tasks_blocked()


@pytest.mark.parametrize("with_batch", [True, False])
async def test_a_unit_of_a_mapping_leaves_when_its_poll_or_its_batch_has_ended(with_batch: bool) -> None:
    mapping_room = MappingRoom(5)
    assert mapping_room.units is not None
    permits, _, _ = permits_for(FunctionRoom(100), mapping_room=mapping_room)
    held = [mapping_room.units.add(lambda: True) for _ in range(2)]
    for _ in held:
        await permits.begin_poll()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mapping_room.units.leave, held[0])
        await anyio.wait_all_tasks_blocked()
        permits.end_poll(with_batch=with_batch)
        await anyio.wait_all_tasks_blocked()
        assert mapping_room.units.held == (2 if with_batch else 1)
        if with_batch:
            permits.end_batch()
    assert mapping_room.units.held == 1


async def test_the_polls_and_batches_of_an_old_run_use_units_until_they_have_ended() -> None:
    mapping_room = MappingRoom(5)
    assert mapping_room.units is not None
    old, _, _ = permits_for(FunctionRoom(100), mapping_room=mapping_room)
    new, _, _ = permits_for(FunctionRoom(100), mapping_room=mapping_room)
    mapping_room.units.add(lambda: True)
    await old.begin_poll()
    assert not new.has_room
    old.leave()
    assert (new.has_room, mapping_room.in_use) == (True, 0)
