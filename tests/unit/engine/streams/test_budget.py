from __future__ import annotations

import random

import anyio
import anyio.lowlevel
import pytest

from poller.engine.streams.budget import LEAST, Budget
from tests.simulation.world import run_seeded

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def room(budget: Budget) -> int:
    async with budget.promised() as room_in_bytes:
        return room_in_bytes


async def test_a_read_waits_until_enough_bytes_were_given_back() -> None:
    budget = Budget(100)
    assert await room(budget) == 100
    budget.charge(150)
    has_room = anyio.Event()

    async def ask() -> None:
        await room(budget)
        has_room.set()

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        budget.give_back(40)
        await anyio.wait_all_tasks_blocked()
        assert not has_room.is_set()
        budget.give_back(20)
        with anyio.fail_after(60):
            await has_room.wait()


async def test_a_shard_with_records_in_hand_also_waits_for_the_budget_of_the_process() -> None:
    process = Budget(100)
    one, other = Budget(1_000, process), Budget(1_000, process)
    other.charge(10)
    one.charge(90)
    with anyio.move_on_after(0) as waiting:
        await room(other)
    assert waiting.cancelled_caught
    one.give_back(90)
    assert await room(other) == 90
    assert (process.used, one.used, other.used) == (10, 0, 10)


async def test_bytes_reserved_for_one_read_are_not_reserved_for_another() -> None:
    process = Budget(100)
    one, other = Budget(60, process), Budget(60, process)
    other.charge(1)
    async with one.promised() as room_in_bytes:
        assert room_in_bytes == 60
        assert await room(other) == 39
        one.charge(room_in_bytes)
    assert await room(other) == 39


async def test_a_waiting_read_calls_back_if_records_must_be_done_first_but_not_while_others_read() -> None:
    process = Budget(100)
    one, *others = [Budget(1_000, process) for _ in range(3)]
    calls: list[int] = []

    async def ask(number: int) -> None:
        async with others[number].promised(lambda: calls.append(number)):
            pass

    for other in others:
        other.charge(10)
    async with anyio.create_task_group() as group:
        async with one.promised() as room_in_bytes:
            for number in range(2):
                group.start_soon(ask, number)
            await anyio.wait_all_tasks_blocked()
            assert calls == []
            one.charge(room_in_bytes)
        await anyio.wait_all_tasks_blocked()
        assert set(calls) == {0, 1}
        one.give_back(room_in_bytes)


async def test_unused_reserved_bytes_go_to_a_waiting_read() -> None:
    process = Budget(100)
    one, other = Budget(1_000, process), Budget(1_000, process)
    other.charge(1)
    rooms: list[int] = []

    async def ask() -> None:
        rooms.append(await room(other))

    async with anyio.create_task_group() as group, one.promised() as room_in_bytes:
        assert room_in_bytes == 99
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert rooms == []
    assert rooms == [99]


async def test_reads_that_wait_for_the_process_get_room_in_turn() -> None:
    process = Budget(100)
    shards = [Budget(40, process) for _ in range(5)]
    for shard in shards:
        shard.charge(20)
    served: list[int] = []

    async def read(number: int) -> None:
        async with shards[number].promised() as room_in_bytes:
            served.append(number)
        shards[number].charge(room_in_bytes)

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(read, number)
            await anyio.wait_all_tasks_blocked()
        shards[4].give_back(10)
        await anyio.wait_all_tasks_blocked()
        assert (served, process.used) == ([0], 100)
        shards[4].give_back(10)
        shards[0].give_back(30)
        await anyio.wait_all_tasks_blocked()
        assert (served, process.used) == ([0, 1, 2], 100)
        shards[1].give_back(40)
    assert served == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(20))
def test_no_read_waits_while_there_is_room_if_another_leaves_the_line(seed: int) -> None:
    run_seeded(seed, read_and_leave, random.Random(seed))


async def read_and_leave(randomness: random.Random) -> None:
    process = Budget(100)
    shards = [Budget(60, process) for _ in range(6)]
    scopes: dict[Budget, anyio.CancelScope] = {}

    async def read(shard: Budget) -> None:
        with anyio.CancelScope() as scope:
            scopes[shard] = scope
            async with shard.promised() as room_in_bytes:
                await anyio.lowlevel.checkpoint()
            shard.charge(randomness.randint(0, min(room_in_bytes, 60)))
        del scopes[shard]

    async with anyio.create_task_group() as group:
        for _ in range(100):
            for _ in range(randomness.randint(1, 3)):
                shard = randomness.choice(shards)
                match randomness.choice(["read", "read", "give back", "give back", "leave"]):
                    case "read" if shard not in scopes:
                        scopes[shard] = anyio.CancelScope()
                        group.start_soon(read, shard)
                    case "give back":
                        shard.give_back(randomness.randint(0, shard.used))
                    case "leave" if shard in scopes:
                        scopes[shard].cancel()
            await anyio.wait_all_tasks_blocked()
            for shard in scopes:
                assert shard.used >= 60 or (shard.used and process.used >= 100), "it waits, and there is room"
        group.cancel_scope.cancel()
    for shard in shards:
        shard.close()
    assert process.used == 0
    async with process.promised() as room_in_bytes:
        assert room_in_bytes == 100, "nothing is promised any more"


async def test_blocked_shards_do_not_starve_another_one() -> None:
    process = Budget(100)
    one, other = Budget(1_000, process), Budget(1_000, process)
    one.charge(500)
    assert await room(other) == LEAST
    other.charge(1)
    with anyio.move_on_after(0) as waiting:
        await room(other)
    assert waiting.cancelled_caught


async def test_a_read_that_waits_for_the_process_wakes_when_its_own_shards_bytes_are_given_back() -> None:
    process = Budget(100)
    one, other = Budget(1_000, process), Budget(1_000, process)
    one.charge(500)
    other.charge(1)
    async with anyio.create_task_group() as group:

        async def finish() -> None:
            await anyio.wait_all_tasks_blocked()
            other.give_back(1)

        group.start_soon(finish)
        with anyio.fail_after(60):
            assert await room(other) == LEAST


async def test_the_bytes_of_a_shard_are_given_back_when_it_leaves() -> None:
    process = Budget(100)
    one = Budget(1_000, process)
    one.charge(500)
    one.close()
    assert (process.used, one.used) == (0, 0)
