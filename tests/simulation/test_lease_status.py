"""What does a worker know about itself, about the other workers, and about shards that nobody reads?"""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import TaskGroup

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS
from poller.engine.leases import watching
from poller.model.lease import Detail, Row, RowKey
from poller.model.sharing import SeenLease, SeenWorker
from poller.model.stream import Checkpoint, ShardId, TrimHorizon
from tests.fakes.faults import Fault, Outage
from tests.simulation.leases_stream import key_of
from tests.simulation.leases_world import LeaseLife, LeaseWorld
from tests.simulation.test_leases import FAILOVER_IN_SECONDS, play, reading
from tests.simulation.world import run_seeded


async def use(life: LeaseLife, key: RowKey) -> None:
    async with life.worker.lease(key):
        raise AssertionError("nobody can have this lease")


def owners(life: LeaseLife) -> dict[str, str | None]:
    return {lease.key: lease.owner for lease in life.worker.status.leases}


def test_a_worker_knows_what_it_holds_and_which_workers_live() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(4):
            world.stream.open()
        old = world.start(tasks, "old")
        await reading(world, old, 4, within=2)
        assert old.worker.status.workers == (SeenWorker(old.owner, 4, 0.0, is_stopping=False),)
        new = world.start(tasks, "new")
        await reading(world, new, 2, within=FAILOVER_IN_SECONDS)
        await anyio.sleep(LEASE_DURATION_IN_SECONDS)
        for life in (old, new):
            status = life.worker.status
            assert (status.owner, status.shards, status.units) == (life.owner, 2, 0)
            assert {each.owner: each.leases for each in status.workers} == {new.owner: 2, old.owner: 2}
        old.begin_stop()
        await anyio.sleep(0.5)
        assert [each.is_stopping for each in old.worker.status.workers if each.owner == old.owner] == [True]

    play(main)


def test_leases_of_units_count_for_themselves() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        life = world.start(tasks, "only")
        await reading(world, life, 1, within=2)
        assert (life.worker.status.shards, life.worker.status.units) == (1, 2)
        world.stream.end()
        await anyio.sleep(LEASE_DURATION_IN_SECONDS)
        life.cut_off(30)
        await anyio.sleep(29)
        assert life.worker.status.units == 0
        assert life.worker.status.unread_in_seconds == 0, "a unit is no shard"

    play(main, world=LeaseWorld(seed=1, units=2))


def test_a_worker_measures_how_long_its_table_is_silent_and_rejects_its_writes() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        life = world.start(tasks, "only")
        longest_silence = longest_heartbeat = 0.0
        for _ in range(300):
            await anyio.sleep(0.1)
            status = life.worker.status
            longest_silence = max(longest_silence, status.table_silence_in_seconds)
            longest_heartbeat = max(longest_heartbeat, status.heartbeat_age_in_seconds)
            assert status.unread_in_seconds < 1
        assert longest_silence < 1.5
        assert longest_heartbeat < 5
        life.cut_off(30)
        await anyio.sleep(29)
        status = life.worker.status
        assert 28 < status.table_silence_in_seconds < 31
        assert 28 < status.heartbeat_age_in_seconds < 34
        assert 20 < status.unread_in_seconds < 31
        await anyio.sleep(5)
        status = life.worker.status
        assert max(status.table_silence_in_seconds, status.unread_in_seconds) < 2
        assert status.heartbeat_age_in_seconds < 5

    play(main)


def test_a_table_that_answers_reads_and_accepts_no_write_is_not_silent() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        life = world.start(tasks, "only")
        await reading(world, life, 1, within=2)
        now = anyio.current_time()
        life.faults.outages.append(Outage(now, now + 25, Fault.UNREACHABLE, "update"))
        await anyio.sleep(25)
        status = life.worker.status
        assert status.table_silence_in_seconds < 5
        assert status.heartbeat_age_in_seconds > 20
        assert status.shards == 0

    play(main)


def test_a_worker_that_has_never_reached_its_table_knows_how_long_its_shards_are_unread() -> None:
    world = LeaseWorld(seed=1)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            life = world.start(tasks, "only")
            life.cut_off(60)
            tasks.start_soon(use, life, key_of(ShardId("shard-00000")))
            await anyio.sleep(19)
            status = life.worker.status
            assert 18 < status.table_silence_in_seconds < 20
            assert 18 < status.heartbeat_age_in_seconds < 20
            assert 18 < status.unread_in_seconds < 20
            tasks.cancel_scope.cancel()

    run_seeded(1, main)


def test_the_shards_of_a_dead_worker_are_unread_only_until_another_worker_takes_them() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(2):
            world.stream.open()
        lives = [world.start(tasks, name) for name in ("a", "b")]
        await anyio.sleep(3 * LEASE_DURATION_IN_SECONDS)
        assert [life.worker.status.unread_in_seconds for life in lives] == [0, 0]
        lives[0].crash()
        unread = []
        for _ in range(round(FAILOVER_IN_SECONDS * 10)):
            await anyio.sleep(0.1)
            unread.append(lives[1].worker.status.unread_in_seconds)
        assert max(unread) < 1
        assert unread[-1] == 0
        assert lives[1].worker.status.shards == 2

    play(main)


def test_a_shard_that_waits_for_its_parent_is_not_unread() -> None:
    world = LeaseWorld(seed=1)
    child = key_of(ShardId("shard-00001"))

    async def main() -> None:
        parent = world.stream.open()
        async with anyio.create_task_group() as tasks:
            life = world.start(tasks, "only")
            await reading(world, life, 1, within=2)
            details: dict[str, Detail] = {"parents": [parent]}
            await life.worker.create([Row(key=child, checkpoint=Checkpoint(TrimHorizon()), details=details)])
            tasks.start_soon(use, life, child)
            for _ in range(200):
                await anyio.sleep(0.1)
                assert life.worker.status.unread_in_seconds == 0
            tasks.cancel_scope.cancel()

    run_seeded(1, main)


def test_a_worker_knows_who_reads_each_shard_and_for_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        shards = [world.stream.open() for _ in range(2)]
        old = world.start(tasks, "old")
        await reading(world, old, 2, within=2)
        await anyio.sleep(20)
        assert owners(old) == dict.fromkeys(map(key_of, shards), old.owner)
        assert all(19 < lease.seconds < 21 for lease in old.worker.status.leases)
        new = world.start(tasks, "new")
        await reading(world, new, 1, within=FAILOVER_IN_SECONDS)
        await anyio.sleep(LEASE_DURATION_IN_SECONDS)
        [moved] = new.reader.reading
        assert owners(old) == owners(new) == dict.fromkeys(map(key_of, shards), old.owner) | {key_of(moved): new.owner}
        for life in (old, new):
            [seen] = [lease for lease in life.worker.status.leases if lease.key == key_of(moved)]
            assert seen == SeenLease(seen.key, new.owner, seen.seconds)
            assert 0 <= seen.seconds < 2 * LEASE_DURATION_IN_SECONDS + 1
        monkeypatch.setattr(watching, "LEASES_SHOWN", 1)
        assert len(old.worker.status.leases) == 1
        world.stream.end()
        await anyio.sleep(LEASE_DURATION_IN_SECONDS + 1)
        assert not old.worker.status.leases, "nobody reads a drained shard"

    play(main)
