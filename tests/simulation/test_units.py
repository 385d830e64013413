"""How do several workers keep to one limit, when workers come and go, and when the limit changes?

`leases_checker.check` counts the invocations of all workers in each of these scenes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from functools import partial
from random import Random

import anyio
from anyio.abc import TaskGroup

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS
from poller.core.leases.units import LimitName, limit_of, unit_key
from poller.engine.units import hold_units
from poller.functions.units import Units
from tests.fakes.lease_store import FakeLeaseTable
from tests.simulation.leases_checker import A_PERSON
from tests.simulation.leases_process import WorkerProcess
from tests.simulation.leases_recorder import RecordingFunction
from tests.simulation.leases_units import LIMIT
from tests.simulation.leases_world import LeaseLife, LeaseWorld
from tests.simulation.test_leases import FAILOVER_IN_SECONDS, leases, longest_gap, play, reading

LONG = (8.0, 12.0)
SHORT = (0.05, 0.2)


def world_of(units: int, seconds: tuple[float, float] = SHORT) -> LeaseWorld:
    function = RecordingFunction(Random(1), duration_in_seconds=seconds)
    return LeaseWorld(seed=1, function=function, interval_in_seconds=0.5, units=units)


def held(lives: Collection[LeaseLife]) -> list[int]:
    """Return how many units each worker holds."""
    units = [life.reader.units.capacity.units for life in lives]
    return [each.held for each in units if each is not None]


def running(life: LeaseLife) -> int:
    return life.reader.units.capacity.gate.running


async def until_held(lives: Collection[LeaseLife], counts: list[int], *, within: float) -> None:
    with anyio.fail_after(within):
        while sorted(held(lives)) != counts:  # noqa: ASYNC110
            await anyio.sleep(0.05)


def test_three_workers_divide_the_units_and_use_all_of_them() -> None:
    most = 0

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        nonlocal most
        for _ in range(10):
            world.stream.open()
        lives = [world.start(tasks, f"worker-{number}") for number in range(3)]
        await until_held(lives, [1, 2, 2], within=30)
        for _ in range(200):
            await anyio.sleep(0.1)
            most = max(most, sum(map(running, lives)))

    play(main, world=world_of(5))
    assert most == 5


def test_the_units_of_a_dead_worker_are_used_by_the_others() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        lives = [world.start(tasks, f"worker-{number}") for number in range(3)]
        await until_held(lives, [2, 2, 2], within=30)
        lives[0].crash()
        await until_held(lives[1:], [3, 3], within=FAILOVER_IN_SECONDS)

    play(main, world=world_of(6))


def test_the_shards_of_a_function_follow_its_last_unit() -> None:
    """The first worker has two units of different functions, so one of them goes to the second worker."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(3):
            world.stream.open()
        old = world.start(tasks, "old")
        other = Units(1, needed=lambda: 0, changed=lambda: None)
        tasks.start_soon(partial(hold_units, old.worker, LimitName("other"), other, stop=old.stop))
        await reading(world, old, 3, within=2)
        await anyio.sleep(5)
        began = anyio.current_time()
        new = world.start(tasks, "new")
        await reading(world, new, 3, within=5)
        assert (held([old, new]), other.held) == ([0, 1], 1)
        assert longest_gap(world, since=began) < 3

    play(main, world=world_of(1))


def test_each_worker_gets_the_only_unit_in_turn_if_an_invocation_waits_at_each() -> None:
    """For example a client's call, or an event in the worker's own queue: no other worker can run it."""
    waits: defaultdict[str, list[float]] = defaultdict(list)

    async def call(process: WorkerProcess) -> bool:
        await anyio.sleep(0.5)
        await process.turn()
        return True

    async def invoke_again_and_again(life: LeaseLife) -> None:
        while not life.stop.has_begun:
            began = anyio.current_time()
            done = await life.reader.units.invoke(
                partial(call, life.process), may_begin=lambda: True, unless=life.stop.draining
            )
            waits[life.owner].append(anyio.current_time() - began)
            assert done
            await anyio.sleep(2.0)

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(3):
            world.stream.open()
        lives = [world.start(tasks, f"worker-{number}") for number in range(3)]
        await anyio.sleep(15)
        with anyio.move_on_after(100):
            async with anyio.create_task_group() as clients:
                for life in lives:
                    clients.start_soon(invoke_again_and_again, life)
        deliveries = Counter(seen.shard_id for seen in world.function.seen)
        assert min(deliveries[shard_id] for shard_id in leases(world)) > 30, "the shards are read, too"

    play(main, world=world_of(1))
    assert len(waits) == 3
    assert max(map(max, waits.values())) < 4 * LEASE_DURATION_IN_SECONDS


