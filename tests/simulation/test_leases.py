"""What happens to leases at deploys, and in the situations that broke other libraries?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from itertools import pairwise
from math import inf
from random import Random
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS, RENEWALS_PER_DURATION, is_drained
from poller.core.leases.units import unit_key
from poller.engine.leases import moving
from poller.engine.leases.messages import MESSAGES_AT_ONCE, worker_key
from poller.engine.leases.plan import Plan
from poller.errors import Throttled
from poller.facts import (
    Fact,
    LeasesGivenAway,
    LeasesLost,
    LeasesTaken,
    LeaseTableFailed,
    LeaseTableRecovered,
    LostLeaseRowsCreated,
)
from poller.model.lease import Owner, Row, RowKey
from poller.model.sharing import SharingStatus
from poller.model.stream import Checkpoint, ShardId, TrimHorizon
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.fakes.lease_store import FakeLeaseStore, FakeLeaseTable
from tests.simulation.leases_checker import A_PERSON, check, unread
from tests.simulation.leases_reader import READ_AGAIN_IN_SECONDS
from tests.simulation.leases_recorder import RecordingFunction
from tests.simulation.leases_stream import key_of
from tests.simulation.leases_units import LIMIT
from tests.simulation.leases_world import LeaseLife, LeaseWorld
from tests.simulation.world import run_seeded

FAILOVER_IN_SECONDS = 2 * LEASE_DURATION_IN_SECONDS + 2
"""The longest time until another worker reads a dead worker's shards: one scan sees them, and they expire later."""

SILENT_FAILOVER_IN_SECONDS = FAILOVER_IN_SECONDS + LEASE_DURATION_IN_SECONDS
"""The longest time if the worker lives, but gets no answers: until its own deadline, it still moves the counters."""


def play(main: Callable[[LeaseWorld, TaskGroup], Awaitable[None]], *, world: LeaseWorld | None = None) -> LeaseWorld:
    """Play a scene, end the stream, wait until it is drained, stop all workers, and check what must always hold."""
    world = world or LeaseWorld(seed=1)

    async def scene() -> None:
        async with anyio.create_task_group() as tasks:
            await main(world, tasks)
            world.stream.end()
            with anyio.fail_after(60):
                while not all(is_drained(row) for row in leases(world).values()):  # noqa: ASYNC110
                    await anyio.sleep(0.5)
            for life in world.running:
                life.begin_stop()
        check(world)

    run_seeded(world.seed, scene)
    return world


def leases(world: LeaseWorld) -> dict[ShardId, Row]:
    return {shard_id: world.table.rows[key_of(shard_id)] for shard_id in world.stream.shards}


async def reading(world: LeaseWorld, life: LeaseLife, count: int, *, within: float) -> float:
    """Wait until the worker reads this many shards. Return how long this took."""
    began = anyio.current_time()
    with anyio.fail_after(within):
        while len(life.reader.reading) != count:  # noqa: ASYNC110
            await anyio.sleep(0.05)
    return anyio.current_time() - began


def longest_gap(world: LeaseWorld, *, since: float) -> float:
    return max((each.until - each.since for each in unread(world) if each.since >= since), default=0.0)


def test_a_worker_that_was_stopped_for_longer_than_its_lease_stores_nothing() -> None:
    """In amazon-kinesis-client #1669, the old owner went on as if nothing had happened."""
    begun_late: list[int] = []

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        [shard] = [world.stream.open()]
        old = world.start(tasks, "old")
        await reading(world, old, 1, within=2)
        new = world.start(tasks, "new")
        await anyio.sleep(12)
        old.process.pause()
        await reading(world, new, 1, within=FAILOVER_IN_SECONDS)
        token = leases(world)[shard].token
        old.process.resume()
        resumed_at = anyio.current_time()
        await anyio.sleep(30)
        begun_late.extend(
            seen.first for seen in world.function.seen if seen.token < token and seen.began_at >= resumed_at
        )
        assert not old.reader.reading

    play(main)
    assert len(begun_late) <= 1


def test_a_worker_whose_host_slept_begins_no_invocation_after_its_deadline() -> None:
    """The task that watches the deadlines still sleeps then, because a sleeping host stops all timers."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        life = world.start(tasks, "only")
        await reading(world, life, 1, within=2)
        for _ in range(3):
            await anyio.sleep(5)
            life.clock.jump(2 * LEASE_DURATION_IN_SECONDS)
            await anyio.sleep(LEASE_DURATION_IN_SECONDS)
            assert len(life.reader.reading) == 1

    world = play(main, world=LeaseWorld(seed=1, interval_in_seconds=0.1))
    assert sum(fact.leases for fact in world.facts if isinstance(fact, LeasesLost)) == 3


def test_two_workers_that_stop_at_the_same_time_leave_their_shards_to_the_third() -> None:
    """In amazon-kinesis-client #1673, two workers that stopped waited for each other."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(9):
            world.stream.open()
        lives = [world.start(tasks, f"worker-{number}") for number in range(3)]
        await anyio.sleep(20)
        assert [len(life.reader.reading) for life in lives] == [3, 3, 3]
        for life in lives[:2]:
            life.begin_stop()
        await reading(world, lives[2], 9, within=3)

    play(main)


