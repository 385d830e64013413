from __future__ import annotations

from collections.abc import Collection
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.errors import Rejected
from poller.event_queues.waking import LOOK_EVERY_SECONDS, Waking
from poller.model.ids import FunctionName
from tests.fakes.clock import VirtualClock
from tests.fakes.events import MAIL, RESIZE

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class File:
    """A file with the times when events become free. `searches` has the time and the functions of each search."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.free_at: dict[FunctionName, float] = {}
        self.is_broken = False
        self.searches: list[tuple[float, set[FunctionName]]] = []
        self.waking = Waking(self.search, self.clock)

    async def search(self, functions: Collection[FunctionName]) -> dict[FunctionName, float]:
        self.searches.append((anyio.current_time(), set(functions)))
        await anyio.lowlevel.checkpoint()
        if self.is_broken:
            raise Rejected("the file was removed", code="FileGone")
        return {function: at for function, at in self.free_at.items() if function in functions}

    async def wait(self, function: FunctionName = RESIZE) -> float:
        """Wait until a take of the function is woken. Return the waiting time in seconds."""
        began = anyio.current_time()
        with anyio.fail_after(1000), self.waking.waiting(function) as woken:
            await woken.wait()
        return anyio.current_time() - began


@pytest.fixture
async def file(anyio_backend: Any) -> Any:
    file = File()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(file.waking.run)
        yield file
        tasks.cancel_scope.cancel()


async def test_an_event_that_this_process_stores_wakes_a_take_at_once_without_a_search(file: File) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(file.wait)
        await anyio.wait_all_tasks_blocked()
        file.waking.stored(RESIZE, free_at=file.clock.now())
    assert anyio.current_time() == 0.0
    assert file.searches == []


async def test_an_event_that_another_process_stores_wakes_a_take_within_a_second(file: File) -> None:
    file.free_at[RESIZE] = file.clock.now() - 5
    assert await file.wait() <= LOOK_EVERY_SECONDS


@pytest.mark.parametrize("due_in", [0.25, 7.5])
async def test_an_event_wakes_a_take_when_it_becomes_due(file: File, due_in: float) -> None:
    file.free_at[RESIZE] = file.clock.now() + due_in
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(file.wait)
        await anyio.wait_all_tasks_blocked()
        file.waking.stored(RESIZE, free_at=file.free_at[RESIZE])
    assert anyio.current_time() == pytest.approx(due_in, abs=1e-5)


async def test_one_search_a_second_finds_the_events_of_all_functions(file: File) -> None:
    with anyio.move_on_after(10.5):
        async with anyio.create_task_group() as tasks:
            for function in (RESIZE, MAIL, *map(FunctionName, "abcdefgh")):
                tasks.start_soon(file.wait, function)
    assert len(file.searches) == 10
    assert {len(functions) for _, functions in file.searches} == {10}


async def test_no_search_is_made_while_no_take_waits(file: File) -> None:
    with anyio.move_on_after(1.5):
        await file.wait()
    await anyio.sleep(100)
    assert len(file.searches) == 1


async def test_an_event_does_not_wake_the_takes_of_other_functions(file: File) -> None:
    file.free_at[MAIL] = file.clock.now()
    with anyio.move_on_after(5) as waited:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(file.wait, MAIL)
            await file.wait(RESIZE)
    assert waited.cancelled_caught


async def test_a_failed_search_wakes_all_takes_so_that_each_take_raises_the_error(file: File) -> None:
    file.is_broken = True
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(file.wait, RESIZE)
        tasks.start_soon(file.wait, MAIL)
    assert anyio.current_time() == pytest.approx(LOOK_EVERY_SECONDS, abs=1e-5)
