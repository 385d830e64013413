from __future__ import annotations

import asyncio

import anyio
import pytest
from anyio.lowlevel import checkpoint

from poller.functions.gate import FunctionGate

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_invocations_beyond_the_capacity_wait_in_line() -> None:
    gate = FunctionGate(2)
    order: list[int] = []

    async def invoke(number: int, done: anyio.Event) -> None:
        async with gate.slot(unless=anyio.Event()):
            order.append(number)
            assert gate.running <= 2
            await done.wait()

    done = anyio.Event()
    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(invoke, number, done)
            await checkpoint()
        await anyio.wait_all_tasks_blocked()
        assert len(order) == 2
        done.set()
    assert sorted(order) == list(range(6))
    assert gate.running == 0


async def pass_through(gate: FunctionGate) -> None:
    async with gate.slot(unless=anyio.Event()):
        await checkpoint()


async def test_an_invocation_that_leaves_the_line_uses_no_slot() -> None:
    gate = FunctionGate(1)
    async with gate.slot(unless=anyio.Event()), anyio.create_task_group() as group:
        group.start_soon(pass_through, gate)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert gate.running == 0


async def test_an_invocation_that_is_cancelled_as_it_gets_its_slot_gives_the_slot_back() -> None:
    gate = FunctionGate(1)
    async with anyio.create_task_group() as group:
        async with gate.slot(unless=anyio.Event()):
            group.start_soon(pass_through, gate)
            await anyio.wait_all_tasks_blocked()
        assert gate.running == 1, "the place went on to the one in line"
        group.cancel_scope.cancel()
    assert gate.running == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_that_is_cancelled_after_it_got_its_slot_keeps_no_slot() -> None:
    """A task that anyio cancels goes on to its next wait.

    One that asyncio itself cancels, as at the end of its loop, does not.
    """
    gate = FunctionGate(1)
    async with gate.slot(unless=anyio.Event()):
        task = asyncio.create_task(pass_through(gate))
        await anyio.wait_all_tasks_blocked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gate.running == 0


async def test_a_stop_ends_the_wait_in_line_at_once_and_gives_no_slot() -> None:
    gate, stopping = FunctionGate(1), anyio.Event()
    answers: list[bool] = []

    async def wait() -> None:
        async with gate.slot(unless=stopping) as has_slot:
            answers.append(has_slot)

    with anyio.fail_after(60):
        async with gate.slot(unless=anyio.Event()):
            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                stopping.set()
                gate.send_home()
            assert (answers, gate.running) == ([False], 1)
    assert gate.running == 0


async def test_after_a_stop_no_slot_is_given_even_if_there_is_room() -> None:
    gate, stopping = FunctionGate(1), anyio.Event()
    stopping.set()
    async with gate.slot(unless=stopping) as has_slot:
        assert (has_slot, gate.running) == (False, 0)


async def test_a_slot_that_is_handed_over_at_the_moment_of_a_stop_is_not_lost() -> None:
    gate, stopping = FunctionGate(1), anyio.Event()
    answers: list[bool] = []

    async def wait(unless: anyio.Event) -> None:
        async with gate.slot(unless=unless) as has_slot:
            answers.append(has_slot)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            async with gate.slot(unless=anyio.Event()):
                group.start_soon(wait, stopping)
                await anyio.wait_all_tasks_blocked()
                group.start_soon(wait, anyio.Event())
                await anyio.wait_all_tasks_blocked()
            stopping.set()
            gate.send_home()
    assert answers == [False, True], "the one that stops hands the slot on"
    assert gate.running == 0


async def test_the_line_is_first_come_first_served() -> None:
    gate = FunctionGate(1)
    order: list[int] = []

    async def invoke(number: int) -> None:
        async with gate.slot(unless=anyio.Event()):
            order.append(number)
            await checkpoint()

    async with anyio.create_task_group() as group, gate.slot(unless=anyio.Event()):
        for number in range(4):
            group.start_soon(invoke, number)
            await anyio.wait_all_tasks_blocked()
    assert order == [0, 1, 2, 3]


async def test_a_gate_that_is_made_smaller_cuts_nothing_and_gives_no_slot_until_fewer_invocations_run() -> None:
    gate, done = FunctionGate(3), [anyio.Event() for _ in range(5)]
    begun: list[int] = []

    async def invoke(number: int) -> None:
        async with gate.slot(unless=anyio.Event()):
            begun.append(number)
            await done[number].wait()

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(invoke, number)
            await anyio.wait_all_tasks_blocked()
        gate.resize(1)
        group.start_soon(invoke, 4)
        running = []
        for number in range(3):
            done[number].set()
            await anyio.wait_all_tasks_blocked()
            running.append((gate.running, len(begun)))
        assert running == [(2, 3), (1, 3), (1, 4)]
        done[3].set()
        done[4].set()
    assert (begun, gate.running) == ([0, 1, 2, 3, 4], 0)


async def test_a_gate_that_is_made_larger_gives_slots_to_those_in_line() -> None:
    gate, done = FunctionGate(1), anyio.Event()

    async def invoke() -> None:
        async with gate.slot(unless=anyio.Event()):
            await done.wait()

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(invoke)
        await anyio.wait_all_tasks_blocked()
        gate.resize(3)
        assert gate.running == 3
        done.set()
    assert gate.running == 0
