from __future__ import annotations

import random
from typing import Any

import anyio

from poller.engine.streams.positions import StoredPositions
from poller.engine.streams.store_health import StoreHealth
from poller.facts import Fact, ShardLost, StoreFailed
from poller.model.ids import MappingName
from poller.model.stream import (
    AfterSequence,
    Checkpoint,
    Claim,
    SequenceNumber,
    ShardId,
    StateKey,
    StoredCheckpoint,
    WriterId,
)
from poller.ports import CheckpointStore
from tests.fakes.clock import VirtualClock
from tests.fakes.faults import Fault
from tests.fakes.saving import load, save
from tests.fakes.store import FakeStore, Saved
from tests.simulation.world import run_seeded

M = MappingName("m")
KEY = StateKey(M, "arn:aws:kinesis:eu-west-1:123456789012:stream/s")
A, B = ShardId("a"), ShardId("b")
OTHER = WriterId("the other")


def at(number: int) -> Checkpoint:
    return Checkpoint(AfterSequence(SequenceNumber(str(number))))


class Run:
    """One run of a mapping, and the facts that it emitted."""

    def __init__(self, store: CheckpointStore, writer: str = "me") -> None:
        self.facts: list[Fact] = []
        self.lost: list[ShardId] = []
        health = StoreHealth(mapping=M, clock=VirtualClock(), emit=self.facts.append, randomness=random.Random(1))
        self.positions = StoredPositions(
            store,
            key=KEY,
            writer=WriterId(writer),
            health=health,
            emit=self.facts.append,
            on_loss=self.lost.append,
        )


def test_every_call_of_the_store_is_repeated_until_it_succeeds() -> None:
    async def main() -> None:
        store, operations = FakeStore(), ("save", "forget", "load", "starting_position")
        run = Run(store)
        for operation in operations:
            store.faults.script(operation, Fault.UNREACHABLE, Fault.ANSWER_LOST)
        await run.positions.save({A: at(1), B: at(1)})
        await run.positions.forget([B])
        assert {shard_id: row.checkpoint for shard_id, row in (await run.positions.load()).items()} == {A: at(1)}
        assert await run.positions.starting_position() is None
        failed = [fact.operation for fact in run.facts if isinstance(fact, StoreFailed)]
        assert failed == [name for name in operations for _ in "12"]
        assert not run.lost, "a save whose answer was lost is repeated, and not lost"

    run_seeded(1, main)


def test_a_run_stores_the_version_after_the_one_that_it_has_read() -> None:
    async def main() -> None:
        store = FakeStore()
        for number, writer in enumerate(["first run", "second run", "third run"], start=1):
            run = Run(store, writer)
            await run.positions.load()
            for _ in range(3):
                await run.positions.save({A: at(number)})
            assert not run.lost
            assert (await store.load(KEY))[A].version == number

    run_seeded(1, main)


def test_a_shard_that_another_writer_has_stored_is_lost_and_logged_once() -> None:
    async def main() -> None:
        store = FakeStore()
        await save(store, KEY, {A: at(1), B: at(1)})
        run = Run(store)
        await run.positions.load()
        await store.save(KEY, {A: at(5)}, Claim(OTHER, {A: 2}))
        await run.positions.save({A: at(2), B: at(2)})
        assert (run.lost, run.facts) == ([A], [ShardLost(M, A)])
        assert run.positions.is_lost(A)
        assert not run.positions.is_lost(B)
        before = len(store.history)
        await run.positions.save({A: at(9), B: at(9)})
        assert (run.lost, run.facts) == ([A], [ShardLost(M, A)])
        assert await load(store, KEY) == {A: at(5), B: at(9)}
        assert [kept(save) for save in store.history[before:]] == [{B}], "a lost shard is not even tried again"

    run_seeded(1, main)


def kept(save: Any) -> set[ShardId]:
    assert isinstance(save, Saved)
    return set(save.wanted)


def test_a_run_that_has_forgotten_a_shard_may_begin_it_again() -> None:
    async def main() -> None:
        store = FakeStore()
        await save(store, KEY, {A: at(1)})
        run = Run(store)
        await run.positions.load()
        await run.positions.forget([A])
        await run.positions.save({A: at(1)})
        assert not run.lost

    run_seeded(1, main)


class SlowStore(FakeStore):
    """A store whose load takes a second, and returns what was stored when it began."""

    loads = 0

    async def load(self, key: StateKey) -> dict[ShardId, StoredCheckpoint]:
        self.loads += 1
        stored = await super().load(key)
        await anyio.sleep(1)
        return stored


def test_shards_that_are_loaded_again_at_the_same_time_share_a_load() -> None:
    async def main() -> None:
        store, names = SlowStore(), [ShardId(f"s{number}") for number in range(100)]
        await save(store, KEY, dict.fromkeys(names, at(1)))
        run = Run(store)
        found: dict[ShardId, Checkpoint] = {}

        async def load_again(shard_id: ShardId) -> None:
            found[shard_id] = await run.positions.load_shard(shard_id)

        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(load_again, name)
        assert found == dict.fromkeys(names, at(1))
        assert store.loads <= 2

    run_seeded(1, main)


def test_a_shard_is_never_loaded_by_a_load_that_began_earlier() -> None:
    async def main() -> None:
        store = SlowStore()
        await save(store, KEY, {A: at(1), B: at(1)})
        run = Run(store)
        with anyio.move_on_after(0.5):
            await run.positions.load_shard(A)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.positions.load_shard, A)
            await anyio.sleep(0.5)
            await save(store, KEY, {B: at(2)})
            assert await run.positions.load_shard(B) == at(2)
        await run.positions.save({B: at(3)})
        assert not run.lost, "it has read the newest version"

    run_seeded(1, main)
