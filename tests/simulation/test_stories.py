"""Which faults of other libraries for several workers does poller not have? Each test plays one of their stories.

The whole engine plays them: mappings with their readers, the worker and a table of leases that several processes share.
`test_leases.py` plays most of them with the leases alone. KCL is amazon-kinesis-client, and go-kcl is vmware-go-kcl.

    KCL #1669         a leader that had lost its lock went on     test_a_worker_that_cannot_renew_its_lease_...
    KCL #1673         two workers that stopped raced for a lock   test_two_workers_that_stop_at_the_same_time_...
    KCL #1718         leases were stuck after a restart           test_a_worker_with_the_same_label_...
    KCL #1729         a hand-over was wanted before the reader    test_a_shard_moves_even_if_...
                      had begun, and it was forgotten
    KCL #1743, #1788  a shard ended during its hand-over, and     test_shards_that_end_while_...
                      then nobody was its owner
    KCL #1744         a restart at the end of a shard             test_after_a_restart_at_the_end_...
    KCL #1765         a hand-over that expired was not repeated   test_a_shard_that_was_offered_...
    go-kcl #77        the worker believed that it had a lease,    test_a_worker_reads_on_after_...
                      the table had no owner, and nothing ran
    go-kcl #92        two consumers processed one shard           test_a_function_that_runs_longer_...
    go-kcl-v2 #12     closed shards prevented the start           test_closed_shards_do_not_delay_...
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count, pairwise
from typing import Any

import anyio

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS, is_drained
from poller.core.leases.holding import SAFE_PART
from poller.facts import LeasesRequested
from poller.model.lease import Row, RowKey
from poller.model.stream import Position, ShardId, ShardIterator
from poller.ports import StreamSource
from poller.sources.client import Client
from tests.fakes.store import FakeStore
from tests.simulation.life import Life
from tests.simulation.one_stream import play
from tests.simulation.stream_workers import WorkersWorld, reading, until

FAILOVER_IN_SECONDS = 2 * LEASE_DURATION_IN_SECONDS + 2
"""The longest time until another worker reads a dead worker's shards: one scan sees them, and they expire later."""

HALF = 2**127


class SharedTable(FakeStore):
    """A table that outlives every process, such as one in DynamoDB: no process ever has it for itself."""

    def opened_alone(self) -> None:
        pass


def world_of(**options: Any) -> WorkersWorld:
    world = WorkersWorld(**{"batch_size": 1} | options)
    world.store = SharedTable()
    return world


