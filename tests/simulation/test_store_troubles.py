"""What does a stream mapping do while its state fails, or while another worker has its leases? The clock is virtual."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from itertools import chain
from typing import Any

import anyio
import pytest

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS
from poller.core.leases.holding import SAFE_PART
from poller.engine.leases.messages import LONGEST_ANNOUNCEMENT
from poller.engine.leases.worker import LAST_WRITES_IN_SECONDS
from poller.errors import Rejected
from poller.facts import (
    CheckpointsLost,
    LeasesLost,
    LeaseTableFailed,
    LeaseTableRecovered,
    MappingCrashed,
    MappingReady,
    SourceFailed,
)
from poller.model.ids import MappingName
from poller.model.lease import Detail, Owner, Row, RowKey, begun_key, kcl_key, shard_key, start_key
from poller.model.status import MappingStatus
from poller.model.stream import AfterSequence, Latest, Position, ShardEnd, ShardId, StateKey
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.fakes.store import FakeStore
from tests.simulation.life import Life
from tests.simulation.one_stream import KinesisWorld, play, play_life
from tests.simulation.steps import stopping_after

PARENT = ShardId("shardId-000000000000")
DEADLINE = SAFE_PART * LEASE_DURATION_IN_SECONDS


class StoreWorld(KinesisWorld):
    """A world whose state may fail."""

    def __init__(self, *, faults: FaultPlan | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.store = FakeStore(faults=faults)

    def positions(self) -> dict[ShardId, Position]:
        (stored,) = self.store.stored.values()
        return {shard_id: checkpoint.position for shard_id, checkpoint in stored.items()}


REFUSED = "the state fails: exchange messages, renew leases, take leases: ConnectionRefused: connection refused"


def test_records_are_delivered_while_the_state_fails_for_less_than_a_lease_lasts() -> None:
    world = StoreWorld(faults=FaultPlan(outages=[Outage(10, 13, Fault.UNREACHABLE)]))
    seen: list[MappingStatus] = []

    async def until(life: Life) -> None:
        await anyio.sleep(10)
        for number in range(20):
            world.put("key", f"{number}")
            await anyio.sleep(0.5)
            if number == 5:
                seen.extend(life.supervisor.statuses())
        await anyio.sleep(20)
        seen.extend(life.supervisor.statuses())
        life.begin_stop()

    play_life(world, until)
    assert world.succeeded == [str(number) for number in range(20)], "nothing is repeated"
    assert not world.facts_of(LeasesLost, SourceFailed)
    assert 2 < len(world.facts_of(LeaseTableFailed)) < 20, "it waits longer after each failure"
    assert len(world.facts_of(LeaseTableRecovered)) == 1
    during, after = seen
    assert during.state == "troubled"
    assert during.reason == REFUSED
    assert (during.attempt or 0) > 2
    assert (after.state, after.reason, after.attempt) == ("ready", None, None)


def test_no_invocation_begins_after_the_deadline_of_a_lease_that_cannot_be_renewed_and_nothing_is_lost() -> None:
    world = StoreWorld(batch_size=1, faults=FaultPlan(outages=[Outage(10, 70, Fault.UNREACHABLE)]))
    seen: list[MappingStatus] = []

    async def until(life: Life) -> None:
        await anyio.sleep(10)
        for number in range(50):
            world.put("key", f"{number}")
            await anyio.sleep(1)
        seen.extend(life.supervisor.statuses())
        await anyio.sleep(60)
        seen.extend(life.supervisor.statuses())
        life.begin_stop()

    play_life(world, until)
    assert not [at for at in world.succeeded_at if 10 + DEADLINE <= at < 70]
    assert sorted(set(world.succeeded), key=int) == [str(number) for number in range(50)]
    assert len(world.facts_of(LeasesLost)) == 1
    during, after = seen
    assert (during.state, during.polls_in_flight) == ("troubled", 0)
    assert during.reason == REFUSED
    assert (after.state, after.polls_in_flight) == ("ready", 1)


def test_a_failing_state_does_not_lengthen_the_pauses_of_the_source() -> None:
    """After a minute of failing writes, one listing fails. It is tried again after a second, and not after a minute."""
    world = StoreWorld(faults=FaultPlan(outages=[Outage(10, 70, Fault.UNREACHABLE)]))

    async def until(life: Life) -> None:
        await anyio.sleep(60)
        world.service.faults.script("ListShards", Fault.ACCESS_DENIED)
        await anyio.sleep(60)
        life.begin_stop()

    play_life(world, until)
    [failed] = world.facts_of(SourceFailed)
    assert failed.operation == "ListShards"
    assert failed.retry_in_seconds <= 1


def test_a_mapping_starts_when_its_state_works_and_reports_the_failure_until_then() -> None:
    world = StoreWorld(starting_position=Latest())
    seen: list[MappingStatus] = []

    async def main() -> None:
        world.store.faults.script("scan", *[Fault.UNREACHABLE] * 4)
        await world.live(putting_while_it_fails(world, seen))

    play(world, main)
    [status] = seen
    assert status.state == "starting"
    assert (status.reason or "").startswith("the state fails: take leases: ")
    assert len(world.facts_of(LeaseTableFailed)) == 4
    assert not world.facts_of(SourceFailed)
    assert len(world.facts_of(MappingReady)) == 1


def test_with_latest_a_record_that_is_written_while_the_state_fails_is_delivered() -> None:
    class FailingStore(FakeStore):
        """A state in which the first four tries to create the row of a shard fail."""

        failures = 0

        async def create(self, *groups: Collection[Row], life: int = 0) -> frozenset[RowKey]:
            if self.failures < 4 and any(row.checkpoint is not None for row in chain(*groups)):
                self.failures += 1
                raise Rejected("the disk is full", code="SQLITE_FULL")
            return await super().create(*groups, life=life)

    world = StoreWorld(starting_position=Latest())
    world.store = FailingStore()
    seen: list[MappingStatus] = []

    async def main() -> None:
        await world.live(putting_while_it_fails(world, seen))

    play(world, main)
    assert [(status.state, status.reason) for status in seen] == [
        ("starting", "the state fails: create leases: SQLITE_FULL: the disk is full")
    ]
    assert world.succeeded == ["while the state fails"]


def putting_while_it_fails(world: StoreWorld, seen: list[MappingStatus]) -> Callable[[Life], Coroutine[Any, Any, None]]:
    async def until(life: Life) -> None:
        await anyio.sleep(0.4)
        seen.extend(life.supervisor.statuses())
        world.put("key", "while the state fails")
        await anyio.sleep(30)
        life.begin_stop()

    return until


def test_found_children_have_rows_before_they_are_read_even_if_the_state_fails_for_a_while() -> None:
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


def test_a_daemon_that_cannot_store_its_last_checkpoints_says_so_and_ends_in_time() -> None:
    world = StoreWorld(batch_size=1)
    stopped: list[float] = []

    async def main() -> None:
        async def until(life: Life) -> None:
            await anyio.sleep(5)
            world.store.faults.outages.append(Outage(5, 60, Fault.UNREACHABLE))
            world.put("key", "a")
            await anyio.sleep(2)
            life.begin_stop()

        life = await world.live(until)
        assert life.worker.is_unclean
        assert life.stopped_at is not None
        stopped.append(anyio.current_time() - life.stopped_at)
        await anyio.sleep(60)
        await world.live(stopping_after(20))

    play(world, main)
    [lost] = world.facts_of(CheckpointsLost)
    assert lost.shards == len(lost.named) == 1
    assert stopped[0] <= LONGEST_ANNOUNCEMENT * LEASE_DURATION_IN_SECONDS + LAST_WRITES_IN_SECONDS + 0.1
    assert world.succeeded == ["a", "a"], "it is delivered again"


def test_a_shard_that_another_worker_has_taken_is_read_no_more_and_the_others_go_on() -> None:
    world = StoreWorld(batch_size=1)
    world.duration = 1.0
    lost, kept = ShardId("shardId-000000000000"), ShardId("shardId-000000000001")
    seen: list[int] = []

    async def until(life: Life) -> None:
        for shard in range(2):
            for number in range(20):
                world.put_at(shard * 2**127, f"{shard}/{number}")
        await anyio.sleep(5.5)
        take(world, lost)
        await anyio.sleep(5)
        seen.append(len(world.calls))
        for _ in range(40):
            renew(world, lost)
            await anyio.sleep(1)
        life.begin_stop()

    play_life(world, until, shards=2)
    assert sum(fact.leases for fact in world.facts_of(LeasesLost)) == 1
    assert {f"1/{number}" for number in range(20)} <= set(world.succeeded), "the other shard is delivered to its end"
    assert not [names for names in world.calls[seen[0] :] if names[0].startswith("0/")], "no invocation after the loss"
    assert not world.facts_of(CheckpointsLost)
    assert isinstance(world.positions()[kept], AfterSequence)


def test_a_stop_does_not_wait_for_the_cut_invocation_of_a_shard_that_another_worker_has_taken() -> None:
    world = StoreWorld()
    world.duration = 9.0
    stopped: list[float] = []

    async def until(life: Life) -> None:
        world.put("key", "a")
        await anyio.sleep(1.5)
        take(world, PARENT)
        await anyio.sleep(4.5)
        life.begin_stop()

    async def main() -> None:
        life = await world.live(until)
        assert life.stopped_at is not None
        stopped.append(anyio.current_time() - life.stopped_at)

    play(world, main)
    assert sum(fact.leases for fact in world.facts_of(LeasesLost)) == 1
    assert world.calls == [["a"]]
    assert world.succeeded == [], "the invocation was cut"
    assert stopped[0] < 1.0


def test_the_children_of_a_shard_that_is_lost_at_its_end_wait_until_its_next_owner_has_drained_it() -> None:
    world = StoreWorld(batch_size=1)
    world.duration = 2.5

    async def until(life: Life) -> None:
        await anyio.sleep(5)
        world.put("", "last of the parent")
        world.stream.split(PARENT, now=anyio.current_time())
        for number in range(2):
            world.put_at(number * 2**127, f"child {number}")
        await anyio.sleep(2)
        take(world, PARENT)
        for _ in range(30):
            renew(world, PARENT)
            await anyio.sleep(1)
        assert world.calls == [["last of the parent"]]
        await anyio.sleep(60)
        life.begin_stop()

    play_life(world, until)
    assert world.calls[:2] == [["last of the parent"]] * 2, "the other owner has died"
    assert sorted(world.succeeded[2:]) == ["child 0", "child 1"]
    assert world.positions()[PARENT] == ShardEnd()


def take(world: StoreWorld, shard_id: ShardId) -> None:
    """Let another worker take the lease, as if this one had not renewed it."""
    world.store.table.take_by_force(shard_key(world.mapping.state_key, shard_id), Owner("other/1"))


def renew(world: StoreWorld, shard_id: ShardId) -> None:
    """Let the other worker renew its lease."""
    world.store.table.renew(shard_key(world.mapping.state_key, shard_id))


def test_a_mapping_does_not_go_back_from_a_table_of_kcl_to_older_positions() -> None:
    world = StoreWorld()
    seen: list[MappingStatus] = []

    async def main() -> None:
        world.put("key", "0")
        await world.live(stopping_after(20))
        state = world.mapping.state_key
        mark = Row(key=kcl_key(state), details={"table": "my-application"})
        world.store.table.write("a worker with kcl_table", "create", mark, sent_at=0)
        world.put("key", "1")

        async def until(life: Life) -> None:
            await anyio.sleep(30)
            seen.extend(life.supervisor.statuses())
            assert world.succeeded == ["0"]
            world.store.table.write("a person", "delete", mark, sent_at=0)
            await anyio.sleep(60)
            life.begin_stop()

        await world.live(until)

    play(world, main)
    [status] = seen
    assert status.state == "starting"
    why = "poller state copy kcl://my-application --mapping m"
    assert "PositionsInKclTable: my-application, the table of a KCL application, has the positions" in (
        status.reason or ""
    )
    assert why in (status.reason or "")
    assert world.succeeded == ["0", "1"]


@pytest.mark.parametrize(
    ("mark", "details", "rule"),
    [
        (start_key, {"position": "SHARD_END"}, "'SHARD_END' is not a starting position"),
        (start_key, {"position": 5}, "5 is not a starting position"),
        (start_key, {}, "None is not a starting position"),
        (kcl_key, {}, "None is not the name of a table"),
    ],
)
def test_a_mapping_does_not_begin_anew_while_a_row_about_its_start_is_damaged(
    mark: Callable[[StateKey], RowKey], details: dict[str, Detail], rule: str
) -> None:
    world = StoreWorld(starting_position=Latest())
    seen: list[MappingStatus] = []

    async def main() -> None:
        state, table = StateKey(MappingName("m"), str(world.stream.arn)), world.store.table
        damaged = Row(key=mark(state), details=details)
        table.write("a person", "create", damaged, sent_at=0)
        world.put("key", "0")

        async def until(life: Life) -> None:
            await anyio.sleep(60)
            seen.extend(life.supervisor.statuses())
            assert begun_key(state) not in table.rows
            table.write("a person", "delete", damaged, sent_at=0)
            table.write(
                "a person", "create", Row(key=start_key(state), details={"position": "TRIM_HORIZON"}), sent_at=0
            )
            await anyio.sleep(60)
            life.begin_stop()

        await world.live(until)

    play(world, main)
    [status] = seen
    assert status.state == "starting"
    assert f"DamagedRow: memory: has a damaged row {mark(world.mapping.state_key)}: {rule}" in (status.reason or "")
    assert world.succeeded == ["0"]
    assert not world.facts_of(MappingCrashed)
