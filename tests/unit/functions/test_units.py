"""How many invocations run on the units that a process holds, and when may a unit leave?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from poller.functions.units import CUT, NO_UNIT, Unit, Units
from poller.model.invocation import Answered, Response

pytestmark = pytest.mark.anyio

ANSWER = Answered(b"")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Process:
    """A process with units, which runs invocations until they may end."""

    def __init__(self) -> None:
        self.needed = 0
        self.changes: list[tuple[int, int]] = []
        self.units = Units(5, needed=lambda: self.needed, changed=self._note)
        self.running = 0
        self.responses: list[Response] = []
        self.may_end = anyio.Event()

    def _note(self) -> None:
        self.changes.append((self.units.held, self.units.kept))

    def add(self, *, may_begin: bool = True) -> Unit:
        return self.units.add(lambda: may_begin)

    async def invoke(self) -> None:
        self.responses.append(await self.units.run(self._call))

    async def _call(self) -> Response:
        self.running += 1
        try:
            await self.may_end.wait()
        finally:
            self.running -= 1
        return ANSWER

    @asynccontextmanager
    async def invocations(self, count: int) -> AsyncIterator[None]:
        """Begin invocations, and let those that still run end after the block."""
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(self.invoke)
            await anyio.wait_all_tasks_blocked()
            yield
            self.may_end.set()


async def test_as_many_invocations_run_as_there_are_units() -> None:
    process = Process()
    for _ in range(2):
        process.add()
    async with process.invocations(3):
        assert (process.running, process.responses) == (2, [NO_UNIT])
    assert process.responses == [NO_UNIT, ANSWER, ANSWER]


async def test_a_unit_is_used_again_after_its_invocation() -> None:
    process = Process()
    process.add()
    process.may_end.set()
    for _ in range(3):
        await process.invoke()
    assert process.responses == [ANSWER] * 3


async def test_no_invocation_begins_on_a_unit_that_may_be_lost_already() -> None:
    process = Process()
    usable = process.add()
    process.add(may_begin=False)
    async with process.invocations(2):
        assert process.running == 1
        assert usable.use is not None


async def test_a_lost_unit_cuts_its_invocation_and_no_other() -> None:
    process = Process()
    units = [process.add() for _ in range(3)]
    async with process.invocations(3):
        process.units.lose(units[1])
        await anyio.wait_all_tasks_blocked()
        assert (process.running, process.responses) == (2, [CUT])
    assert process.responses == [CUT, ANSWER, ANSWER]
    assert process.units.held == 2


async def test_an_invocation_goes_on_with_a_free_unit_if_its_own_one_is_lost() -> None:
    process = Process()
    units = [process.add(), process.add()]
    async with process.invocations(1):
        [used] = [unit for unit in units if unit.use is not None]
        process.units.lose(used)
        await process.invoke()
        assert (process.running, process.responses) == (1, [NO_UNIT])
    assert process.responses == [NO_UNIT, ANSWER]
    await process.invoke()
    assert process.responses[-1] == ANSWER


async def test_an_invocation_is_cut_if_its_second_unit_is_lost_too() -> None:
    process = Process()
    units = [process.add(), process.add()]
    async with process.invocations(1):
        for unit in sorted(units, key=lambda each: each.use is None):
            process.units.lose(unit)
        await anyio.wait_all_tasks_blocked()
        assert (process.running, process.responses) == (0, [CUT])


async def test_an_invocation_does_not_go_on_with_a_unit_that_may_be_lost_too() -> None:
    process = Process()
    used = process.add()
    process.add(may_begin=False)
    async with process.invocations(1):
        process.units.lose(used)
    assert process.responses == [CUT]


async def test_a_unit_leaves_at_once_if_fewer_units_are_needed() -> None:
    process = Process()
    units = [process.add(), process.add()]
    process.needed = 1
    async with process.invocations(1):
        with anyio.fail_after(5):
            await process.units.leave(units[0])
        assert (process.running, process.units.held) == (1, 1)
    assert process.responses == [ANSWER]


async def test_a_unit_leaves_when_fewer_units_are_needed() -> None:
    process = Process()
    unit = process.add()
    process.needed = 1
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process.units.leave, unit)
        await anyio.wait_all_tasks_blocked()
        assert (process.units.held, process.units.kept) == (1, 0)
        process.units.reconsider()
        await anyio.wait_all_tasks_blocked()
        assert process.units.held == 1
        process.needed = 0
        process.units.reconsider()
    assert (process.units.held, process.units.kept) == (0, 0)


async def test_only_one_of_two_units_that_should_leave_leaves_if_the_other_is_needed() -> None:
    process = Process()
    units = [process.add(), process.add()]
    process.needed = 1
    async with anyio.create_task_group() as tasks:
        for unit in units:
            tasks.start_soon(process.units.leave, unit)
        await anyio.wait_all_tasks_blocked()
        assert (process.units.held, process.units.kept) == (1, 0)
        tasks.cancel_scope.cancel()
    assert process.units.kept == 1


async def test_an_invocation_uses_a_unit_that_should_leave_only_if_there_is_no_other() -> None:
    process = Process()
    staying, leaving = process.add(), process.add()
    process.needed = 2
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process.units.leave, leaving)
        await anyio.wait_all_tasks_blocked()
        async with process.invocations(1):
            assert staying.use is not None
            async with process.invocations(1):
                assert leaving.use is not None
        tasks.cancel_scope.cancel()


async def test_a_unit_that_is_lost_while_it_should_leave_does_not_leave_again() -> None:
    process = Process()
    unit, other = process.add(), process.add()
    process.needed = 2
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process.units.leave, unit)
        await anyio.wait_all_tasks_blocked()
        process.units.lose(unit)
    process.units.lose(unit)
    assert (process.units.held, other.use) == (1, None)


async def test_each_change_of_the_number_of_units_is_reported() -> None:
    process = Process()
    unit = process.add()
    process.add()
    await process.units.leave(unit)
    assert list(dict.fromkeys(process.changes)) == [(1, 1), (2, 2), (2, 1)]
    assert process.changes[-1] == (1, 1)


async def test_another_number_of_wanted_units_is_reported() -> None:
    units = Process().units
    units.want(5)
    assert not units.wants_other_number.is_set()
    units.want(3)
    assert (units.wanted, units.wants_other_number.is_set()) == (3, True)