@asynccontextmanager
async def load(world: WorkersWorld) -> AsyncIterator[None]:
    """Put a record into each half of the hash keys each second. The name of a record has its half and its number."""

    async def put() -> None:
        for number in count():
            for half in range(2):
                world.put_at(half * HALF, f"{half}/{number}")
            await anyio.sleep(1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(put)
        yield
        tasks.cancel_scope.cancel()


def check_all(world: WorkersWorld) -> None:
    """Check that the records of each half have succeeded in order, and none is missing."""
    for half in ("0", "1"):
        numbers = [int(name.partition("/")[2]) for name in world.succeeded if name.startswith(f"{half}/")]
        first = list(dict.fromkeys(numbers))
        assert first == list(range(len(first)))
        assert len(first) > 10


def rows(world: WorkersWorld) -> dict[RowKey, Row]:
    """Return the leases of shards."""
    return {key: row for key, row in world.store.table.rows.items() if not key.startswith(":")}


async def stop(*lives: Life) -> None:
    for life in lives:
        life.begin_stop()
    for life in lives:
        await until(lambda life=life: life.ended_at is not None, within=30)  # type: ignore[misc]


def test_a_worker_that_cannot_renew_its_lease_delivers_nothing_once_another_worker_has_it() -> None:
    """KCL #1669, the zombie leader: the old owner goes on as if nothing had happened."""
    world = world_of()
    world.duration = 0.3

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            old, new = await world.start(tasks), await world.start(tasks)
            async with load(world):
                await anyio.sleep(20)
                assert (reading(old), reading(new)) == (1, 0)
                old.process.is_cut_off = True
                await until(lambda: reading(new) == 1, within=FAILOVER_IN_SECONDS)
                assert reading(old) == 0
                old.process.is_cut_off = False
                await anyio.sleep(20)
                assert (reading(old), reading(new)) == (0, 1)
            await stop(old, new)

    play(world, main)
    tokens = [seen.token for seen in world.seen]
    assert tokens == sorted(tokens)
    assert len(set(tokens)) == 2
    [(last_of_old, first_of_new)] = [(a, b) for a, b in pairwise(world.seen) if a.token != b.token]
    assert first_of_new.at - last_of_old.at > (1 - SAFE_PART) * LEASE_DURATION_IN_SECONDS
    check_all(world)


def test_two_workers_that_stop_at_the_same_time_leave_their_shards_to_the_third() -> None:
    """KCL #1673, the race at the shutdown: each of two workers that stop waits for the other."""
    world = world_of()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = [await world.start(tasks) for _ in range(3)]
            async with load(world):
                await anyio.sleep(60)
                assert [reading(life) for life in lives] == [2, 2, 2]
                for life in lives[:2]:
                    life.begin_stop()
                await until(lambda: reading(lives[2]) == 6, within=3)
                await anyio.sleep(5)
            await stop(lives[2])

    play(world, main, shards=6)
    assert len(world.calls) == len(set(world.succeeded)), "nothing is cut or repeated"
    check_all(world)


def test_a_worker_with_the_same_label_reads_the_shards_of_its_dead_predecessor() -> None:
    """KCL #1718: after a restart, the leases were stuck with a worker that did not read them."""
    world = world_of()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            old = await world.start(tasks)
            async with load(world):
                await until(lambda: reading(old) == 2, within=5)
                await anyio.sleep(7)
                old.crash()
                new = await world.start(tasks)
                labels = [life.worker.owner.partition("/")[0] for life in (old, new)]
                assert labels[0] == labels[1]
                await until(lambda: reading(new) == 2, within=FAILOVER_IN_SECONDS)
                await anyio.sleep(5)
            await stop(new)

    play(world, main, shards=2)
    check_all(world)


class NoIterators(WorkersWorld):
    """A world in which the service does not answer the first process when it asks for iterators."""

    sources = 0

    def source(self, mapping: Any, client: Client) -> StreamSource:
        source = super().source(mapping, client)
        self.sources += 1
        if self.sources == 1:

            async def iterator(shard_id: ShardId, position: Position) -> ShardIterator:
                await anyio.sleep_forever()
                raise AssertionError

            source.iterator = iterator  # type: ignore[method-assign]
        return source


def test_a_shard_moves_even_if_its_reader_has_not_begun_to_read() -> None:
    """KCL #1729: a hand-over that was asked for too early was forgotten, and the lease was renewed."""
    world = NoIterators(batch_size=1)
    world.store = SharedTable()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            old = await world.start(tasks)
            await until(lambda: reading(old) == 2, within=5)
            new = await world.start(tasks)
            await until(lambda: reading(new) == 1, within=2 * LEASE_DURATION_IN_SECONDS)
            [moved] = [key for key, row in rows(world).items() if row.owner == new.worker.owner]
            token = rows(world)[moved].token
            await anyio.sleep(3 * LEASE_DURATION_IN_SECONDS)
            row = rows(world)[moved]
            assert (row.owner, row.token) == (new.worker.owner, token), "the old owner writes this lease no more"
            for half in range(2):
                world.put_at(half * HALF, f"{half}")
            await anyio.sleep(3)
            assert len(world.succeeded) == 1
            await stop(old, new)

    play(world, main, shards=2)


def test_shards_that_end_while_they_are_handed_over_are_drained_once_and_their_children_are_read() -> None:
    """KCL #1743 and #1788: if a shard ended during its hand-over, nobody was its owner any more."""
    world = world_of()
    world.duration = 2.0

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            old = await world.start(tasks)
            await until(lambda: reading(old) == 4, within=5)
            async with load(world):
                new = await world.start(tasks)
                await until(lambda: bool(world.facts_of(LeasesRequested)), within=2 * LEASE_DURATION_IN_SECONDS)
                for shard in world.stream.shards(now=anyio.current_time()):
                    world.stream.split(shard.shard_id, now=anyio.current_time())
                await until(lambda: reading(new) > 0, within=4 * LEASE_DURATION_IN_SECONDS)
                await anyio.sleep(30)
            await until(lambda: sum(map(is_drained, rows(world).values())) == 4, within=10)
            await until(lambda: reading(old) + reading(new) == 8, within=10)
            await stop(old, new)

    play(world, main, shards=4)
    assert len(world.calls) == len(set(world.succeeded)), "nothing is cut or repeated"
    check_all(world)


def test_after_a_restart_at_the_end_of_a_shard_only_its_children_are_read() -> None:
    """KCL #1744: a worker that found the end of a shard in the table did not come further."""
    world = world_of()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            old = await world.start(tasks)
            world.put_at(0, "in the parent")
            await anyio.sleep(5)
            [parent] = [shard.shard_id for shard in world.stream.shards(now=anyio.current_time())]
            world.stream.split(parent, now=anyio.current_time())
            await until(lambda: any(map(is_drained, rows(world).values())), within=5)
            old.crash()
            world.put_at(0, "in a child")
            new = await world.start(tasks)
            await until(lambda: reading(new) == 2, within=FAILOVER_IN_SECONDS)
            await anyio.sleep(2)
            assert all(note.shard_id != parent for note in world.notes.reads if note.life == new.number)
            await stop(new)

    play(world, main)
    assert world.succeeded == ["in the parent", "in a child"]


def test_a_shard_that_was_offered_to_a_worker_that_has_died_is_read_by_another_one() -> None:
    """KCL #1765: a hand-over that its receiver had not completed was never tried again."""
    world = world_of()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = [await world.start(tasks) for _ in range(3)]
            async with load(world):
                await anyio.sleep(60)
                assert [reading(life) for life in lives] == [2, 2, 2]
                lives[1].crash()
                lives[0].begin_stop()
                await anyio.sleep(5)
                assert reading(lives[2]) == 3, "the dead worker was offered the other one"
                await until(lambda: reading(lives[2]) == 6, within=FAILOVER_IN_SECONDS + LEASE_DURATION_IN_SECONDS)
                await anyio.sleep(5)
            await stop(lives[2])

    play(world, main, shards=6)
    check_all(world)


def test_a_worker_reads_on_after_a_person_has_removed_it_as_the_owner() -> None:
    """go-kcl #77: the worker believed that it held the lease, the table had no owner, and nothing ran."""
    world = world_of()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            life = await world.start(tasks)
            world.put("key", "before")
            await until(lambda: world.succeeded == ["before"], within=3)
            [row] = rows(world).values()
            free = replace(row, counter=row.counter + 1, owner=None)
            assert world.store.table.write("0", "update", free, sent_at=anyio.current_time())
            await until(lambda: rows(world)[row.key].token > row.token, within=LEASE_DURATION_IN_SECONDS)
            assert rows(world)[row.key].owner == life.worker.owner
            world.put("key", "after")
            await until(lambda: world.succeeded[-1] == "after", within=3)
            await stop(life)

    play(world, main)


def test_a_function_that_runs_longer_than_a_lease_does_not_let_another_worker_read_the_shard() -> None:
    """go-kcl #92: two consumers processed the records of one shard."""
    world = world_of()
    world.functions["f"] = replace(world.functions["f"], timeout_in_seconds=60.0)
    world.duration = 3 * LEASE_DURATION_IN_SECONDS

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = [await world.start(tasks) for _ in range(2)]
            world.put("key", "a", "b", "c")
            await until(lambda: len(world.succeeded) == 3, within=4 * world.duration)
            assert sorted(reading(life) for life in lives) == [0, 1]
            await stop(*lives)

    play(world, main)
    assert world.calls == [["a"], ["b"], ["c"]]
    assert len({seen.token for seen in world.seen}) == 1


def test_closed_shards_do_not_delay_the_start_of_a_worker() -> None:
    """go-kcl-v2 #12: a worker tried again and again to read shards that were closed and read to their ends."""
    world = world_of()

    async def main() -> None:
        for _ in range(5):
            [shard] = [shard for shard in world.stream.shards(now=anyio.current_time()) if shard.is_open]
            world.stream.merge(*world.stream.split(shard.shard_id, now=anyio.current_time()), now=anyio.current_time())
        world.put("key", "a")
        async with anyio.create_task_group() as tasks:
            first = await world.start(tasks)
            await until(lambda: world.succeeded == ["a"], within=10)
            await stop(first)
            world.put("key", "b")
            second = await world.start(tasks)
            await until(lambda: world.succeeded == ["a", "b"], within=3)
            [shard] = [shard for shard in world.stream.shards(now=anyio.current_time()) if shard.is_open]
            assert {note.shard_id for note in world.notes.reads if note.life == second.number} == {shard.shard_id}
            await stop(second)

    play(world, main)
