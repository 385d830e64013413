from __future__ import annotations

import anyio
import pytest

from poller.engine.budget import Budget

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_who_asks_waits_until_enough_was_given_back() -> None:
    budget = Budget(100)
    await budget.room()
    budget.charge(150)
    has_room = anyio.Event()

    async def ask() -> None:
        await budget.room()
        has_room.set()

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        budget.give_back(40)
        await anyio.wait_all_tasks_blocked()
        assert not has_room.is_set()
        budget.give_back(20)
        with anyio.fail_after(1):
            await has_room.wait()


async def test_a_shard_is_held_back_by_the_process_too() -> None:
    process = Budget(100)
    one, other = Budget(1_000, process), Budget(1_000, process)
    one.charge(100)
    with anyio.move_on_after(0) as waiting:
        await other.room()
    assert waiting.cancelled_caught
    one.give_back(100)
    await other.room()
    assert (process.used, one.used, other.used) == (0, 0, 0)