def test_the_only_worker_needs_no_new_plan_for_each_lease_that_users_want(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a plan for each lease, the start of a daemon with very many mappings would take long."""
    plans: list[Plan] = []
    used: list[int] = []

    def counted(*arguments: Any, **options: Any) -> Plan:
        plans.append(Plan(*arguments, **options))
        return plans[-1]

    monkeypatch.setattr(moving, "Plan", counted)

    async def use(life: LeaseLife, number: int) -> None:
        row = Row(key=RowKey(f"orders/arn/shard-{number}"), checkpoint=Checkpoint(TrimHorizon()))
        await life.worker.create([row])
        async with life.worker.lease(row.key) as lease:
            assert lease is not None
            used.append(number)
            await anyio.sleep(60)

    async def scene() -> None:
        world = LeaseWorld(seed=1)
        async with anyio.create_task_group() as tasks:
            life = world.start(tasks, "only")
            await anyio.sleep(21)
            plans.clear()
            for number in range(20):
                tasks.start_soon(use, life, number)
                await anyio.sleep(0.1)
            assert used == list(range(20))
            assert len(plans) <= 1, "there was one scan at most"
            tasks.cancel_scope.cancel()

    run_seeded(1, scene)


@pytest.mark.parametrize("count", [1, 2])
def test_a_worker_takes_its_own_lease_again_at_once_after_a_reload(count: int) -> None:
    """The old run of a mapping may have left before the new run waits for the lease."""
    world = LeaseWorld(seed=1)
    row = Row(key=RowKey("orders/arn/shard"), checkpoint=Checkpoint(TrimHorizon()))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            life, *_ = [world.start(tasks, f"worker-{number}") for number in range(count)]
            await anyio.sleep(1)
            await life.worker.create([row])
            async with life.worker.lease(row.key):
                pass
            while world.table.rows[row.key].owner is not None:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            with anyio.fail_after(1):
                async with life.worker.lease(row.key) as lease:
                    assert lease is not None
            tasks.cancel_scope.cancel()

    run_seeded(1, main)


def test_a_restarted_worker_reads_the_shards_of_its_dead_predecessor() -> None:
    """In amazon-kinesis-client #1718, leases were stuck after a restart."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(3):
            world.stream.open()
        life = world.start(tasks, "only")
        await reading(world, life, 3, within=2)
        await anyio.sleep(7)
        life.crash()
        again = world.start(tasks, "only")
        await reading(world, again, 3, within=FAILOVER_IN_SECONDS)

    play(main)


def test_the_shards_of_a_worker_that_is_known_to_be_dead_are_read_at_once() -> None:
    """The parent of several workers sees the end of each process, and tells the others."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        lives = [world.start(tasks, f"worker-{number}") for number in range(3)]
        await anyio.sleep(60)
        assert [len(life.reader.reading) for life in lives] == [2, 2, 2]
        lives[0].crash()
        for _ in range(2):  # the first scans are not at the same moment, so the workers may place a shard differently
            for life in lives[1:]:
                life.worker.died(lives[0].owner)
            await anyio.sleep(1)
        assert sorted(len(life.reader.reading) for life in lives[1:]) == [3, 3]

    play(main)


def test_a_worker_writes_a_lease_no_more_after_it_has_given_it_away() -> None:
    """In amazon-kinesis-client #1729, a worker went on renewing a lease after a hand-over."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(4):
            world.stream.open()
        old = world.start(tasks, "old")
        await reading(world, old, 4, within=2)
        new = world.start(tasks, "new")
        await reading(world, new, 2, within=30)
        await anyio.sleep(30)

    world = play(main)
    given = {}
    for write in world.table.history:
        if write.before is not None and write.before.owner is not None and write.row.owner is None:
            given[write.row.key, write.worker] = write.row.token
        elif write.operation == "update" and (write.row.key, write.worker) in given:
            assert write.row.token > given[write.row.key, write.worker]
    assert given


def test_another_worker_reads_a_shard_that_was_offered_to_a_dead_worker() -> None:
    """In amazon-kinesis-client #1765, a hand-over that expired was never tried again."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        lives = [world.start(tasks, f"worker-{number}") for number in range(3)]
        await anyio.sleep(60)
        assert [len(life.reader.reading) for life in lives] == [2, 2, 2]
        lives[1].process.pause()
        lives[0].begin_stop()
        await anyio.sleep(4)  # it waits for worker 1, which does not read its message
        assert len(lives[2].reader.reading) == 3
        lives[1].crash()
        await reading(world, lives[2], 6, within=FAILOVER_IN_SECONDS + 10)

    play(main)


def test_a_shard_is_read_soon_if_the_worker_to_which_it_is_offered_has_begun_to_stop_meanwhile() -> None:
    function = RecordingFunction(Random(1), duration_in_seconds=(4.0, 4.0))

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        lives = [world.start(tasks, f"worker-{number}") for number in range(3)]
        await anyio.sleep(60)
        assert [len(life.reader.reading) for life in lives] == [2, 2, 2]
        lives[0].begin_stop()
        await anyio.sleep(1)
        lives[1].begin_stop()
        await reading(world, lives[2], 6, within=6)

    play(main, world=LeaseWorld(seed=1, function=function))


def test_a_worker_that_begins_to_stop_passes_on_an_offer_that_it_has_not_read() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(3):
            world.stream.open()
        lives = [world.start(tasks, f"worker-{number}") for number in range(3)]
        await anyio.sleep(61)  # the next scans are nine seconds later
        assert [len(life.reader.reading) for life in lives] == [1, 1, 1]
        stopping, *others = lives
        stopping.begin_stop()
        offered: list[LeaseLife] = []
        with anyio.fail_after(3):
            while not offered:
                await anyio.sleep(0.01)
                offered = [life for life in others if world.table.rows[worker_key(life.owner)].details["offers"]]
        [receiver] = offered
        receiver.begin_stop()
        [last] = [life for life in others if life is not receiver]
        await reading(world, last, 3, within=3)

    play(main)


def test_a_worker_whose_row_has_no_room_for_more_offers_finds_the_other_leases_by_a_scan() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        count = 2 * MESSAGES_AT_ONCE + 20
        for _ in range(count):
            world.stream.open()
        lives = [world.start(tasks, f"worker-{number}") for number in range(2)]
        await anyio.sleep(11)  # the next scans are nine seconds later
        assert len(lives[0].reader.reading) > MESSAGES_AT_ONCE
        lives[0].begin_stop()
        await reading(world, lives[1], count, within=4)

    play(main, world=LeaseWorld(seed=1, interval_in_seconds=60, read_again_in_seconds=2.0))


def test_the_user_of_a_lease_that_is_being_given_away_delivers_nothing() -> None:
    """The write may arrive although its answer does not, and then another worker takes the lease at once."""
    world = LeaseWorld(seed=1)
    key = key_of(ShardId("shard-00000"))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            life = world.start(tasks, "only")
            await life.worker.create([Row(key=key, checkpoint=Checkpoint(TrimHorizon()))])
            async with life.worker.lease(key) as before:
                assert before is not None
                assert before.may_begin()
            life.faults.script("update", Fault.ANSWER_SLOW)
            await anyio.sleep(0.5)
            assert world.table.rows[key].owner is None
            assert not before.may_begin()
            async with life.worker.lease(key) as after:
                assert after is not None
                assert after.token > before.token
            tasks.cancel_scope.cancel()

    run_seeded(1, main)


def test_an_invocation_begins_before_the_deadline_that_counts_from_the_sending_of_the_renewal() -> None:
    """`check` compares the invocations with the table's history."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        faults = FaultPlan(seed=1, latency_in_seconds=(1.0, 1.4))
        life = world.start(tasks, "only", faults=faults)
        await reading(world, life, 1, within=20)
        for _ in range(4):
            await anyio.sleep(15)
            life.cut_off(20)
            await reading(world, life, 0, within=15)
            await reading(world, life, 1, within=40)

    play(main, world=LeaseWorld(seed=1, interval_in_seconds=0.1, function=RecordingFunction(Random(1), (0.1, 0.1))))


def test_a_shard_that_ends_while_another_worker_asks_for_it_is_drained_once() -> None:
    """In amazon-kinesis-client #1743 and #1788, a shard that ended during its hand-over had no owner."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        shards = [world.stream.open() for _ in range(4)]
        old = world.start(tasks, "old")
        await reading(world, old, 4, within=2)
        new = world.start(tasks, "new")
        while not any(life.reader.reading for life in [new]):
            for shard in shards:
                if world.stream.shards[shard].closed_at > anyio.current_time() and len(world.stream.shards) < 8:
                    world.stream.reshard(shard, children=2)
            await anyio.sleep(0.3)
        await anyio.sleep(30)
        began = anyio.current_time()
        await anyio.sleep(30)
        assert longest_gap(world, since=began) == 0

    play(main)


def test_children_are_read_at_once_when_their_parent_is_drained() -> None:
    """They belong to the worker with fewer shards, but only the worker that has drained the parent knows them yet."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        for number in range(2):
            world.start(tasks, f"worker-{number}")
        await anyio.sleep(12)
        for _ in range(5):
            began = anyio.current_time()
            world.stream.reshard(world.stream.open_shards[0], children=2)
            while set().union(*(life.reader.reading for life in world.lives)) != set(world.stream.open_shards):  # noqa: ASYNC110
                await anyio.sleep(0.05)
            assert anyio.current_time() - began < READ_AGAIN_IN_SECONDS + 0.2
            await anyio.sleep(13.3)

    function = RecordingFunction(Random(1), duration_in_seconds=(0.01, 0.02))
    play(main, world=LeaseWorld(seed=1, function=function))


def test_a_restarted_worker_does_not_read_a_drained_shard_again() -> None:
    """In amazon-kinesis-client #1744, a worker that found the end of a shard in the table did not go on."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        shard = world.stream.open()
        life = world.start(tasks, "only")
        await anyio.sleep(10)
        world.stream.reshard(shard, children=2)
        await reading(world, life, 2, within=3)
        life.crash()
        seen = len([each for each in world.function.seen if each.shard_id == shard])
        again = world.start(tasks, "only")
        await reading(world, again, 2, within=FAILOVER_IN_SECONDS)
        assert len([each for each in world.function.seen if each.shard_id == shard]) == seen

    play(main)


def test_a_worker_takes_a_lease_again_whose_owner_a_person_has_removed() -> None:
    """In vmware-go-kcl #77, the worker believed that it held the lease, the table had no owner, and nothing ran."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        shard = world.stream.open()
        life = world.start(tasks, "only")
        await reading(world, life, 1, within=2)
        row = leases(world)[shard]
        now = anyio.current_time()
        assert isinstance(world.table, FakeLeaseTable)
        assert world.table.write(A_PERSON, "update", replace(row, counter=row.counter + 1, owner=None), sent_at=now)
        await anyio.sleep(LEASE_DURATION_IN_SECONDS)
        assert life.reader.reading == {shard}
        assert leases(world)[shard].owner == life.owner
        assert leases(world)[shard].token > row.token

    play(main)


def reset(world: LeaseWorld, shard: ShardId, *parents: ShardId) -> Row:
    """Store the row of a shard that a person has reset."""
    assert isinstance(world.table, FakeLeaseTable)
    row = Row(key=key_of(shard), token=3, details={"parents": list(parents)})
    assert world.table.write(A_PERSON, "create", row, sent_at=anyio.current_time())
    row = replace(row, counter=2)
    assert world.table.write(A_PERSON, "update", row, sent_at=anyio.current_time())
    return row


def test_a_shard_that_a_person_has_reset_begins_where_a_new_one_does_and_its_tokens_go_on() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        shard = world.stream.open()
        row = reset(world, shard)
        lives = [world.start(tasks, f"worker-{number}") for number in range(2)]
        await anyio.sleep(5)
        assert sum(len(life.reader.reading) for life in lives) == 1
        assert leases(world)[shard].token > row.counter

    play(main)


def test_a_worker_that_has_not_seen_the_pause_does_not_take_a_shard_that_a_person_has_reset() -> None:
    """The user of the lease could not know where to begin."""
    world = LeaseWorld(seed=1)
    shard = ShardId("reset")

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            life = world.start(tasks, "only")
            row = reset(world, shard)
            placed = replace(row, counter=1, checkpoint=Checkpoint(TrimHorizon()))

            async def place() -> None:
                await anyio.sleep(3 * LEASE_DURATION_IN_SECONDS)
                assert world.table.rows[row.key].owner is None
                await life.worker.create([placed])

            tasks.start_soon(place)
            with anyio.fail_after(4 * LEASE_DURATION_IN_SECONDS + 1):
                async with life.worker.lease(row.key) as lease:
                    assert lease is not None
                    assert lease.checkpoint == placed.checkpoint
            tasks.cancel_scope.cancel()

    run_seeded(1, main)


def test_the_place_of_a_reset_shard_is_stored_also_if_the_answer_is_lost_or_another_worker_is_faster() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(4):
            reset(world, world.stream.open())
        plans = [
            FaultPlan(seed=number, lost_answer_rate=0.3, latency_in_seconds=(0.0, 0.5), ends_at=30)
            for number in range(3)
        ]
        lives = [world.start(tasks, f"worker-{number}", faults=plan) for number, plan in enumerate(plans)]
        with anyio.fail_after(90):
            while sum(len(life.reader.reading) for life in lives) < 4:  # noqa: ASYNC110
                await anyio.sleep(0.5)

    for seed in range(5):
        play(main, world=LeaseWorld(seed=seed))


def test_a_child_does_not_wait_for_a_reset_parent_that_the_stream_lists_no_more() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        gone = ShardId("gone")
        shard = world.stream.open(gone)
        reset(world, gone)
        reset(world, shard, gone)
        life = world.start(tasks, "only")
        await reading(world, life, 1, within=5)

    play(main)


def test_closed_shards_do_not_keep_a_worker_from_starting() -> None:
    """In vmware-go-kcl-v2 #12, closed shards prevented the start."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        first = world.stream.open()
        await anyio.sleep(5)
        world.stream.reshard(first, children=2)
        await anyio.sleep(5)
        world.stream.reshard(*world.stream.open_shards, children=1)
        await anyio.sleep(5)
        life = world.start(tasks, "only")
        await anyio.sleep(10)
        assert life.reader.reading == set(world.stream.open_shards)

    play(main)


def test_a_rolling_deploy_leaves_no_shard_without_a_reader_for_half_a_second() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(12):
            world.stream.open()
        for number in range(3):
            world.start(tasks, f"worker-{number}", rate=0.9 + 0.1 * number, offset=1e6 * number)
        await anyio.sleep(20)
        began = anyio.current_time()
        for life in list(world.running):
            world.start(tasks, "next")
            await anyio.sleep(5)
            life.begin_stop()
            await anyio.sleep(15)
        await anyio.sleep(30)
        assert 0 < longest_gap(world, since=began) < 0.5
        assert sorted(len(life.reader.reading) for life in world.running) == [4, 4, 4]

    function = RecordingFunction(Random(1), duration_in_seconds=(0.1, 5.0))
    play(main, world=LeaseWorld(seed=1, function=function))
    assert all(seen.has_succeeded for seen in function.seen), "no invocation is cut"


SHORT = 0.25
"""Longer than a read of a worker's own row takes while it expects offers, with all calls of a hand-over. In seconds."""


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.6, 0.9])
def test_a_worker_that_stops_reads_on_until_the_others_know_of_the_stop(seconds: float) -> None:
    """They read their rows once a second, at other moments in each of these scenes."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        old, *_ = [world.start(tasks, "worker") for _ in range(3)]
        await anyio.sleep(25 + seconds)
        assert len(old.reader.reading) == 2
        began = anyio.current_time()
        old.begin_stop()
        await reading(world, old, 0, within=1.15)
        await anyio.sleep(20)
        assert 0 < longest_gap(world, since=began) < SHORT

    play(main, world=LeaseWorld(seed=1, function=RecordingFunction(Random(1), duration_in_seconds=(0.01, 0.1))))


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.6, 0.9])
def test_a_worker_leaves_no_shard_before_all_others_have_read_that_it_stops(seconds: float) -> None:
    """The table is slow, so the worker often is in the middle of another exchange of messages at this moment."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        others = [world.start(tasks, "other") for _ in range(2)]
        await anyio.sleep(25)
        stopping = world.start(tasks, "stopping", faults=FaultPlan(latency_in_seconds=(0.08, 0.08)))
        await reading(world, stopping, 2, within=15)
        await anyio.sleep(1 + seconds)
        stopping.begin_stop()
        with anyio.fail_after(5):
            while len(stopping.reader.reading) == 2:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        rows = {worker_key(other.owner) for other in others}
        told = {write.row.key for write in world.table.history if stopping.owner in stops_in(write.row)}
        assert told == rows
        assert not any(stopping.owner in stops_in(world.table.rows[key]) for key in rows)

    play(main, world=LeaseWorld(seed=1, function=RecordingFunction(Random(1), duration_in_seconds=(0.01, 0.1))))


