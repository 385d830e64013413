"""Does a person change only what no worker reads, and do the tokens of each shard go on?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS, RENEWALS_PER_DURATION
from poller.errors import InUse, Throttled, Unreachable
from poller.model.ids import MappingName
from poller.model.lease import Detail, Owner, Row, RowKey, begun_key, kcl_key, prefix_of, shard_key, start_key
from poller.model.stream import (
    AfterSequence,
    AtTimestamp,
    Checkpoint,
    Latest,
    SequenceNumber,
    ShardEnd,
    ShardId,
    StartingPosition,
    StateKey,
    TrimHorizon,
    Window,
)
from poller.stores.dynamodb_leases import DynamoDbLeaseStore
from poller.stores.lease_by_hand import Copied, Hand, Stored, grouped, paused, stored
from poller.stores.move_orders import told
from poller.stores.sqlite_leases import SqliteLeaseStore
from tests.contracts.test_lease_store import in_new_table
from tests.fakes.dynamodb import FakeDynamoDb
from tests.fakes.faults import Fault, FaultPlan

pytestmark = pytest.mark.anyio

CLICKS = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
EARLIER = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/earlier")
USERS = StateKey(MappingName("users"), "arn:aws:dynamodb:eu-west-1:123456789012:table/users/stream/2026")
A, B = ShardId("shardId-000000000000"), ShardId("shardId-000000000001")
OWNER, OTHER = Owner(f"blue-1/{'0' * 32}"), Owner(f"blue-2/{'1' * 32}")
AFTER_5 = Checkpoint(AfterSequence(SequenceNumber("5")), Window(0, 60, b'{"sum":1}'))
AT_END = Checkpoint(ShardEnd())
BLOCKED: Detail = {"attempts": 3, "request_id": "r", "age_in_seconds": 5.0}
NOW = 1_770_000_000.5

ROWS = [
    Row(
        key=shard_key(CLICKS, A),
        counter=40,
        token=31,
        checkpoint=AFTER_5,
        details={
            "parents": ["shardId-0"],
            "bytes_per_second": 9.5,
            "blocked": BLOCKED,
            "saved_at": 1_700_000_000,
        },
    ),
    Row(key=shard_key(CLICKS, B), counter=7, token=2, checkpoint=AT_END, details={"children": [A], "saved_at": 1}),
    Row(key=shard_key(EARLIER, A), counter=3, checkpoint=AFTER_5),
    Row(key=shard_key(USERS, A), counter=5, token=4, checkpoint=AFTER_5),
    *(Row(key=begun_key(state)) for state in (CLICKS, EARLIER, USERS)),
    Row(key=RowKey(":unit/resize/0"), counter=2, owner=OTHER, token=2),
]


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.fixture
async def service() -> FakeDynamoDb:
    return FakeDynamoDb()


@pytest.fixture
async def store(service: FakeDynamoDb) -> DynamoDbLeaseStore:
    store = await in_new_table(service)
    await store.create(ROWS)
    return store


async def hand_of(store: DynamoDbLeaseStore, told: list[str] | None = None) -> Hand:
    return Hand(store, await store.scan(), tell=([] if told is None else told).append, now=lambda: NOW)


async def by_key(store: DynamoDbLeaseStore) -> dict[RowKey, Row]:
    return {row.key: row for row in await store.scan()}


def without(rows: Iterable[Row], *keys: RowKey) -> dict[RowKey, Row]:
    return {row.key: row for row in rows if row.key not in keys}


async def take(store: DynamoDbLeaseStore, key: RowKey, owner: Owner) -> None:
    row = (await store.read([key]))[key]
    await store.update([replace(row, counter=row.counter + 1, owner=owner, token=row.counter + 1)])


@asynccontextmanager
async def living(store: DynamoDbLeaseStore, owner: Owner, *keys: RowKey) -> AsyncIterator[None]:
    """Let a worker live, which renews its row and these leases."""
    worker = Row(key=RowKey(f":worker/{owner}"), owner=owner, details={"heartbeat": 0})
    await store.create([worker])

    async def renew() -> None:
        heartbeat = 0
        while True:
            await anyio.sleep(LEASE_DURATION_IN_SECONDS / RENEWALS_PER_DURATION)
            heartbeat += 1
            rows = (await store.read([worker.key, *keys])).values()
            await store.update(
                [replace(row, counter=row.counter + 1, details={**row.details, "heartbeat": heartbeat}) for row in rows]
            )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(renew)
        yield
        tasks.cancel_scope.cancel()


def test_rows_are_grouped_by_mapping_and_stream() -> None:
    rows = [
        *ROWS,
        Row(key=start_key(USERS), details={"position": "AT_TIMESTAMP 12.5"}),
        Row(key=RowKey(":pause/orders")),
    ]
    found = grouped(rows)
    assert list(found) == [CLICKS, EARLIER, USERS]
    assert found[CLICKS] == Stored(None, {A: ROWS[0], B: ROWS[1]})
    assert found[CLICKS].checkpoints == {A: AFTER_5, B: AT_END}
    assert found[USERS] == Stored(AtTimestamp(12.5), {A: ROWS[3]})
    assert paused(rows) == {"orders"}


async def test_a_damaged_starting_position_is_told_and_the_next_one_replaces_it(store: DynamoDbLeaseStore) -> None:
    await store.create([Row(key=start_key(CLICKS), details={"position": "NOWHERE"})])
    found = grouped(await store.scan())
    fault = f"the row {start_key(CLICKS)} is damaged: 'NOWHERE' is not a starting position"
    assert found[CLICKS] == Stored(None, {A: ROWS[0], B: ROWS[1]}, fault)
    assert fault in told(found[CLICKS])
    hand = await hand_of(store)
    await hand.refuse_while_read(CLICKS.mapping)
    await hand.start_over(CLICKS, TrimHorizon())
    assert grouped(await store.scan())[CLICKS].starting_position == TrimHorizon()
    assert grouped(await store.scan())[CLICKS].fault is None


def test_a_missing_file_has_no_positions(tmp_path: Path) -> None:
    assert stored(tmp_path / "poller.db") == {}


@pytest.mark.parametrize("position", [TrimHorizon(), Latest(), AtTimestamp(12.5)])
async def test_a_mapping_that_starts_over_keeps_its_rows_and_counters_and_loses_its_positions(
    store: DynamoDbLeaseStore, position: StartingPosition
) -> None:
    for _ in range(2):
        hand = await hand_of(store)
        await hand.refuse_while_read(CLICKS.mapping)
        await hand.start_over(CLICKS, position)
    found = await by_key(store)
    parents: dict[str, Detail] = {"parents": ["shardId-0"], "bytes_per_second": 9.5}
    assert found.pop(shard_key(CLICKS, A)) == Row(key=shard_key(CLICKS, A), counter=42, token=31, details=parents)
    assert found.pop(shard_key(CLICKS, B)) == Row(key=shard_key(CLICKS, B), counter=9, token=2)
    assert grouped([found.pop(start_key(CLICKS))])[CLICKS].starting_position == position
    assert found == without(ROWS, shard_key(CLICKS, A), shard_key(CLICKS, B), begun_key(CLICKS))


async def test_one_shard_moves_back_and_forth_and_loses_its_window_its_owner_and_its_block(
    store: DynamoDbLeaseStore,
) -> None:
    for counter, number in enumerate(["1", "900", "20"], start=41):
        position = AfterSequence(SequenceNumber(number))
        await (await hand_of(store)).move_shard(CLICKS, A, position)
        details: dict[str, Detail] = {"parents": ["shardId-0"], "bytes_per_second": 9.5, "saved_at": int(NOW)}
        moved = Row(
            key=shard_key(CLICKS, A), counter=counter, token=31, checkpoint=Checkpoint(position), details=details
        )
        assert await by_key(store) == without(ROWS, moved.key) | {moved.key: moved}
    await (await hand_of(store)).move_shard(CLICKS, B, TrimHorizon())
    moved = (await by_key(store))[shard_key(CLICKS, B)]
    assert (moved.checkpoint, moved.details) == (Checkpoint(TrimHorizon()), {"saved_at": int(NOW)})


async def test_a_shard_cannot_move_to_latest(store: DynamoDbLeaseStore) -> None:
    with pytest.raises(AssertionError, match="LATEST"):
        await (await hand_of(store)).move_shard(CLICKS, A, Latest())
    assert await by_key(store) == without(ROWS)


async def test_positions_that_a_worker_may_read_change_only_if_the_mapping_is_paused(store: DynamoDbLeaseStore) -> None:
    told: list[str] = []
    async with living(store, OWNER):
        hand = await hand_of(store, told)
        began = anyio.current_time()
        with pytest.raises(InUse, match=r"the worker blue-1/0000 runs, and may read clicks.*poller pause"):
            await hand.refuse_while_read(CLICKS.mapping)
        assert anyio.current_time() - began < LEASE_DURATION_IN_SECONDS / 2
        assert told == ["Waiting for up to 10 s to see whether these workers run: blue-1/0000"]
        await store.create([Row(key=RowKey(":pause/clicks"))])
        hand = await hand_of(store, told)
        began = anyio.current_time()
        await hand.refuse_while_read(CLICKS.mapping)
        assert anyio.current_time() == began
        assert len(told) == 1
        await anyio.sleep(5)
        await hand.move_shard(CLICKS, A, TrimHorizon())
        with pytest.raises(InUse, match=r"may read clicks and users: stop all workers$"):
            await hand.refuse_while_read(CLICKS.mapping, USERS.mapping)


@pytest.mark.parametrize("has_row", [True, False])
async def test_a_paused_mapping_is_not_changed_while_a_worker_finishes_what_it_has_in_hand(
    store: DynamoDbLeaseStore, has_row: bool
) -> None:
    await store.create([Row(key=RowKey(":pause/clicks"))])
    await take(store, shard_key(CLICKS, A), OWNER)
    async with living(store, OWNER, shard_key(CLICKS, A)):
        if not has_row:
            await store.delete((await store.read([RowKey(f":worker/{OWNER}")])).values())
        with pytest.raises(InUse, match="the worker blue-1/0000 still finishes what it has in hand of clicks"):
            await (await hand_of(store)).refuse_while_read(CLICKS.mapping)


async def test_the_shards_of_a_dead_worker_can_be_changed_after_a_lease_duration(store: DynamoDbLeaseStore) -> None:
    await take(store, shard_key(CLICKS, A), OWNER)
    await store.create([Row(key=RowKey(f":worker/{OWNER}"), owner=OWNER, details={"heartbeat": 7})])
    hand = await hand_of(store)
    began = anyio.current_time()
    await hand.refuse_while_read(CLICKS.mapping)
    assert anyio.current_time() - began == pytest.approx(LEASE_DURATION_IN_SECONDS)
    await hand.move_shard(CLICKS, A, TrimHorizon())
    row = (await by_key(store))[shard_key(CLICKS, A)]
    assert (row.counter, row.owner, row.token) == (42, None, 41)


async def test_a_living_worker_does_not_count_as_the_owner_of_a_dead_workers_lease(store: DynamoDbLeaseStore) -> None:
    await store.create([Row(key=RowKey(":pause/clicks"))])
    await take(store, shard_key(CLICKS, A), OWNER)
    async with living(store, OTHER):
        hand = await hand_of(store)
        await hand.refuse_while_read(CLICKS.mapping)
        await hand.move_shard(CLICKS, A, TrimHorizon())


async def test_a_worker_that_stops_while_the_person_waits_does_not_count_as_living(store: DynamoDbLeaseStore) -> None:
    await take(store, shard_key(CLICKS, A), OWNER)
    hand = await hand_of(store)

    async def give_away() -> None:
        await anyio.sleep(3)
        row = (await by_key(store))[shard_key(CLICKS, A)]
        await store.update([replace(row, counter=row.counter + 1, owner=None)])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(give_away)
        await hand.refuse_while_read(CLICKS.mapping)
    await hand.move_shard(CLICKS, A, TrimHorizon())


async def test_other_mappings_may_be_read_meanwhile_if_this_one_is_paused(store: DynamoDbLeaseStore) -> None:
    await store.create([Row(key=RowKey(":pause/clicks"))])
    await take(store, shard_key(USERS, A), OTHER)
    async with living(store, OTHER, shard_key(USERS, A)):
        hand = await hand_of(store)
        await hand.refuse_while_read(CLICKS.mapping)
        await anyio.sleep(20)
        await hand.start_over(CLICKS, Latest())


@pytest.mark.parametrize("what", ["a lease is taken", "a worker starts", "the pause ends", "a shard is new"])
async def test_nothing_is_changed_if_the_state_has_changed_while_the_person_was_asked(
    store: DynamoDbLeaseStore, what: str
) -> None:
    if what == "the pause ends":
        await store.create([Row(key=RowKey(":pause/clicks"))])
    hand = await hand_of(store)
    await hand.refuse_while_read(CLICKS.mapping)
    match what:
        case "a lease is taken":
            await take(store, shard_key(CLICKS, A), OWNER)
        case "a worker starts":
            await store.create([Row(key=RowKey(f":worker/{OWNER}"), owner=OWNER, details={"heartbeat": 1})])
        case "the pause ends":
            await store.delete([Row(key=RowKey(":pause/clicks"))])
        case _:
            await store.create([Row(key=shard_key(CLICKS, ShardId("new")), checkpoint=Checkpoint(TrimHorizon()))])
    before = await by_key(store)
    for change in (
        hand.start_over(CLICKS, Latest()),
        hand.move_shard(CLICKS, B, TrimHorizon()),
        hand.rename(CLICKS.mapping, MappingName("new")),
    ):
        with pytest.raises(InUse, match="nothing was changed"):
            await change
    assert await by_key(store) == before


async def test_a_row_that_a_worker_writes_in_the_last_moment_stays_as_the_worker_wrote_it(
    store: DynamoDbLeaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = await hand_of(store)
    overwrite = store.overwrite

    async def overwrite_late(rows: Iterable[Row]) -> frozenset[RowKey]:
        await take(store, shard_key(CLICKS, A), OWNER)
        return await overwrite(list(rows))

    monkeypatch.setattr(store, "overwrite", overwrite_late)
    with pytest.raises(InUse, match=r"not everything was changed.*shardId-000000000000"):
        await hand.start_over(CLICKS, Latest())
    row = (await by_key(store))[shard_key(CLICKS, A)]
    assert (row.owner, row.checkpoint) == (OWNER, AFTER_5)


async def test_a_renamed_mapping_has_everything_of_the_old_name(store: DynamoDbLeaseStore) -> None:
    old, new = CLICKS.mapping, MappingName("page_clicks")
    await store.create(
        [
            Row(key=RowKey(":pause/clicks")),
            Row(key=RowKey(":pause/users")),
            Row(key=start_key(EARLIER), details={"position": "TRIM_HORIZON"}),
        ]
    )
    before = await by_key(store)
    hand = await hand_of(store)
    assert not hand.is_mixed(old, new)
    assert await hand.rename(old, new) == Copied(positions=3, starting_positions=1, is_paused=True)
    moved = {
        shard_key(CLICKS, A): f"page_clicks/{CLICKS.stream_arn}/{A}",
        shard_key(CLICKS, B): f"page_clicks/{CLICKS.stream_arn}/{B}",
        shard_key(EARLIER, A): f"page_clicks/{EARLIER.stream_arn}/{A}",
        begun_key(CLICKS): f":begun/page_clicks/{CLICKS.stream_arn}",
        begun_key(EARLIER): f":begun/page_clicks/{EARLIER.stream_arn}",
        start_key(EARLIER): f":start/page_clicks/{EARLIER.stream_arn}",
        RowKey(":pause/clicks"): ":pause/page_clicks",
    }
    expected = [replace(row, key=RowKey(moved.get(key, key))) for key, row in before.items()]
    assert await by_key(store) == {row.key: row for row in expected}


async def test_a_rename_never_mixes_the_positions_of_two_mappings(store: DynamoDbLeaseStore) -> None:
    hand = await hand_of(store)
    for name in (USERS.mapping, CLICKS.mapping):
        with pytest.raises(AssertionError, match="would be mixed"):
            await hand.rename(CLICKS.mapping, name)
    for other in (replace(ROWS[0], counter=41), replace(ROWS[0], checkpoint=AT_END)):
        copy = replace(other, key=shard_key(CLICKS._replace(mapping=MappingName("new")), A))
        await store.create([copy])
        assert (await hand_of(store)).is_mixed(CLICKS.mapping, MappingName("new"))
        await store.delete([copy])
    assert not (await hand_of(store)).is_mixed(CLICKS.mapping, MappingName("new"))


async def test_a_rename_that_ends_at_any_moment_is_completed_by_the_same_command() -> None:
    old, new = CLICKS.mapping, MappingName("new")
    moved = [row for row in ROWS if "clicks/arn" in row.key]
    copies = [replace(row, key=RowKey(row.key.replace("clicks/", "new/", 1))) for row in moved]
    copies[0] = replace(copies[0], counter=42, token=41)  # its owner was dead
    for writes in range(2 * len(moved)):
        service = FakeDynamoDb()
        store = await in_new_table(service)
        await store.create(ROWS)
        await take(store, shard_key(CLICKS, A), OWNER)
        hand = await hand_of(store)
        await hand.refuse_while_read(old, new)
        creations = min(writes, len(moved))
        service.faults.script("PutItem", *[Fault.NONE] * creations, *[Fault.UNREACHABLE] * 100)
        service.faults.script("DeleteItem", *[Fault.NONE] * (writes - creations), *[Fault.UNREACHABLE] * 100)
        with pytest.raises(Unreachable):
            await hand.rename(old, new)
        service.faults = FaultPlan()
        hand = await hand_of(store)
        await hand.refuse_while_read(old, new)
        assert not hand.is_mixed(old, new)
        await hand.rename(old, new)
        assert await by_key(store) == without(ROWS, *(row.key for row in moved)) | {row.key: row for row in copies}


async def test_the_rows_of_mappings_are_adopted_from_another_state_without_their_owners() -> None:
    store = await in_new_table(FakeDynamoDb())
    others = [Row(key=RowKey(f":worker/{OWNER}"), owner=OWNER), Row(key=RowKey(":unit/count/0"))]
    owned = replace(ROWS[0], owner=OWNER)
    rows = [owned, *ROWS[1:], *others, Row(key=RowKey(":pause/clicks"))]
    for _ in range(2):
        hand = await hand_of(store)
        assert not hand.has_others(rows)
        assert await hand.adopt(rows) == Copied(positions=4, starting_positions=0, is_paused=True)
        expected = [replace(ROWS[0], counter=41), *ROWS[1:-1], Row(key=RowKey(":pause/clicks"))]
        assert await by_key(store) == without(expected)
    assert hand.has_others(rows[1:])
    await store.create(others)
    assert not (await hand_of(store)).has_others(rows), "units and workers are no positions"


FROM_KCL = [
    Row(key=shard_key(CLICKS, A), counter=90, owner=OWNER, token=88, checkpoint=AT_END),
    Row(key=shard_key(CLICKS, B), counter=4, token=3, checkpoint=AFTER_5),
    Row(key=shard_key(CLICKS, ShardId("new")), counter=2, checkpoint=AFTER_5),
]
BEFORE = [
    *ROWS,
    Row(key=kcl_key(CLICKS), details={"table": "my-application"}),
    Row(key=shard_key(CLICKS, ShardId("old")), counter=5, checkpoint=AFTER_5),
]


async def test_a_mapping_goes_on_where_its_table_of_kcl_stands_and_its_counters_go_on() -> None:
    store = await in_new_table(FakeDynamoDb())
    await store.create(BEFORE)
    assert await (await hand_of(store)).take_back(CLICKS, FROM_KCL, table="my-application") == 3
    gone = (shard_key(CLICKS, ShardId("old")), kcl_key(CLICKS))
    a = replace(FROM_KCL[0], counter=91, owner=None)
    b = replace(FROM_KCL[1], counter=8)  # the next token is larger than all that the state had
    assert await by_key(store) == without(BEFORE, *gone) | {row.key: row for row in (a, b, FROM_KCL[2])}


async def test_a_copy_from_a_table_of_kcl_that_ends_at_any_moment_is_completed_by_the_same_call() -> None:
    for operation, calls in [("DeleteItem", 0), ("DeleteItem", 1), ("PutItem", 0), ("PutItem", 2), ("DeleteItem", 2)]:
        service = FakeDynamoDb()
        store = await in_new_table(service)
        await store.create([row for row in BEFORE if row.key != begun_key(CLICKS)])
        service.faults.script(operation, *[Fault.NONE] * calls, *[Fault.UNREACHABLE] * 100)
        with pytest.raises(Unreachable):
            await (await hand_of(store)).take_back(CLICKS, FROM_KCL, table="my-application")
        assert kcl_key(CLICKS) in await by_key(store), "the mapping does not begin"
        service.faults = FaultPlan()
        await (await hand_of(store)).take_back(CLICKS, FROM_KCL, table="my-application")
        rows = await by_key(store)
        assert begun_key(CLICKS) in rows
        assert kcl_key(CLICKS) not in rows
        counters = {str(row.key)[-3:]: row.counter for row in rows.values() if row.key.startswith(prefix_of(CLICKS))}
        assert counters.pop("001") >= 8
        assert counters.pop("000") >= 91
        assert counters == {"new": counters["new"]}
        found = {row.key: row.checkpoint for row in rows.values() if row.key.startswith(prefix_of(CLICKS))}
        assert found == {row.key: row.checkpoint for row in FROM_KCL}


async def test_positions_that_have_moved_on_since_the_copy_are_not_replaced_by_a_second_copy() -> None:
    store = await in_new_table(FakeDynamoDb())
    await store.create(BEFORE)
    await (await hand_of(store)).take_back(CLICKS, FROM_KCL, table="my-application")
    hand, before = await hand_of(store), await by_key(store)
    assert hand.goes_on(CLICKS)
    with pytest.raises(AssertionError, match="would move back"):
        await hand.take_back(CLICKS, FROM_KCL, table="my-application")
    assert await by_key(store) == before
    await hand.start_over(CLICKS, TrimHorizon())
    assert not (await hand_of(store)).goes_on(CLICKS), "a reset mapping has no positions"


async def test_a_mapping_that_the_state_has_never_had_does_not_begin_in_the_middle_of_a_copy() -> None:
    service = FakeDynamoDb()
    store = await in_new_table(service)
    service.faults.script("PutItem", *[Fault.NONE] * 3, *[Fault.UNREACHABLE] * 100)
    with pytest.raises(Unreachable):
        await (await hand_of(store)).take_back(CLICKS, FROM_KCL, table="my-application")
    rows = await by_key(store)
    assert len(rows) == 3
    assert rows[kcl_key(CLICKS)].details == {"table": "my-application"}
    service.faults = FaultPlan()
    hand = await hand_of(store)
    assert not hand.goes_on(CLICKS)
    await hand.take_back(CLICKS, FROM_KCL, table="my-application")
    assert (await by_key(store)).keys() == {*(row.key for row in FROM_KCL), begun_key(CLICKS)}


async def test_a_mapping_that_starts_over_does_not_need_its_table_of_kcl_any_more() -> None:
    store = await in_new_table(FakeDynamoDb())
    await store.create(BEFORE)
    await (await hand_of(store)).start_over(CLICKS, TrimHorizon())
    assert kcl_key(CLICKS) not in await by_key(store)


async def test_the_positions_of_the_state_replace_those_in_a_table_of_kcl() -> None:
    """A change in a table of another form is in tests/contracts/test_kcl_table.py."""
    store, table = await in_new_table(FakeDynamoDb()), await in_new_table(FakeDynamoDb())
    await store.create(ROWS)
    await table.create(FROM_KCL)
    hand = await hand_of(store)
    assert hand.has_begun(CLICKS)
    assert await hand.copy_into(table, CLICKS) == 2
    assert await by_key(store) == {row.key: row for row in ROWS}, "the state stays as it is"
    a, b = (await by_key(table)).values()
    assert (a.checkpoint, b.checkpoint) == (AFTER_5, AT_END)
    assert (a.counter, a.owner) == (91, None), "the next token is larger than all that the table had"
    await hand.use_table(CLICKS, table="my-application")
    assert not (await hand_of(store)).has_begun(CLICKS)
    assert not (await hand_of(store)).goes_on(CLICKS)


async def test_a_copy_into_a_table_of_kcl_that_ends_at_any_moment_is_completed_by_the_same_call() -> None:
    for operation, calls in [("DeleteItem", 0), ("PutItem", 0), ("PutItem", 1)]:
        service = FakeDynamoDb()
        store, table = await in_new_table(FakeDynamoDb()), await in_new_table(service)
        await store.create(ROWS)
        await table.create(FROM_KCL)
        service.faults.script(operation, *[Fault.NONE] * calls, *[Fault.UNREACHABLE] * 100)
        with pytest.raises(Unreachable):
            await (await hand_of(store)).copy_into(table, CLICKS)
        service.faults = FaultPlan()
        hand = await hand_of(store)
        assert hand.has_begun(CLICKS), "the mapping does not begin in the table"
        await hand.copy_into(table, CLICKS)
        assert [row.checkpoint for row in (await by_key(table)).values()] == [AFTER_5, AT_END]


async def test_a_copy_into_a_table_of_kcl_that_ends_in_the_middle_leaves_no_child_without_its_parent() -> None:
    """A parent without a lease whose child has one would count as drained."""
    service = FakeDynamoDb()
    store, table = await in_new_table(FakeDynamoDb()), await in_new_table(service)
    child = Row(key=shard_key(CLICKS, A), checkpoint=AFTER_5, details={"parents": [B]})
    await store.create([child, Row(key=shard_key(CLICKS, B), checkpoint=AFTER_5), Row(key=begun_key(CLICKS))])
    service.faults.script("PutItem", Fault.NONE, *[Fault.UNREACHABLE] * 100)
    with pytest.raises(Unreachable):
        await (await hand_of(store)).copy_into(table, CLICKS)
    service.faults = FaultPlan()
    assert (await by_key(table)).keys() == {shard_key(CLICKS, B)}


async def test_a_mapping_with_an_empty_table_of_kcl_starts_over_there_and_not_at_older_positions_of_the_state() -> None:
    store = await in_new_table(FakeDynamoDb())
    await store.create(ROWS)
    await (await hand_of(store)).start_over(CLICKS, TrimHorizon(), kcl_table="my-application")
    rows = await by_key(store)
    assert begun_key(CLICKS) not in rows
    assert rows[start_key(CLICKS)].details == {"position": "TRIM_HORIZON"}
    assert rows[kcl_key(CLICKS)].details == {"table": "my-application"}


async def test_a_change_that_the_table_refuses_is_an_error(service: FakeDynamoDb, store: DynamoDbLeaseStore) -> None:
    hand = await hand_of(store)
    service.hot_keys.add(shard_key(CLICKS, A))
    with pytest.raises(Throttled):
        await hand.move_shard(CLICKS, A, TrimHorizon())


async def test_the_file_can_be_shown_while_a_worker_uses_it_and_the_person_who_changes_it_is_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poller.stores.ownership.PATIENCE_IN_SECONDS", 0.0)
    path = tmp_path / "poller.db"
    async with SqliteLeaseStore(path) as file:
        await file.create(ROWS)
        assert stored(path) == grouped(ROWS)
    async with SqliteLeaseStore(path, stays_alone=True) as file:
        with pytest.raises(InUse):
            async with SqliteLeaseStore(path):
                raise AssertionError("the person has the file")
        hand = Hand(file, await file.scan(), tell=lambda _: None)
        await hand.refuse_while_read(CLICKS.mapping)
        await hand.start_over(CLICKS, Latest())
    assert stored(path)[CLICKS].starting_position == Latest()
    assert stored(path)[CLICKS].checkpoints == {}
    async with SqliteLeaseStore(path), SqliteLeaseStore(path, stays_alone=True), SqliteLeaseStore(path):
        assert stored(path).keys() == {CLICKS, EARLIER, USERS}
