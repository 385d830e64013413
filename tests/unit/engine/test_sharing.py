"""Is a value that mappings share opened once, and closed by the task that opened it after the last user has left?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.engine.sharing import Shared

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return ("trio", {"clock": MockClock(autojump_threshold=0)}) if request.param == "trio" else ("asyncio", {})


class Things:
    """Values with a task group each, like a pool of child processes. `log` has what happened to them."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.fails_to_open = False
        self.fails_to_close = False
        self.is_closing = anyio.Event()
        self.may_open = anyio.Event()
        self.may_close = anyio.Event()
        self.may_open.set()
        self.may_close.set()

    @asynccontextmanager
    async def open(self, key: str) -> AsyncIterator[list[str]]:
        await self.may_open.wait()
        if self.fails_to_open:
            raise FileNotFoundError(key)
        self.log.append(f"open {key}")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            yield [key]
            tasks.cancel_scope.cancel()
        self.is_closing.set()
        await self.may_close.wait()
        self.log.append(f"closed {key}")
        if self.fails_to_close:
            raise ZeroDivisionError


async def test_all_users_of_a_key_get_one_value_and_the_last_one_closes_it() -> None:
    things = Things()
    async with anyio.create_task_group() as tasks:
        shared = Shared(things.open, tasks=tasks)
        async with shared.use("a") as first:
            async with shared.use("a") as second, shared.use("b") as other:
                assert shared.all_opened() == [first, other]
                assert first is second
                assert other == ["b"]
            assert things.log == ["open a", "open b", "closed b"]
        assert things.log[-1] == "closed a"
        assert len(shared) == 0


async def test_users_may_leave_in_any_order() -> None:
    """anyio raises if one task enters two task groups and leaves the first one first."""
    things = Things()
    async with anyio.create_task_group() as tasks:
        shared = Shared(things.open, tasks=tasks)
        first, second = AsyncExitStack(), AsyncExitStack()
        await first.enter_async_context(shared.use("a"))
        await second.enter_async_context(shared.use("b"))
        await first.aclose()
        await second.aclose()
        assert things.log == ["open a", "open b", "closed a", "closed b"]


async def test_simultaneous_users_wait_for_the_same_opening() -> None:
    things = Things()
    things.may_open = anyio.Event()
    values: list[list[str]] = []

    async def use() -> None:
        async with shared.use("a") as value:
            values.append(value)

    async with anyio.create_task_group() as tasks:
        shared = Shared(things.open, tasks=tasks)
        async with anyio.create_task_group() as users:
            for _ in range(3):
                users.start_soon(use)
            await anyio.wait_all_tasks_blocked()
            things.may_open.set()
        assert len({id(value) for value in values}) == 1
        assert things.log == ["open a", "closed a"]


async def test_a_user_that_arrives_during_the_closing_waits_and_gets_a_new_value() -> None:
    """For example, a file with a lock cannot be open twice."""
    things = Things()

    async def use() -> None:
        async with shared.use("a"):
            pass

    things.may_close = anyio.Event()
    async with anyio.create_task_group() as tasks:
        shared = Shared(things.open, tasks=tasks)
        async with anyio.create_task_group() as users:
            users.start_soon(use)
            await things.is_closing.wait()
            users.start_soon(use)
            await anyio.wait_all_tasks_blocked()
            assert things.log == ["open a"]
            things.may_close.set()
        assert things.log == ["open a", "closed a", "open a", "closed a"]


async def test_a_value_can_be_reached_while_it_has_a_user() -> None:
    things = Things()
    async with anyio.create_task_group() as tasks:
        shared = Shared(things.open, tasks=tasks)
        assert shared.opened("a") is None
        async with shared.use("a") as value:
            assert shared.opened("a") is value
            assert shared.opened("b") is None
        assert shared.opened("a") is None
        assert things.log == ["open a", "closed a"]


async def test_a_user_gets_the_error_of_opening_and_the_next_one_tries_again() -> None:
    things = Things()
    things.fails_to_open = True
    async with anyio.create_task_group() as tasks:
        shared = Shared(things.open, tasks=tasks)
        with pytest.raises(FileNotFoundError):
            async with shared.use("a"):
                pass
        things.fails_to_open = False
        async with shared.use("a") as value:
            assert value == ["a"]


async def test_only_the_last_user_gets_the_error_of_closing() -> None:
    things = Things()
    things.fails_to_close = True
    async with anyio.create_task_group() as tasks:
        shared = Shared(things.open, tasks=tasks)
        async with shared.use("b"):
            with pytest.raises(ZeroDivisionError):
                async with shared.use("a"):
                    pass
            things.fails_to_close = False
        assert len(shared) == 0


async def test_a_value_is_closed_if_its_user_is_cancelled_while_it_opens() -> None:
    things = Things()

    async def use() -> None:
        async with shared.use("a"):
            raise AssertionError("it was cancelled before")

    things.may_open = anyio.Event()
    async with anyio.create_task_group() as tasks:
        shared = Shared(things.open, tasks=tasks)
        async with anyio.create_task_group() as users:
            users.start_soon(use)
            await anyio.wait_all_tasks_blocked()
            users.cancel_scope.cancel()
        things.may_open.set()
        await anyio.wait_all_tasks_blocked()
        assert things.log == ["open a", "closed a"]
        assert len(shared) == 0