def stops_in(row: Row) -> list[str]:
    """Return which workers have written into this row that they stop."""
    stops = row.details.get("stops")
    return [str(each) for each in stops] if isinstance(stops, list) else []


def test_a_worker_that_has_asked_for_leases_takes_them_at_once() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        old = world.start(tasks, "old")
        await reading(world, old, 6, within=2)
        await anyio.sleep(13)
        began = anyio.current_time()
        await reading(world, world.start(tasks, "new"), 3, within=15)
        assert 0 < longest_gap(world, since=began) < SHORT

    play(main, world=LeaseWorld(seed=1, function=RecordingFunction(Random(1), duration_in_seconds=(0.01, 0.1))))


def test_a_worker_reads_its_own_row_once_a_second_again_when_it_expects_no_leases_any_more() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        life, other = world.start(tasks, "life"), world.start(tasks, "other")
        await anyio.sleep(25)

        async def reads_of_other() -> int:
            before = world.table.calls[other.owner, "read"]
            await anyio.sleep(10)
            return world.table.calls[other.owner, "read"] - before

        assert await reads_of_other() < 15
        life.begin_stop()
        assert await reads_of_other() > 50
        await anyio.sleep(5)
        assert await reads_of_other() < 15

    play(main)


def test_a_worker_that_stops_waits_only_briefly_for_a_worker_that_does_not_read_its_messages() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(4):
            world.stream.open()
        old, dead = world.start(tasks, "old"), world.start(tasks, "dead")
        await anyio.sleep(25)
        dead.crash()
        old.begin_stop()
        assert 1.5 < await reading(world, old, 0, within=3) < 2.2
        world.start(tasks, "next")
        await anyio.sleep(25)

    play(main, world=LeaseWorld(seed=1, function=RecordingFunction(Random(1), duration_in_seconds=(0.01, 0.1))))


