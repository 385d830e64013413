"""What does a stream mapping do while its positions cannot be stored? On a virtual clock, over a store that fails."""

from __future__ import annotations

import anyio
import pytest

from poller.engine.stop import Stop
from poller.engine.streams.mapping import StreamContext
from poller.engine.supervisor import Supervisor
from poller.facts import MappingReady, SourceFailed, StoreFailed, StoreRecovered
from poller.model.status import MappingStatus
from poller.model.stream import Latest, Position, ShardEnd, ShardId
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.fakes.store import FakeStore
from tests.simulation.one_stream import Process, World, play, stopping_after

PARENT = ShardId("shardId-000000000000")
A_MINUTE = Outage(begins_at=10, ends_at=70, fault=Fault.UNREACHABLE)


class StoreWorld(World):
    """Positions are kept by a store that may fail."""

    def __init__(self, *, faults: FaultPlan | None = None, **options: object) -> None:
        super().__init__()
        self.options = options
        self.failing_store = FakeStore(faults=faults)

    def _parts(self, stop: Stop, process: Process) -> StreamContext:
        process.store = self.failing_store
        return super()._parts(stop, process)

    def positions(self) -> dict[ShardId, Position]:
        (stored,) = self.failing_store.stored.values()
        return {shard_id: checkpoint.position for shard_id, checkpoint in stored.items()}


def test_records_are_delivered_while_no_position_can_be_stored_and_the_source_is_not_blamed() -> None:
    world = StoreWorld(faults=FaultPlan(outages=[A_MINUTE]))
    seen: list[MappingStatus] = []

    async def main() -> None:
        async def until(_stop: Stop, supervisor: Supervisor) -> bool:
            await anyio.sleep(10)
            for number in range(50):
                world.put("key", f"{number}")
                await anyio.sleep(1)
            seen.extend(supervisor.statuses())
            await anyio.sleep(100)
            seen.extend(supervisor.statuses())
            return False

        await world.live(until)

    play(world, main)
    assert world.succeeded == [str(number) for number in range(50)]
    failed = [fact for fact in world.facts if isinstance(fact, StoreFailed)]
    assert 3 < len(failed) < 15, "it waits longer after each failure"
    assert {fact.operation for fact in failed} == {"save"}
    assert [fact for fact in world.facts if isinstance(fact, StoreRecovered)] == [StoreRecovered(failed[0].mapping)]
    assert not [fact for fact in world.facts if isinstance(fact, SourceFailed)]
    during, after = seen
    assert (during.state, during.reason) == ("troubled", "the position store fails: save: the store refuses, by plan")
    assert (during.attempt or 0) > 3
    assert (after.state, after.reason, after.attempt) == ("ready", None, None)


def test_a_failing_store_does_not_lengthen_the_pauses_of_the_source() -> None:
    """A minute of failing saves, then one failed listing: it is tried again after a second, not after a minute."""
    world = StoreWorld(faults=FaultPlan(outages=[A_MINUTE]))

    async def main() -> None:
        async def until(_stop: Stop, _supervisor: Supervisor) -> bool:
            await anyio.sleep(10)
            world.put("key", "a")
            await anyio.sleep(50)
            world.service.faults.script("ListShards", Fault.THROTTLED)
            await anyio.sleep(60)
            return False

        await world.live(until)

    play(world, main)
    [failed] = [fact for fact in world.facts if isinstance(fact, SourceFailed)]
    assert failed.operation == "ListShards"
    assert failed.retry_in_seconds <= 1


@pytest.mark.parametrize("operation", ["load", "drained_at", "starting_position", "save"])
def test_a_mapping_starts_once_its_store_works_and_says_meanwhile_that_the_store_fails(operation: str) -> None:
    world = StoreWorld(starting_position=Latest())
    seen: list[MappingStatus] = []

    async def main() -> None:
        world.failing_store.faults.script(operation, *[Fault.UNREACHABLE] * 3)

        async def until(_stop: Stop, supervisor: Supervisor) -> bool:
            await anyio.sleep(0.4)
            seen.extend(supervisor.statuses())
            world.put("key", "while the store fails")
            await anyio.sleep(30)
            return False

        await world.live(until)

    play(world, main)
    [status] = seen
    assert status.state == "starting"
    assert status.reason == f"the position store fails: {operation}: the store refuses, by plan"
    assert [fact.operation for fact in world.facts if isinstance(fact, StoreFailed)] == [operation] * 3
    assert not [fact for fact in world.facts if isinstance(fact, SourceFailed)]
    assert len([fact for fact in world.facts if isinstance(fact, MappingReady)]) == 1
    if operation == "save":
        assert world.succeeded == ["while the store fails"], "the place was fixed before"


def test_found_children_are_stored_before_they_are_read_though_the_store_fails_for_a_while() -> None:
    world = StoreWorld(starting_position=Latest())

    async def main() -> None:
        async def until(_stop: Stop, _supervisor: Supervisor) -> bool:
            await anyio.sleep(5)
            world.stream.split(PARENT, now=anyio.current_time())
            world.put("key", "of a child")
            world.failing_store.faults.outages.append(Outage(5, 60, Fault.UNREACHABLE))
            await anyio.sleep(50)
            assert world.calls == []
            await anyio.sleep(100)
            return True

        await world.live(until)
        await world.live(stopping_after(60))

    play(world, main)
    assert world.succeeded == ["of a child"]
    assert world.positions()[PARENT] == ShardEnd()
    assert len(world.positions()) == 3
