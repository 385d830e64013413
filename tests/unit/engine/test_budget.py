from __future__ import annotations

import anyio
import pytest

from poller.engine.budget import LEAST, Budget

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


async def test_a_shard_that_has_something_in_hand_is_held_back_by_the_process_too() -> None:
    process = Budget(100)
    one, other = Budget(1_000, process), Budget(1_000, process)
    other.charge(10)
    one.charge(90)
    with anyio.move_on_after(0) as waiting:
        await other.room()
    assert waiting.cancelled_caught
    one.give_back(90)
    assert await other.room() == 90
    assert (process.used, one.used, other.used) == (10, 0, 10)


async def test_shards_that_stand_still_do_not_starve_another_one() -> None:
    process = Budget(100)
    one, other = Budget(1_000, process), Budget(1_000, process)
    one.charge(500)
    assert await other.room() == LEAST
    other.charge(1)
    with anyio.move_on_after(0) as waiting:
        await other.room()
    assert waiting.cancelled_caught


async def test_who_waits_for_the_process_hears_of_its_own_bytes_given_back() -> None:
    process = Budget(100)
    one, other = Budget(1_000, process), Budget(1_000, process)
    one.charge(500)
    other.charge(1)
    async with anyio.create_task_group() as group:

        async def finish() -> None:
            await anyio.wait_all_tasks_blocked()
            other.give_back(1)

        group.start_soon(finish)
        with anyio.fail_after(1):
            assert await other.room() == LEAST


async def test_what_a_shard_had_in_hand_goes_back_with_it() -> None:
    process = Budget(100)
    one = Budget(1_000, process)
    one.charge(500)
    one.close()
    assert (process.used, one.used) == (0, 0)