def test_a_worker_that_stops_does_not_wait_for_a_worker_that_ends_meanwhile() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        old = world.start(tasks, "old")
        await reading(world, old, 1, within=2)
        other = world.start(tasks, "other")
        await anyio.sleep(25)
        old.begin_stop()
        await anyio.sleep(0.1)
        other.begin_stop()
        await reading(world, old, 0, within=0.5)
        world.start(tasks, "next")
        await anyio.sleep(25)

    play(main, world=LeaseWorld(seed=1, function=RecordingFunction(Random(1), duration_in_seconds=(0.01, 0.1))))


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_that_stop_together_do_not_wait_for_each_other(workers: int) -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        lives = [world.start(tasks, "worker") for _ in range(workers)]
        await anyio.sleep(25)
        for life in lives:
            life.begin_stop()
        for life in lives:
            await reading(world, life, 0, within=0.5)
        world.start(tasks, "next")
        await anyio.sleep(25)

    play(main, world=LeaseWorld(seed=1, function=RecordingFunction(Random(1), duration_in_seconds=(0.01, 0.1))))


@pytest.mark.parametrize("seconds_after_the_stop", [-0.02, -0.01, 0.0, 0.01, 0.02, 0.05, 0.2, 1.0])
def test_a_worker_that_begins_while_another_one_stops_gets_its_leases_soon(seconds_after_the_stop: float) -> None:
    """The worker that stops may have scanned before the new worker had a row, so it offers it nothing."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        old = world.start(tasks, "old")
        await reading(world, old, 6, within=2)
        await anyio.sleep(13)
        began = anyio.current_time()
        await anyio.sleep(max(0.0, -seconds_after_the_stop))
        if seconds_after_the_stop < 0:
            new = world.start(tasks, "new")
            await anyio.sleep(-seconds_after_the_stop)
        old.begin_stop()
        if seconds_after_the_stop >= 0:
            await anyio.sleep(seconds_after_the_stop)
            new = world.start(tasks, "new")
        await reading(world, new, 6, within=10)
        assert 0 < longest_gap(world, since=began) < 2.5

    function = RecordingFunction(Random(1), duration_in_seconds=(0.1, 3.0))
    play(main, world=LeaseWorld(seed=1, function=function))


def test_a_worker_that_stops_while_it_scans_scans_once_more() -> None:
    """Another worker has begun after the scan, and has not seen the stop."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        old = world.start(tasks, "old", faults=FaultPlan(latency_in_seconds=(0.2, 0.2)))
        await reading(world, old, 6, within=5)
        scans = world.table.calls[old.owner, "scan"]
        while world.table.calls[old.owner, "scan"] == scans:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        await anyio.sleep(0.25)
        began = anyio.current_time()
        new = world.start(tasks, "new")
        old.begin_stop()
        await reading(world, new, 6, within=10)
        assert 0 < longest_gap(world, since=began) < 5

    play(main)


