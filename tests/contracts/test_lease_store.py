"""What must every store of leases do? See ports.LeaseStore."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from uuid import uuid4

import anyio
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.aws.clients import Aws, AwsSettings
from poller.model.lease import Detail, Owner, Row, RowKey
from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Checkpoint,
    Latest,
    Position,
    SequenceNumber,
    ShardEnd,
    TrimHorizon,
    Window,
)
from poller.ports import LeaseStore
from poller.stores.dynamodb_items import Client, Items
from poller.stores.dynamodb_leases import DynamoDbLeaseStore
from poller.stores.dynamodb_table import made_ready
from poller.stores.memory_leases import MemoryLeaseStore
from poller.stores.notation import CheckpointMovedBack
from poller.stores.routed_leases import RoutedLeaseStore
from poller.stores.sqlite_leases import SqliteLeaseStore
from tests.fakes.dynamodb import FakeDynamoDb
from tests.fakes.lease_store import FakeLeaseTable

pytestmark = pytest.mark.anyio

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
BEGUN = RowKey(f":begun/clicks/{STREAM}")
A, B, C = (RowKey(f"clicks/{STREAM}/shardId-00000000000{number}") for number in range(3))
ME, OTHER = Owner(f"blue-1/{'0' * 32}"), Owner(f"blue-2/{'1' * 32}")


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[LeaseStore]:
    if kind == "memory":
        yield MemoryLeaseStore()
    elif kind == "routed":
        routed = RoutedLeaseStore(MemoryLeaseStore())
        routed.route(f"clicks/{STREAM}/", MemoryLeaseStore())
        yield routed
    elif kind == "fake":
        yield FakeLeaseTable().store("me")
    elif kind == "dynamodb":
        yield await in_new_table(FakeDynamoDb())
    else:
        async with SqliteLeaseStore(folder / "poller.db") as store:
            yield store


async def in_new_table(client: Client) -> DynamoDbLeaseStore:
    table = f"contract-{uuid4().hex}"
    await made_ready(client, table, option="daemon.state")
    return DynamoDbLeaseStore(Items(client, table=table, randomness=Random(0)))


LOCAL = ["memory", "fake", "sqlite", "dynamodb", "routed"]

IMPLEMENTATIONS = [
    *(f"{kind} on {backend}" for kind in LOCAL for backend in ("asyncio", "trio")),
    *(pytest.param(f"dynamodb of {emulator}", marks=pytest.mark.slow) for emulator in ("ministack", "moto")),
]


@pytest.fixture(params=IMPLEMENTATIONS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def anyio_backend(kind: str) -> str:
    return "trio" if kind.endswith("trio") else "asyncio"


@pytest.fixture
async def store(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, anyio_backend: str
) -> AsyncIterator[LeaseStore]:
    name, how, where = kind.split(" ")
    if how == "on":
        async with opened(name, tmp_path) as store:
            yield store
        return
    endpoint_url = request.getfixturevalue(where)
    request.getfixturevalue("account")
    async with Aws(AwsSettings(region="eu-west-1", endpoint_url=endpoint_url)) as aws:
        yield await in_new_table(await aws.json_client("dynamodb"))


def following(row: Row, **changes: object) -> Row:
    """Return the row that a worker writes after it has read this one."""
    return replace(row, counter=row.counter + 1, **changes)  # type: ignore[arg-type]


def after(number: int | str, window: Window | None = None) -> Checkpoint:
    return Checkpoint(AfterSequence(SequenceNumber(str(number))), window)


async def all_rows(store: LeaseStore) -> dict[RowKey, Row]:
    rows = await store.scan()
    by_key = {row.key: row for row in rows}
    assert len(by_key) == len(rows), "a scan returns a row once"
    return by_key


async def stored(store: LeaseStore, key: RowKey) -> Row | None:
    return (await store.read([key])).get(key)


async def test_at_first_there_is_no_row(store: LeaseStore) -> None:
    assert await store.scan() == []
    assert await store.read([A, B]) == {}


async def test_a_call_without_rows_changes_nothing(store: LeaseStore) -> None:
    assert await store.read([]) == {}
    for write in (store.create, store.update, store.delete):
        assert await write([]) == frozenset()
    assert await store.scan() == []


async def test_created_rows_are_scanned_and_read(store: LeaseStore) -> None:
    first, second = Row(key=A, checkpoint=Checkpoint(TrimHorizon())), Row(key=B, owner=ME, token=1)
    assert await store.create([first, second]) == frozenset()
    assert await all_rows(store) == {A: first, B: second}
    assert await store.read([B, C]) == {B: second}


async def test_a_row_that_exists_is_not_created_again(store: LeaseStore) -> None:
    await store.create([Row(key=A, owner=OTHER, token=1)])
    assert await store.create([Row(key=A, owner=ME, token=1), Row(key=B)]) == {A}
    assert await all_rows(store) == {A: Row(key=A, owner=OTHER, token=1), B: Row(key=B)}


async def test_groups_of_rows_are_created_by_one_call(store: LeaseStore) -> None:
    parent, child, begun = Row(key=A, checkpoint=after(1)), Row(key=B), Row(key=BEGUN)
    assert await store.create([parent], [], [child], [begun]) == frozenset()
    assert await all_rows(store) == {A: parent, B: child, BEGUN: begun}
    assert await store.create() == frozenset()


async def test_no_group_is_created_after_one_with_a_row_that_exists(store: LeaseStore) -> None:
    await store.create([Row(key=B, owner=OTHER, token=1)])
    assert await store.create([Row(key=A)], [Row(key=B), Row(key=C)], [Row(key=BEGUN)]) == {B}
    assert await all_rows(store) == {A: Row(key=A), B: Row(key=B, owner=OTHER, token=1), C: Row(key=C)}
    assert await store.create([Row(key=BEGUN)]) == frozenset()
    assert await store.create([Row(key=BEGUN)], [Row(key=A)], [Row(key=B)]) == {BEGUN}


async def test_a_group_is_seen_only_after_the_groups_before_it(store: LeaseStore) -> None:
    groups = [[Row(key=key) for key in keys(60)[first : first + 20]] for first in (0, 20, 40)]
    seen: list[list[int]] = []
    is_done = False

    async def look() -> None:
        while not is_done:
            rows = await store.read([row.key for group in groups for row in group])
            seen.append([sum(row.key in rows for row in group) for group in groups])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        await store.create(*groups)
        is_done = True
    for first, second, third in [*seen, [20, 20, 20]]:
        assert first == 20 or second == 0
        assert second == 20 or third == 0


@pytest.mark.parametrize("passes", range(12))
async def test_a_cancelled_create_stores_no_group_without_the_groups_before_it(store: LeaseStore, passes: int) -> None:
    """The call is cancelled after `passes` turns of the event loop. A later call shows what was stored."""
    groups = [[Row(key=A), Row(key=B)], [Row(key=C)], [Row(key=BEGUN)]]
    async with anyio.create_task_group() as writers:
        writers.start_soon(store.create, *groups)
        for _ in range(passes):
            await anyio.lowlevel.checkpoint()
        writers.cancel_scope.cancel()
    seen = await store.read([A, B, C, BEGUN])
    assert seen.keys() >= {A, B} or C not in seen
    assert C in seen or BEGUN not in seen


async def test_a_row_is_replaced_as_a_whole_by_a_worker_that_has_read_its_counter(store: LeaseStore) -> None:
    row = Row(key=A, owner=ME, token=1, checkpoint=after(1), details={"blocked": {"attempts": 3}})
    await store.create([row])
    row = following(row, owner=OTHER, token=2, checkpoint=after(2), details={"since": 7})
    assert await store.update([row]) == frozenset()
    assert await all_rows(store) == {A: row}
    row = following(row, owner=None)
    assert await store.update([row]) == frozenset()
    assert await stored(store, A) == row


async def test_a_row_is_not_replaced_by_a_worker_that_has_read_another_counter(store: LeaseStore) -> None:
    row = Row(key=A, counter=1, owner=ME, token=1, checkpoint=after(5))
    await store.create([row])
    await store.update([row := following(row)])
    await store.update([row := following(row)])
    for counter in (1, 2, 3, 5, 6):
        for checkpoint in (after(4), after(5), after(6), None):
            new = replace(row, counter=counter, owner=OTHER, checkpoint=checkpoint)
            assert await store.update([new]) == {A}, new
        assert await stored(store, A) == row


async def test_a_row_that_does_not_exist_is_not_replaced(store: LeaseStore) -> None:
    for counter in (1, 2):
        assert await store.update([Row(key=A, counter=counter)]) == {A}
    assert await store.scan() == []


async def test_a_row_is_deleted_by_a_worker_that_has_read_its_counter(store: LeaseStore) -> None:
    await store.create([Row(key=A), Row(key=B)])
    await store.update([Row(key=A, counter=2)])
    for counter in (1, 3):
        assert await store.delete([Row(key=A, counter=counter)]) == {A}
    assert await store.delete([Row(key=A, counter=2)]) == frozenset()
    assert await all_rows(store) == {B: Row(key=B)}


async def test_a_row_that_does_not_exist_counts_as_deleted(store: LeaseStore) -> None:
    await store.create([Row(key=A)])
    for _ in range(2):
        assert await store.delete([Row(key=A), Row(key=B)]) == frozenset()


async def test_a_deleted_row_may_be_created_again(store: LeaseStore) -> None:
    await store.create([Row(key=A, checkpoint=after(5))])
    await store.delete([Row(key=A)])
    assert await store.create([Row(key=A, checkpoint=Checkpoint(TrimHorizon()))]) == frozenset()
    assert await stored(store, A) == Row(key=A, checkpoint=Checkpoint(TrimHorizon()))


async def test_the_store_decides_about_each_row_of_a_call_alone(store: LeaseStore) -> None:
    rows = {key: Row(key=key, owner=ME, token=1) for key in keys(120)}
    await store.create(rows.values())
    others = {key: following(rows[key], owner=OTHER, token=2) for key in list(rows)[::3]}
    assert await store.update(others.values()) == frozenset()
    renewed = {key: following(row) for key, row in rows.items()}
    assert await store.update(renewed.values()) == frozenset(others)
    assert await all_rows(store) == renewed | others
    await store.update([following(row) for row in others.values()])
    assert await store.delete((renewed | others).values()) == frozenset(others)
    assert await all_rows(store) == {key: following(row) for key, row in others.items()}


async def test_many_rows_are_read_by_one_call(store: LeaseStore) -> None:
    rows = {key: Row(key=key) for key in keys(250)}
    await store.create(rows.values())
    assert await store.read([*rows, A, A]) == rows
    assert await all_rows(store) == rows


async def test_exactly_one_of_several_writers_that_have_read_the_same_counter_wins(store: LeaseStore) -> None:
    row = Row(key=A)
    await store.create([row])
    for _ in range(10):
        winners: list[Owner] = []

        async def write(owner: Owner, row: Row = row, winners: list[Owner] = winners) -> None:
            if not await store.update([following(row, owner=owner, token=row.counter + 1)]):
                winners.append(owner)

        async with anyio.create_task_group() as writers:
            for number in range(8):
                writers.start_soon(write, Owner(f"worker-{number}/{number:032x}"))
        (winner,) = winners
        row = following(row, owner=winner, token=row.counter + 1)
        assert await stored(store, A) == row


async def test_exactly_one_of_several_writers_that_create_a_row_wins(store: LeaseStore) -> None:
    winners: list[Owner] = []

    async def create(owner: Owner) -> None:
        if not await store.create([Row(key=A, owner=owner, token=1)]):
            winners.append(owner)

    async with anyio.create_task_group() as writers:
        for number in range(8):
            writers.start_soon(create, Owner(f"worker-{number}/{number:032x}"))
    (winner,) = winners
    assert await stored(store, A) == Row(key=A, owner=winner, token=1)


async def test_each_of_several_simultaneous_writers_learns_which_of_its_own_rows_were_rejected(
    store: LeaseStore,
) -> None:
    rows = [Row(key=key) for key in keys(40)]
    await store.create(rows)
    await store.update([following(row, owner=OTHER, token=2) for row in rows[::3]])
    rejected: set[RowKey] = set()

    async def renew(pair: list[Row]) -> None:
        answer = await store.update([following(row, owner=ME, token=2) for row in pair])
        assert answer <= {row.key for row in pair}
        rejected.update(answer)

    async with anyio.create_task_group() as writers:
        for first in range(0, 40, 2):
            writers.start_soon(renew, rows[first : first + 2])
    assert rejected == {row.key for row in rows[::3]}
    for key, row in (await all_rows(store)).items():
        assert row == Row(key=key, counter=2, token=2, owner=OTHER if key in rejected else ME)


async def test_details_that_the_program_does_not_know_are_kept(store: LeaseStore) -> None:
    details: dict[str, Detail] = {
        "from a later version": [1, -2.5, True, None, "∑'\"\\ \x01", {"deep": [[], {}]}],
        "": "",
        "offers": [A, B],
    }
    row = Row(key=RowKey(f":worker/{ME}"), owner=ME, token=1, details=details)
    await store.create([row])
    assert (await all_rows(store))[row.key] == row
    await store.update([row := following(row)])
    assert await stored(store, row.key) == row


async def test_a_worker_row_with_many_messages_is_stored(store: LeaseStore) -> None:
    requests: list[Detail] = [[f"{A}-{number}", f"{OTHER}-{number}"] for number in range(100)]
    row = Row(key=RowKey(f":worker/{ME}"), owner=ME, details={"requests": requests, "offers": [A] * 100})
    await store.create([row])
    assert await stored(store, row.key) == row


async def test_a_later_change_of_written_or_read_details_does_not_change_the_store(store: LeaseStore) -> None:
    offers: list[Detail] = [A]
    await store.create([Row(key=B, details={"offers": offers})])
    offers.append(C)
    assert await stored(store, B) == Row(key=B, details={"offers": [A]})


async def test_a_window_is_stored_and_removed_with_its_position(store: LeaseStore) -> None:
    window = Window(start=1_767_225_600, end=1_767_225_660, state='{"sum": "∑\\u0000\\ud800 \'\\""}'.encode())
    row = Row(key=A, checkpoint=after(1, window))
    await store.create([row])
    assert await stored(store, A) == row
    await store.update([row := following(row, checkpoint=after(1))])
    assert await stored(store, A) == row


CLIMB: list[Position] = [
    TrimHorizon(),
    AtTimestamp(0.0),
    AtTimestamp(999.5),
    AtTimestamp(1767225600.25),
    AtSequence(SequenceNumber("0")),
    AfterSequence(SequenceNumber("0")),
    AfterSequence(SequenceNumber("009")),
    AtSequence(SequenceNumber("10")),
    AfterSequence(SequenceNumber("99")),
    AfterSequence(SequenceNumber("49601189658422359378836298521827638475320189012309704722")),
    AfterSequence(SequenceNumber("149601189658422359378836298521827638475320189012309704722")),
    ShardEnd(),
]


async def test_a_checkpoint_moves_on_from_any_position_to_any_later_one(store: LeaseStore) -> None:
    pairs = itertools.combinations_with_replacement(CLIMB, 2)
    rows = {
        key: (Row(key=key, checkpoint=Checkpoint(earlier)), Checkpoint(later))
        for key, (earlier, later) in zip(keys(100), pairs, strict=False)
    }
    await store.create([row for row, _ in rows.values()])
    assert await store.update([following(row, checkpoint=later) for row, later in rows.values()]) == frozenset()
    assert {key: row.checkpoint for key, row in (await all_rows(store)).items()} == {
        key: later for key, (_, later) in rows.items()
    }


async def test_a_checkpoint_never_moves_back_from_any_position_to_any_earlier_one(store: LeaseStore) -> None:
    for key, (earlier, later) in zip(keys(100), itertools.combinations(CLIMB, 2), strict=False):
        row = Row(key=key, checkpoint=Checkpoint(later))
        await store.create([row])
        with pytest.raises(CheckpointMovedBack, match=key):
            await store.update([following(row, checkpoint=Checkpoint(earlier))])
        assert await stored(store, key) == row


async def test_a_checkpoint_is_never_removed(store: LeaseStore) -> None:
    row = Row(key=A, checkpoint=Checkpoint(TrimHorizon()))
    await store.create([row])
    with pytest.raises(CheckpointMovedBack, match="must not be removed"):
        await store.update([following(row, checkpoint=None)])
    assert await stored(store, A) == row


async def test_a_rejected_row_is_not_a_checkpoint_that_moves_back(store: LeaseStore) -> None:
    row = Row(key=A, checkpoint=after(1))
    await store.create([row])
    await store.update([newer := following(row, owner=OTHER, checkpoint=after(9))])
    assert await store.update([following(row, owner=ME, checkpoint=after(5))]) == {A}
    assert await stored(store, A) == newer


async def test_a_row_that_would_move_back_harms_no_other_writer(store: LeaseStore) -> None:
    rows = [Row(key=key, checkpoint=after(1000)) for key in keys(20)]
    await store.create(rows)
    refused: list[int] = []

    async def save(number: int) -> None:
        new = after(999 if number == 7 else 1001)
        try:
            assert await store.update([following(rows[number], checkpoint=new)]) == frozenset()
        except CheckpointMovedBack:
            refused.append(number)

    async with anyio.create_task_group() as writers:
        for number in range(20):
            writers.start_soon(save, number)
    assert refused == [7]
    assert {key: row.checkpoint for key, row in (await all_rows(store)).items()} == {
        row.key: after(1000 if number == 7 else 1001) for number, row in enumerate(rows)
    }


async def test_latest_is_never_stored(store: LeaseStore) -> None:
    with pytest.raises(AssertionError, match="LATEST"):
        await store.create([Row(key=A, checkpoint=Checkpoint(Latest()))])
    assert await store.scan() == []


async def test_a_row_that_was_lost_is_created_again_with_its_owner_its_token_and_a_larger_counter(
    store: LeaseStore,
) -> None:
    row = Row(key=A, counter=1_000_007, owner=ME, token=5, checkpoint=after(1))
    assert await store.create([row]) == frozenset()
    assert await store.scan() == [row]
    assert await store.update([following(row, checkpoint=after(2))]) == frozenset()


@pytest.mark.parametrize("passes", range(8))
async def test_a_cancelled_update_writes_each_row_wholly_or_not_at_all(store: LeaseStore, passes: int) -> None:
    """The update is cancelled after `passes` turns of the event loop. A later read shows what was stored."""
    rows = [Row(key=key, checkpoint=after(1)) for key in (A, B)]
    await store.create(rows)
    new = [following(row, owner=ME, token=2, checkpoint=after(2)) for row in rows]
    async with anyio.create_task_group() as writers:
        writers.start_soon(store.update, new)
        for _ in range(passes):
            await anyio.lowlevel.checkpoint()
        writers.cancel_scope.cancel()
    seen = await store.read([A, B])
    for before, wanted in zip(rows, new, strict=True):
        assert seen[before.key] in (before, wanted)
    assert await store.update([following(row, checkpoint=after(3)) for row in seen.values()]) == frozenset()
    assert {row.checkpoint for row in await store.scan()} == {after(3)}


def keys(number: int) -> list[RowKey]:
    return [RowKey(f"clicks/{STREAM}/shardId-{each:012}") for each in range(number)]


numbers: st.SearchStrategy[SequenceNumber] = st.from_regex(r"0{0,3}[0-9]{1,60}", fullmatch=True).map(SequenceNumber)
positions: st.SearchStrategy[Position] = st.one_of(
    st.just(TrimHorizon()),
    st.just(ShardEnd()),
    st.floats(min_value=0, max_value=1e11).map(AtTimestamp),
    numbers.map(AtSequence),
    numbers.map(AfterSequence),
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)
epochs = st.integers(min_value=0, max_value=2**37)
windows = st.none() | st.builds(Window, start=epochs, end=epochs, state=json_values.map(orjson.dumps))
some_rows = st.lists(
    st.builds(
        Row,
        key=texts.map(RowKey),
        owner=st.none() | texts.map(Owner),
        token=st.integers(0, 2**60),
        checkpoint=st.none() | st.builds(Checkpoint, positions, windows),
        details=st.dictionaries(texts, json_values, max_size=3),
    ),
    max_size=4,
    unique_by=lambda row: row.key,
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "fake", "dynamodb"])
@settings(deadline=None)
@given(rows=some_rows)
def test_every_row_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, kind: str, rows: list[Row]
) -> None:
    async def there_and_back() -> None:
        async with opened(kind, Path()) as store:
            assert await store.create(rows) == frozenset()
            assert await all_rows(store) == {row.key: row for row in rows}
            renewed = [following(row) for row in rows]
            assert await store.update(renewed) == frozenset()
            assert await store.read([row.key for row in rows]) == {row.key: row for row in renewed}
            assert await store.delete(renewed) == frozenset()
            assert await store.scan() == []

    asyncio.run(there_and_back())