def test_an_invocation_that_runs_on_a_lost_unit_is_cut() -> None:
    """Otherwise, it would run beside those of the worker that takes the unit."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(2):
            world.stream.open()
        old = world.start(tasks, "old")
        await reading(world, old, 2, within=2)
        world.start(tasks, "new")
        await anyio.sleep(15)
        assert running(old)
        old.cut_off(30)
        await anyio.sleep(LEASE_DURATION_IN_SECONDS)
        assert (running(old), held([old])) == (0, [0])
        world.function.duration_in_seconds = SHORT
        await anyio.sleep(40)

    play(main, world=world_of(1, (60, 60)))


def test_a_worker_that_stops_gives_away_at_once_each_unit_that_no_invocation_uses() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        old = world.start(tasks, "old")
        await until_held([old], [4], within=2)
        world.start(tasks, "new")
        await anyio.sleep(15)
        world.function.duration_in_seconds = LONG
        await anyio.sleep(1)
        assert held(world.running) == [2, 2]
        [busy] = [life for life in world.running if running(life)]
        [other] = [life for life in world.running if life is not busy]
        busy.begin_stop()
        await anyio.sleep(2)
        assert (running(busy), held([busy]), held([other])) == (1, [1], [3])
        world.function.duration_in_seconds = SHORT
        await until_held([other], [4], within=LONG[1] + 2)

    play(main, world=world_of(4))


def test_a_smaller_limit_holds_once_the_invocations_before_have_ended() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(4):
            world.stream.open()
        life = world.start(tasks, "only")
        await until_held([life], [4], within=2)
        await anyio.sleep(3)
        assert running(life) == 4
        life.reader.units.capacity.resize(2)
        await anyio.sleep(1)
        assert running(life) == 4, "no invocation is cut"
        await until_held([life], [2], within=LONG[1] + 1)
        assert running(life) == 2
        await anyio.sleep(LEASE_DURATION_IN_SECONDS + 1)
        assert [key for key in world.table.rows if limit_of(key) == LIMIT] == [unit_key(LIMIT, 0), unit_key(LIMIT, 1)]
        world.function.duration_in_seconds = SHORT

    world = play(main, world=world_of(4, LONG))
    assert all(seen.has_succeeded for seen in world.function.seen)


def test_a_unit_that_another_worker_has_deleted_is_created_again() -> None:
    """A worker with a smaller limit may delete it while it has no owner; then the limit becomes larger everywhere."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(4):
            world.stream.open()
        life = world.start(tasks, "only")
        await until_held([life], [2], within=2)
        row = world.table.rows[unit_key(LIMIT, 1)]
        assert isinstance(world.table, FakeLeaseTable)
        assert world.table.write(A_PERSON, "delete", row, sent_at=anyio.current_time())
        await until_held([life], [1], within=LEASE_DURATION_IN_SECONDS)
        await until_held([life], [2], within=LEASE_DURATION_IN_SECONDS + 1)

    play(main, world=world_of(2))


def test_a_worker_deletes_no_units_of_a_function_that_it_does_not_have_any_more() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        life = world.start(tasks, "only")
        await until_held([life], [1], within=2)
        async with anyio.create_task_group() as removed:
            units = Units(2, needed=lambda: 0, changed=lambda: None)
            removed.start_soon(partial(hold_units, life.worker, LimitName("other"), units, stop=life.stop))
            await anyio.sleep(1)
            assert life.worker.limits[LimitName("other")] == 2
            removed.cancel_scope.cancel()
        assert life.worker.limits == {LIMIT: 1}

    play(main, world=world_of(1))


def test_a_larger_limit_holds_at_once() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(4):
            world.stream.open()
        life = world.start(tasks, "only")
        await until_held([life], [2], within=2)
        life.reader.units.capacity.resize(4)
        world.units = 4
        await until_held([life], [4], within=1)

    play(main, world=world_of(2))


def test_while_two_workers_have_different_limits_the_larger_one_holds() -> None:
    """A deploy makes the limit smaller: the units beyond it end with the last worker that has the larger limit."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        old = world.start(tasks, "old")
        await until_held([old], [6], within=2)
        world.units = 2
        new = world.start(tasks, "new")
        world.units = 6
        await anyio.sleep(4 * LEASE_DURATION_IN_SECONDS)
        assert held([new])[0] > 0
        assert sum(held([old, new])) <= 6
        old.begin_stop()
        await until_held([new], [2], within=2 * LEASE_DURATION_IN_SECONDS)
        await anyio.sleep(LEASE_DURATION_IN_SECONDS + 1)
        assert sum(limit_of(key) == LIMIT for key in world.table.rows) == 2

    play(main, world=world_of(6))