def test_a_worker_tells_that_it_stops_before_it_scans_for_the_last_time() -> None:
    """A worker that begins after this scan knows by then that it gets no offers, and scans again."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        old = world.start(tasks, "old", faults=FaultPlan(latency_in_seconds=(0.2, 0.2)))
        await reading(world, old, 6, within=5)
        await anyio.sleep(2)
        began = anyio.current_time()
        old.begin_stop()
        await anyio.sleep(0.25)
        new = world.start(tasks, "new")
        await reading(world, new, 6, within=10)
        assert 0 < longest_gap(world, since=began) < 5

    play(main)


class TableWithASlowScan(FakeLeaseTable):
    """A table that answers the next scan of the worker whose label is `b` only after two seconds, if `is_slow`."""

    is_slow = False

    def store(
        self, worker: str, faults: FaultPlan | None = None, *, patience_in_seconds: float = 0.0
    ) -> FakeLeaseStore:
        store = super().store(worker, faults, patience_in_seconds=patience_in_seconds)
        scan = store.scan

        async def slow_scan() -> list[Row]:
            if worker.startswith("b/") and self.is_slow:
                self.is_slow = False
                await anyio.sleep(2)
            return await scan()

        store.scan = slow_scan  # type: ignore[method-assign]
        return store


def test_a_worker_that_begins_to_stop_passes_on_the_offers_that_it_has_not_taken_yet() -> None:
    table = TableWithASlowScan(seed=1)

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(12):
            world.stream.open()
        lives = [world.start(tasks, name) for name in ("a", "b", "c", "d")]
        await anyio.sleep(40)
        assert [len(life.reader.reading) for life in lives] == [3, 3, 3, 3]
        began = anyio.current_time()
        table.is_slow = True
        lives[1].worker.died(Owner("nobody"))  # it scans now
        lives[0].begin_stop()
        await reading(world, lives[0], 0, within=2)
        await anyio.sleep(0.2)
        lives[1].begin_stop()
        await anyio.sleep(20)
        assert 0 < longest_gap(world, since=began) < 3

    play(
        main,
        world=LeaseWorld(seed=1, table=table, function=RecordingFunction(Random(1), duration_in_seconds=(0.01, 0.1))),
    )


def test_a_failed_scan_is_repeated_soon() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        faults = FaultPlan()
        faults.script("scan", Fault.UNREACHABLE)
        life = world.start(tasks, "only", faults=faults)
        await reading(world, life, 1, within=1)

    play(main)


def test_a_worker_that_cannot_reach_the_table_stops_before_another_one_begins() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(2):
            world.stream.open()
        cut_off = world.start(tasks, "cut-off", rate=0.9)
        await reading(world, cut_off, 2, within=2)
        other = world.start(tasks, "other", rate=1.1)
        await anyio.sleep(40)
        cut_off.cut_off(40)
        await reading(world, cut_off, 0, within=LEASE_DURATION_IN_SECONDS)
        await reading(world, other, 2, within=FAILOVER_IN_SECONDS)
        await anyio.sleep(40)
        assert len(cut_off.reader.reading) == 1

    play(main)


def test_a_worker_whose_writes_are_answered_too_late_leaves_its_shards_to_others() -> None:
    """Each take that it repeats would move the counter, so that nobody else could ever take the lease."""
    statuses: list[SharingStatus] = []

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        lives = [world.start(tasks, name) for name in ("a", "b", "c")]
        await anyio.sleep(25)
        assert [len(life.reader.reading) for life in lives] == [2, 2, 2]
        lives[1].delay_answers(150)
        await anyio.sleep(SILENT_FAILOVER_IN_SECONDS)
        for _ in range(240):
            assert sorted(len(life.reader.reading) for life in lives) == [0, 3, 3]
            statuses.append(lives[1].worker.status)
            await anyio.sleep(0.5)
        await anyio.sleep(3 * LEASE_DURATION_IN_SECONDS)
        assert [len(life.reader.reading) for life in lives] == [2, 2, 2]

    world = play(main)
    assert longest_gap(world, since=25) < SILENT_FAILOVER_IN_SECONDS
    assert statuses[-1].heartbeat_age_in_seconds > 120, "its alert fires"


class TableWithSlowTakes(FakeLeaseTable):
    """A table that answers writes of leases too late to the worker whose label is `b`, from `slow_from` on.

    Until `busy_until`, it throttles writes of leases. It answers writes of the workers' own rows in time.
    """

    slow_from = inf
    busy_until = -inf

    def store(
        self, worker: str, faults: FaultPlan | None = None, *, patience_in_seconds: float = 0.0
    ) -> FakeLeaseStore:
        store = super().store(worker, faults, patience_in_seconds=patience_in_seconds)
        update = store.update

        async def slow_update(rows: Collection[Row]) -> frozenset[RowKey]:
            if all(row.key.startswith(":worker/") for row in rows):
                return await update(rows)
            if anyio.current_time() < self.busy_until:
                raise Throttled("the table is busy", code="ThrottlingException")
            rejected = await update(rows)
            if worker.startswith("b/") and anyio.current_time() >= self.slow_from:
                await anyio.sleep(5)
            return rejected

        store.update = slow_update  # type: ignore[method-assign]
        return store


def test_a_worker_that_is_alone_after_a_time_without_answers_to_its_takes_reads_all_shards_soon() -> None:
    table = TableWithSlowTakes()

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        other, life = world.start(tasks, "a"), world.start(tasks, "b")
        await anyio.sleep(25)
        table.slow_from = 25
        await anyio.sleep(300)
        table.slow_from = inf
        await anyio.sleep(5)
        other.begin_stop()
        await reading(world, life, 6, within=5)

    play(main, world=LeaseWorld(seed=1, table=table))


@pytest.mark.parametrize("seconds", [12, 20, 30])
def test_shards_whose_takes_were_throttled_are_read_as_soon_as_the_table_accepts_writes(seconds: float) -> None:
    table = TableWithSlowTakes()

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        lives = [world.start(tasks, name) for name in ("a", "b")]
        await anyio.sleep(25)
        table.busy_until = 25 + seconds
        await anyio.sleep(seconds)
        with anyio.fail_after(8):
            while sum(len(life.reader.reading) for life in lives) < 6:  # noqa: ASYNC110
                await anyio.sleep(0.1)

    play(main, world=LeaseWorld(seed=1, table=table))


def test_a_shard_that_its_worker_takes_again_and_again_counts_as_unread_since_the_loss() -> None:
    """Each take moves the counter of the row, but nobody reads the shard."""
    table = TableWithSlowTakes()

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        life = world.start(tasks, "b")
        await reading(world, life, 1, within=2)
        table.slow_from = 0.0
        await anyio.sleep(60)
        assert life.worker.status.unread_in_seconds > 45
        table.slow_from = inf

    play(main, world=LeaseWorld(seed=1, table=table))


def test_a_take_whose_answer_was_lost_is_repeated_without_waiting_for_the_next_heartbeat() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        life = world.start(tasks, "only")
        life.faults.script("update", Fault.ANSWER_LOST)
        await reading(world, life, 1, within=1.5)
        first = next(each for each in world.table.history if each.operation == "update")
        assert first.row.key == key_of(ShardId("shard-00000")), "the take was lost"

    play(main)


def test_a_heartbeat_without_an_answer_is_repeated_soon() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        life = world.start(tasks, "only")
        await anyio.sleep(25)
        life.faults.script("update", Fault.ANSWER_LOST)
        before = world.table.calls[life.owner, "update"]
        while world.table.calls[life.owner, "update"] == before:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        await anyio.sleep(1.5)
        assert world.table.calls[life.owner, "update"] > before + 1

    play(main)


def test_a_worker_takes_no_offered_lease_while_its_writes_get_no_answer() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(4):
            world.stream.open()
        giver, life = world.start(tasks, "giver"), world.start(tasks, "life")
        await anyio.sleep(25)
        assert len(life.reader.reading) == 2
        offered = {key_of(shard_id) for shard_id in giver.reader.reading}
        life.delay_answers(30)
        await anyio.sleep(3.6)  # the giver still counts it as live
        begun = len(world.table.history)
        giver.begin_stop()
        await anyio.sleep(23)
        takes = [each for each in world.table.history[begun:] if each.row.owner == life.owner]
        assert not any(each.row.key in offered for each in takes)
        await anyio.sleep(15)

    play(main)


def test_a_worker_whose_takes_are_throttled_writes_no_more_heartbeats_than_before() -> None:
    table = TableWithSlowTakes()

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        table.busy_until = 30
        life = world.start(tasks, "only")
        await anyio.sleep(30)
        heartbeats = [each for each in world.table.history if each.row.key == worker_key(life.owner)]
        assert len(heartbeats) < 3 * RENEWALS_PER_DURATION + 3
        await anyio.sleep(10)

    play(main, world=LeaseWorld(seed=1, table=table))


def test_a_worker_that_stops_gives_its_leases_away_even_if_it_cannot_scan() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        [shard_id] = [world.stream.open()]
        life = world.start(tasks, "life")
        await anyio.sleep(12)
        now = anyio.current_time()
        life.faults.outages.append(Outage(now, now + 60, Fault.UNREACHABLE, "scan"))
        life.begin_stop()
        while life.ended_at is None:  # noqa: ASYNC110
            await anyio.sleep(0.1)
        assert leases(world)[shard_id].owner is None
        world.start(tasks, "next")
        await anyio.sleep(5)

    play(main)


def test_the_only_worker_reads_again_as_soon_as_its_writes_are_answered_in_time() -> None:
    unread_in_seconds: list[float] = []

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        life = world.start(tasks, "only")
        await reading(world, life, 1, within=2)
        life.delay_answers(100)
        await anyio.sleep(100)
        unread_in_seconds.append(life.worker.status.unread_in_seconds)
        await reading(world, life, 1, within=5)

    play(main)
    assert unread_in_seconds[0] > 85


def test_a_worker_whose_row_was_deleted_soon_shows_a_new_heartbeat_again() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        life = world.start(tasks, "only")
        await anyio.sleep(25)
        key = worker_key(life.owner)
        assert isinstance(world.table, FakeLeaseTable)
        assert world.table.write(A_PERSON, "delete", world.table.rows[key], sent_at=anyio.current_time())
        begun = len(world.table.history)
        await anyio.sleep(25)
        since: dict[Any, float] = {}
        for each in world.table.history[begun:]:
            if each.row.key == key:
                since.setdefault(each.row.details["heartbeat"], each.at)
        times = [25.0, *since.values(), 50.0]
        assert max(b - a for a, b in pairwise(times)) < 0.5 * LEASE_DURATION_IN_SECONDS

    play(main)


def delete(world: LeaseWorld, *shards: ShardId) -> None:
    """Delete the rows of these shards by hand."""
    assert isinstance(world.table, FakeLeaseTable)
    for shard in shards:
        row = world.table.rows[key_of(shard)]
        assert world.table.write(A_PERSON, "delete", row, sent_at=anyio.current_time())


@pytest.mark.parametrize("workers", [1, 3])
def test_a_worker_reads_on_from_the_checkpoint_after_a_person_has_deleted_the_row_of_its_shard(workers: int) -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        shard = world.stream.open()
        for number in range(workers):
            world.start(tasks, f"worker-{number}")
        await anyio.sleep(30)
        before = leases(world)[shard]
        delete(world, shard)
        await anyio.sleep(2 * LEASE_DURATION_IN_SECONDS)
        assert leases(world)[shard].token > before.token
        assert world.function.seen[-1].began_at > anyio.current_time() - 2
        assert longest_gap(world, since=29) < 1.5 * LEASE_DURATION_IN_SECONDS
        [created] = [fact for fact in world.facts if isinstance(fact, LostLeaseRowsCreated)]
        assert created == LostLeaseRowsCreated(1, (key_of(shard),))

    play(main)


def test_the_deleted_row_of_a_dead_workers_shard_is_created_again_by_a_worker_that_wants_it() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        shard = world.stream.open()
        dead = world.start(tasks, "dead")
        await reading(world, dead, 1, within=2)
        other = world.start(tasks, "other")
        await anyio.sleep(25)
        delete(world, shard)
        dead.crash()
        await reading(world, other, 1, within=SILENT_FAILOVER_IN_SECONDS)

    play(main)


@pytest.mark.parametrize("cut", [False, True])
def test_a_lease_of_a_living_worker_is_not_taken_soon_after_its_row_was_lost(cut: bool) -> None:
    """Two workers that begin together have seen the leases of each other without an owner."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(4):
            world.stream.open()
        before = world.start(tasks, "before")
        await reading(world, before, 4, within=10)
        before.begin_stop()
        await anyio.sleep(30)
        one, two = world.start(tasks, "one"), world.start(tasks, "two")
        await reading(world, two, 2, within=5)
        await anyio.sleep(LEASE_DURATION_IN_SECONDS - 5)
        for row in list(world.table.rows.values()):
            assert isinstance(world.table, FakeLeaseTable)
            assert world.table.write(A_PERSON, "delete", row, sent_at=anyio.current_time())
        if cut:
            one.cut_off(12)
        await anyio.sleep(40)

    play(main, world=LeaseWorld(seed=1, function=RecordingFunction(Random(1), duration_in_seconds=(0.5, 2.0))))


