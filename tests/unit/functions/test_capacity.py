"""What is the capacity of a function whose limit several workers share?"""

from __future__ import annotations

import anyio
import pytest

from poller.functions.capacity import FunctionCapacity
from poller.functions.units import Unit, Units

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def shared(count: int) -> tuple[FunctionCapacity, Units, list[Unit]]:
    """Return the capacity of a function with a limit of five, with this many units held here."""
    capacity = FunctionCapacity(5, is_shared=True)
    assert capacity.units is not None
    return capacity, capacity.units, [capacity.units.add(lambda: True) for _ in range(count)]


def numbers(capacity: FunctionCapacity) -> tuple[int, int]:
    return capacity.gate.capacity, capacity.room.capacity


async def test_a_limit_that_is_not_shared_is_the_capacity() -> None:
    capacity = FunctionCapacity(5)
    assert (numbers(capacity), capacity.units) == ((5, 5), None)
    capacity.resize(3)
    assert numbers(capacity) == (3, 3)


async def test_the_capacity_of_a_shared_limit_is_the_number_of_units() -> None:
    capacity, units, [unit, _] = shared(2)
    assert numbers(capacity) == (2, 2)
    units.lose(unit)
    assert numbers(capacity) == (1, 1)
    capacity.resize(3)
    assert (numbers(capacity), units.wanted) == ((1, 1), 3)


async def test_a_unit_that_should_leave_waits_for_the_invocations_and_takes_no_further_one() -> None:
    capacity, units, held = shared(2)
    never = anyio.Event()
    assert capacity.gate.enter(never)
    assert capacity.gate.enter(never)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(units.leave, held[0])
        await anyio.wait_all_tasks_blocked()
        assert (numbers(capacity), units.held) == ((1, 1), 2)
        capacity.gate.leave()
        assert not capacity.gate.enter(never)
    assert units.held == 1


async def test_the_last_unit_leaves_when_no_poll_and_no_batch_is_in_hand() -> None:
    """A batch in hand would wait here until the unit comes back."""
    capacity, units, [unit] = shared(1)
    capacity.room.polls = 1
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(units.leave, unit)
        await anyio.wait_all_tasks_blocked()
        assert numbers(capacity) == (1, 0), "the poll may bring a batch, which may still run"
        capacity.room.polls, capacity.room.batches = 0, 1
        capacity.room.changed()
        await anyio.wait_all_tasks_blocked()
        assert numbers(capacity) == (1, 0)
        assert capacity.gate.enter(anyio.Event())
        capacity.room.batches = 0
        capacity.room.changed()
        await anyio.wait_all_tasks_blocked()
        assert (numbers(capacity), units.held) == ((0, 0), 1)
        capacity.gate.leave()
    assert units.held == 0


async def test_the_last_unit_leaves_though_a_shard_waits_for_the_function() -> None:
    """The shard goes to the worker that gets the unit."""
    capacity, units, [unit] = shared(1)
    assert capacity.gate.enter(anyio.Event())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(capacity.gate.wait_in_line, anyio.Event())
        tasks.start_soon(units.leave, unit)
        await anyio.wait_all_tasks_blocked()
        capacity.gate.leave()
        await anyio.wait_all_tasks_blocked()
        assert (capacity.gate.running, units.held) == (0, 0)
        tasks.cancel_scope.cancel()


async def test_a_unit_is_missing_if_an_invocation_waits_for_the_first_one() -> None:
    capacity, units, _ = shared(0)
    assert not units.is_missing
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(capacity.gate.wait_in_line, anyio.Event())
        await anyio.wait_all_tasks_blocked()
        assert units.is_missing
        units.add(lambda: True)
        assert not units.is_missing


async def test_a_unit_is_missing_after_a_call_was_refused() -> None:
    capacity, units, _ = shared(0)
    capacity.refused()
    assert units.is_missing
    units.add(lambda: True)
    assert not units.is_missing
