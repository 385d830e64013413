"""What does a stream mapping do while its store fails? The clock is virtual."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from poller.facts import (
    CheckpointsLost,
    MappingCrashed,
    MappingReady,
    ShardLost,
    SourceFailed,
    StoreFailed,
    StoreRecovered,
)
from poller.model.ids import MappingName
from poller.model.status import MappingStatus
from poller.model.stream import (
    AfterSequence,
    Checkpoint,
    Claim,
    Latest,
    Position,
    ShardEnd,
    ShardId,
    TrimHorizon,
    WriterId,
)
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.fakes.store import FakeStore
from tests.simulation.life import Life
from tests.simulation.one_stream import KinesisWorld, play, play_life
from tests.simulation.process import OurFault
from tests.simulation.steps import stopping_after

PARENT = ShardId("shardId-000000000000")
A_MINUTE = Outage(begins_at=10, ends_at=70, fault=Fault.UNREACHABLE)


class StoreWorld(KinesisWorld):
    """A world whose position store may fail."""

    def __init__(self, *, faults: FaultPlan | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.store = FakeStore(faults=faults)

    def positions(self) -> dict[ShardId, Position]:
        (stored,) = self.store.stored.values()
        return {shard_id: checkpoint.position for shard_id, checkpoint in stored.items()}


class StoreWithOurFault(FakeStore):
    """A store in which, for some time, each save raises an error that is a fault in poller itself."""

    def __init__(self, *, begins_at: float, ends_at: float) -> None:
        super().__init__()
        self._begins_at = begins_at
        self._ends_at = ends_at

    async def save(self, *arguments: Any, **options: Any) -> frozenset[ShardId]:
        if self._begins_at <= anyio.current_time() < self._ends_at:
            raise OurFault
        return await super().save(*arguments, **options)


def test_records_are_delivered_while_the_store_fails_and_the_source_has_no_trouble() -> None:
    world = StoreWorld(faults=FaultPlan(outages=[A_MINUTE]))
    seen: list[MappingStatus] = []

    async def until(life: Life) -> None:
        await anyio.sleep(10)
        for number in range(50):
            world.put("key", f"{number}")
            await anyio.sleep(1)
        seen.extend(life.supervisor.statuses())
        await anyio.sleep(100)
        seen.extend(life.supervisor.statuses())
        life.begin_stop()

    play_life(world, until)
    assert world.succeeded == [str(number) for number in range(50)]
    failed = world.facts_of(StoreFailed)
    assert 3 < len(failed) < 15, "it waits longer after each failure"
    assert {fact.operation for fact in failed} == {"save"}
    assert world.facts_of(StoreRecovered) == [StoreRecovered(failed[0].mapping)]
    assert not world.facts_of(SourceFailed)
    during, after = seen
    assert (during.state, during.reason) == ("troubled", "the position store fails: save: the store refuses, by plan")
    assert (during.attempt or 0) > 3
    assert (after.state, after.reason, after.attempt) == ("ready", None, None)


def test_after_a_fault_of_ours_in_the_store_the_next_run_reads_the_shards() -> None:
    world = StoreWorld()
    world.store = StoreWithOurFault(begins_at=10, ends_at=13)
    seen: list[MappingStatus] = []

    async def until(life: Life) -> None:
        await anyio.sleep(11)
        world.put("key", "before")
        await anyio.sleep(20)
        world.put("key", "after")
        await anyio.sleep(20)
        seen.extend(life.supervisor.statuses())
        life.begin_stop()

    play_life(world, until)
    assert world.facts_of(MappingCrashed)
    assert [status.polls_in_flight for status in seen] == [1], "the crashed run has freed its shard"
    assert world.succeeded[-1] == "after"


def test_a_failing_store_does_not_lengthen_the_pauses_of_the_source() -> None:
    """After a minute of failing saves, one listing fails. It is tried again after a second, and not after a minute."""
    world = StoreWorld(faults=FaultPlan(outages=[A_MINUTE]))

    async def until(life: Life) -> None:
        await anyio.sleep(10)
        world.put("key", "a")
        await anyio.sleep(50)
        world.service.faults.script("ListShards", Fault.ACCESS_DENIED)
        await anyio.sleep(60)
        life.begin_stop()

    play_life(world, until)
    [failed] = world.facts_of(SourceFailed)
    assert failed.operation == "ListShards"
    assert failed.retry_in_seconds <= 1


@pytest.mark.parametrize("operation", ["load", "starting_position", "save"])
def test_a_mapping_starts_when_its_store_works_and_reports_the_failure_until_then(operation: str) -> None:
    world = StoreWorld(starting_position=Latest())
    seen: list[MappingStatus] = []

    async def main() -> None:
        world.store.faults.script(operation, *[Fault.UNREACHABLE] * 3)

        async def until(life: Life) -> None:
            await anyio.sleep(0.4)
            seen.extend(life.supervisor.statuses())
            world.put("key", "while the store fails")
            await anyio.sleep(30)
            life.begin_stop()

        await world.live(until)

    play(world, main)
    [status] = seen
    assert status.state == "starting"
    assert status.reason == f"the position store fails: {operation}: the store refuses, by plan"
    assert [fact.operation for fact in world.facts if isinstance(fact, StoreFailed)] == [operation] * 3
    assert not world.facts_of(SourceFailed)
    assert len(world.facts_of(MappingReady)) == 1
    if operation == "save":
        assert world.succeeded == ["while the store fails"], "the place was fixed before"


def test_found_children_are_stored_before_they_are_read_even_if_the_store_fails_for_a_while() -> None:
    world = StoreWorld(starting_position=Latest())

    async def main() -> None:
        async def until(life: Life) -> None:
            await anyio.sleep(5)
            world.stream.split(PARENT, now=anyio.current_time())
            world.put("key", "of a child")
            world.store.faults.outages.append(Outage(5, 60, Fault.UNREACHABLE))
            await anyio.sleep(50)
            assert world.calls == []
            await anyio.sleep(100)
            life.crash()

        await world.live(until)
        await world.live(stopping_after(60))

    play(world, main)
    assert world.succeeded == ["of a child"]
    assert world.positions()[PARENT] == ShardEnd()
    assert len(world.positions()) == 3


def test_a_shard_that_another_writer_has_stored_is_no_longer_read_and_the_others_go_on() -> None:
    world = StoreWorld(batch_size=1)
    world.duration = 1.0
    lost, kept = ShardId("shardId-000000000000"), ShardId("shardId-000000000001")
    seen: list[int] = []

    async def until(life: Life) -> None:
        for shard in range(2):
            for number in range(20):
                world.put_at(shard * 2**127, f"{shard}/{number}")
        await anyio.sleep(5.5)
        await take(world, lost)
        await anyio.sleep(1)
        seen.append(len(world.calls))
        await anyio.sleep(60)
        life.begin_stop()

    play_life(world, until, shards=2)
    assert world.facts_of(ShardLost) == [ShardLost(MappingName("m"), lost)]
    assert world.positions()[lost] == TrimHorizon()
    assert {f"1/{number}" for number in range(20)} <= set(world.succeeded), "the other shard is delivered to its end"
    assert not [names for names in world.calls[seen[0] :] if names[0].startswith("0/")], "no invocation after the loss"
    assert not world.facts_of(CheckpointsLost)
    assert isinstance(world.positions()[kept], AfterSequence)


async def take(world: StoreWorld, shard_id: ShardId) -> None:
    """Store a checkpoint of a shard, as another writer that has read the present version."""
    (key,) = world.store.stored
    stored = (await world.store.load(key)).get(shard_id)
    claim = Claim(WriterId("the other"), {shard_id: stored.version + 1 if stored else 1})
    assert not await world.store.save(key, {shard_id: Checkpoint(TrimHorizon())}, claim)


def test_a_found_child_that_another_writer_has_stored_first_is_not_read() -> None:
    world = StoreWorld(batch_size=1)
    children = ShardId("shardId-000000000001"), ShardId("shardId-000000000002")

    async def until(life: Life) -> None:
        await anyio.sleep(5)
        world.stream.split(PARENT, now=anyio.current_time())
        await take(world, children[0])
        for number, name in enumerate(("theirs", "ours")):
            world.put_at(number * 2**127, name)
        await anyio.sleep(60)
        life.begin_stop()

    play_life(world, until)
    assert world.succeeded == ["ours"]
    assert world.positions()[children[0]] == TrimHorizon()


def test_the_children_of_a_shard_that_is_lost_at_its_end_are_not_read() -> None:
    """The other writer of the parent may not have finished it."""
    world = StoreWorld(batch_size=1)
    world.duration = 2.5

    async def until(life: Life) -> None:
        await anyio.sleep(5)
        world.put("", "last of the parent")
        world.stream.split(PARENT, now=anyio.current_time())
        for number in range(2):
            world.put_at(number * 2**127, f"child {number}")
        await anyio.sleep(2)
        await take(world, PARENT)
        await anyio.sleep(60)
        life.begin_stop()

    play_life(world, until)
    assert world.calls == [["last of the parent"]]
    assert world.positions()[PARENT] == TrimHorizon()