def test_the_row_of_a_drained_shard_stays_deleted() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        parent = world.stream.open()
        world.start(tasks, "only")
        await anyio.sleep(5)
        world.stream.reshard(parent, children=2)
        await anyio.sleep(25)
        row = leases(world)[parent]
        assert is_drained(row)
        delete(world, parent)
        await anyio.sleep(25)
        assert key_of(parent) not in world.table.rows
        assert isinstance(world.table, FakeLeaseTable)
        assert world.table.write(A_PERSON, "create", row, sent_at=anyio.current_time())

    play(main)


def test_an_invocation_that_would_outlast_its_lease_is_cut() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        cut_off = world.start(tasks, "cut-off")
        other = world.start(tasks, "other")
        with anyio.fail_after(10):
            while not world.function.seen:  # noqa: ASYNC110
                await anyio.sleep(0.1)
        [life] = [life for life in (cut_off, other) if life.reader.reading]
        life.cut_off(60)
        await reading(world, life, 0, within=LEASE_DURATION_IN_SECONDS)
        world.function.duration_in_seconds = (0.1, 0.5)
        await anyio.sleep(FAILOVER_IN_SECONDS)
        [first, second, *_] = world.function.seen
        assert first.ended_at is not None
        assert first.began_at < first.ended_at < second.began_at
        assert not first.has_succeeded

    play(main, world=LeaseWorld(seed=1, function=RecordingFunction(Random(1), duration_in_seconds=(60, 60))))


def test_a_blocked_shard_moves_with_the_number_of_its_attempts() -> None:
    """The function fails for one record for ever; the batch is discarded after six attempts of all workers together."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        shard = world.stream.open()
        old = world.start(tasks, "old")
        await reading(world, old, 1, within=2)
        world.function.blocks[shard, 10] = 1_000
        while world.function.failures[shard, 10] < 3:  # noqa: ASYNC110
            await anyio.sleep(0.1)
        new = world.start(tasks, "new")
        await anyio.sleep(0.2)
        old.begin_stop()
        await reading(world, new, 1, within=5)
        await anyio.sleep(10)
        failed = [seen for seen in world.function.seen if not seen.has_succeeded]
        assert len(failed) == 6
        assert {seen.process.name for seen in failed} == {old.owner, new.owner}
        world.function.failures[shard, 10] = 1_000
        for seen in failed:
            seen.has_succeeded = True  # they are discarded, which is done, too

    play(main)


def test_a_lost_answer_costs_no_lease() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        shard = world.stream.open()
        life = world.start(tasks, "only")
        await reading(world, life, 1, within=2)
        token = leases(world)[shard].token
        for _ in range(10):
            life.faults.script("update", Fault.ANSWER_LOST)
            await anyio.sleep(5)
        assert leases(world)[shard].token == token

    play(main)


def test_the_table_costs_one_scan_a_lease_duration_and_one_write_a_renewal() -> None:
    counts: list[int] = []

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.interval_in_seconds = 1e9
        for _ in range(8):
            world.stream.open()
        lives = [world.start(tasks, f"worker-{number}") for number in range(2)]
        await anyio.sleep(60)
        writes, calls = len(world.table.history), world.table.calls.copy()
        await anyio.sleep(200)
        calls = world.table.calls - calls
        keys = [write.row.key for write in world.table.history[writes:]]
        counts.extend(calls[life.owner, "scan"] for life in lives)
        counts.append(sum(not key.startswith(":") for key in keys))
        counts.append(sum(key.startswith(":") for key in keys))

    play(main)
    scans_of_one, scans_of_other, of_leases, of_workers = counts
    assert 19 <= scans_of_one <= 20
    assert 19 <= scans_of_other <= 20
    assert 8 * 56 <= of_leases <= 8 * 60
    assert 2 * 46 <= of_workers <= 2 * 60


def test_the_only_unit_and_all_shards_move_together_to_another_worker() -> None:
    """All shards are read by the worker that has the unit. If it dies, its unit and its shards go to another one."""

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(5):
            world.stream.open()
        for number in range(3):
            world.start(tasks, f"worker-{number}")
        await anyio.sleep(45)
        [reader] = [life for life in world.running if life.reader.reading]
        assert len(reader.reader.reading) == 5
        reader.crash()
        await anyio.sleep(FAILOVER_IN_SECONDS + LEASE_DURATION_IN_SECONDS)
        [reader] = [life for life in world.running if life.reader.reading]
        assert len(reader.reader.reading) == 5
        reader.begin_stop()
        await anyio.sleep(5)
        [last] = world.running
        assert len(last.reader.reading) == 5

    play(main, world=LeaseWorld(seed=1, units=1))


def test_a_worker_without_a_unit_gives_its_shards_to_the_worker_that_has_it() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(3):
            world.stream.open()
        old = world.start(tasks, "old")
        await reading(world, old, 3, within=2)
        new = world.start(tasks, "new")
        await anyio.sleep(15)
        assert len(old.reader.reading) == 3
        row = world.table.rows[unit_key(LIMIT, 0)]
        moved = replace(row, counter=row.counter + 1, owner=new.owner, token=row.counter + 1)
        assert isinstance(world.table, FakeLeaseTable)
        assert world.table.write(A_PERSON, "update", moved, sent_at=anyio.current_time())
        await reading(world, new, 3, within=2 * LEASE_DURATION_IN_SECONDS)

    play(main, world=LeaseWorld(seed=1, units=1))


def test_a_worker_reports_what_happens_to_its_leases() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(2):
            world.stream.open()
        life = world.start(tasks, "only")
        await reading(world, life, 2, within=2)
        assert [fact for fact in world.facts if not isinstance(fact, LeasesTaken)] == []
        life.cut_off(15)
        await reading(world, life, 0, within=LEASE_DURATION_IN_SECONDS)
        await reading(world, life, 2, within=LEASE_DURATION_IN_SECONDS)
        life.begin_stop()
        await anyio.sleep(3)
        again = world.start(tasks, "again")
        await reading(world, again, 2, within=2)

    counts = Counter[type[Fact]]()
    for fact in play(main).facts:
        match fact:
            case LeasesTaken(leases) | LeasesLost(leases) | LeasesGivenAway(leases):
                counts[type(fact)] += leases
            case LeaseTableFailed(_, code, detail, retry_in_seconds, needs_action):
                assert (code, detail, needs_action) == ("ConnectionRefused", "connection refused", False)
                assert 0 < retry_in_seconds <= 2
                counts[LeaseTableFailed] += 1
            case LeaseTableRecovered():
                counts[LeaseTableRecovered] += 1
    assert (counts[LeasesTaken], counts[LeasesLost], counts[LeasesGivenAway]) == (6, 2, 4)
    assert counts[LeaseTableFailed] > 10
    assert counts[LeaseTableRecovered] == 1


def test_a_worker_takes_no_child_whose_parent_is_not_drained() -> None:
    """A mapping asks for the child, because its listing of the shards has omitted the parent."""
    parent, child = (ShardId("shard-00000"), ShardId("shard-00001"))
    world = LeaseWorld(seed=1)

    async def main() -> None:
        world.stream.open()
        async with anyio.create_task_group() as tasks:
            life = world.start(tasks, "only")
            worker = life.worker
            await reading(world, life, 1, within=2)
            await worker.create(
                [Row(key=key_of(child), checkpoint=Checkpoint(TrimHorizon()), details={"parents": [parent]})]
            )
            taken_at = []
            with anyio.move_on_after(2 * LEASE_DURATION_IN_SECONDS):
                async with worker.lease(key_of(child)):
                    taken_at.append(anyio.current_time())
            assert taken_at == []
            world.stream.end()
            with anyio.fail_after(LEASE_DURATION_IN_SECONDS + 1):
                async with worker.lease(key_of(child)) as lease:
                    assert lease is not None
                    assert is_drained(leases(world)[parent])
            tasks.cancel_scope.cancel()

    run_seeded(1, main)


def test_a_request_for_rows_during_a_scan_waits_only_for_the_next_scan() -> None:
    world = LeaseWorld(seed=1)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            life = world.start(tasks, "only", faults=FaultPlan(latency_in_seconds=(0.5, 0.5)))
            await anyio.sleep(0.1)
            for _ in range(5):
                began = anyio.current_time()
                await life.worker.rows("clicks/")
                assert anyio.current_time() - began < 3
                await anyio.sleep(LEASE_DURATION_IN_SECONDS - 1.5)
            life.cut_off(5)
            with anyio.fail_after(9):
                await life.worker.rows("clicks/")
            tasks.cancel_scope.cancel()

    run_seeded(1, main)
