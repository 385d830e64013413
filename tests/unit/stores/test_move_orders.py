"""Does a daemon move the positions of a paused mapping as the command does, and only those that the person has seen?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from trio.testing import MockClock

from poller.errors import CannotChange, InUse
from poller.model.ids import MappingName
from poller.model.lease import Owner, Row, RowKey, begun_key, shard_key
from poller.model.move import MoveOrder
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber, ShardId, StateKey, Window
from poller.stores.lease_by_hand import Hand, grouped
from poller.stores.memory_leases import MemoryLeaseStore
from poller.stores.move_orders import POSITIONS_TOLD, SHARDS_LISTED, listed, ordered

pytestmark = pytest.mark.anyio

CLICKS = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
USERS = StateKey(MappingName("users"), "arn:aws:kinesis:eu-west-1:123456789012:stream/users")
A, B = ShardId("shardId-000000000000"), ShardId("shardId-000000000001")
OWNER = Owner(f"blue-1/{'0' * 32}")
NOW = 1_770_000_000.5


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def after(number: str, window: Window | None = None) -> Checkpoint:
    return Checkpoint(AfterSequence(SequenceNumber(number)), window)


def shard(state: StateKey, shard_id: ShardId, checkpoint: Checkpoint | None, **more: Any) -> Row:
    return Row(key=shard_key(state, shard_id), counter=9, token=7, checkpoint=checkpoint, **more)


ROWS = [
    shard(CLICKS, A, after("5"), details={"saved_at": 1_700_000_000}),
    shard(CLICKS, B, after("7", Window(0, 60, b"{}"))),
    shard(USERS, A, after("3")),
    Row(key=begun_key(CLICKS)),
    Row(key=RowKey(":pause/clicks")),
]


@pytest.fixture
async def store() -> MemoryLeaseStore:
    store = MemoryLeaseStore()
    await store.create(ROWS)
    return store


async def hand_of(store: MemoryLeaseStore) -> Hand:
    return Hand(store, await store.scan(), tell=lambda _: None, now=lambda: NOW)


async def words(store: MemoryLeaseStore, key: StateKey = CLICKS) -> list[str | None]:
    return [shard.position for shard in listed(await store.scan(), key).shards]


async def test_a_shard_moves_and_the_answer_says_what_was_before_and_what_it_means(store: MemoryLeaseStore) -> None:
    order = MoveOrder("4", A, is_after=True)
    moved = await ordered(await hand_of(store), CLICKS, order, now=NOW)
    assert (moved.shard_id, moved.before, moved.position) == (A, f"{A} after 5", "after 4")
    assert moved.effect == "The function gets the records in between again, as far as the stream still has them."
    assert await words(store) == ["after 4", "after 7"]


async def test_a_mapping_moves_with_all_its_shards_and_other_mappings_stay(store: MemoryLeaseStore) -> None:
    moved = await ordered(await hand_of(store), CLICKS, MoveOrder("TRIM_HORIZON"), now=NOW)
    assert (moved.shard_id, moved.before) == (None, f"{A} after 5; {B} after 7")
    assert "every record that the stream still has" in moved.effect
    assert "Open windows are lost" in moved.effect
    assert await words(store) == [None, None]
    assert listed(await store.scan(), CLICKS).set_by_hand == moved.position
    assert await words(store, USERS) == ["after 3"]


async def test_a_sequence_number_moves_the_only_shard_of_a_mapping(store: MemoryLeaseStore) -> None:
    await store.create([Row(key=RowKey(":pause/users"))])
    moved = await ordered(await hand_of(store), USERS, MoveOrder("2", is_after=True), now=NOW)
    assert (moved.shard_id, moved.position) == (A, "after 2")


async def test_an_order_that_only_shows_moves_nothing(store: MemoryLeaseStore) -> None:
    shown = await ordered(await hand_of(store), CLICKS, MoveOrder("LATEST", only_shows=True), now=NOW)
    assert "are skipped" in shown.effect
    assert await store.scan() == ROWS
    made = await ordered(await hand_of(store), CLICKS, MoveOrder("LATEST", version=shown.version), now=NOW)
    assert made == shown


async def test_positions_that_the_person_has_not_seen_are_not_moved(store: MemoryLeaseStore) -> None:
    version = listed(await store.scan(), CLICKS).version
    await store.update([replace(ROWS[2], counter=10)])
    assert listed(await store.scan(), CLICKS).version == version, "another mapping does not count"
    await store.update([replace(ROWS[0], counter=10, checkpoint=after("6"))])
    with pytest.raises(CannotChange, match="the positions have changed since you have seen them"):
        await ordered(await hand_of(store), CLICKS, MoveOrder("TRIM_HORIZON", version=version), now=NOW)
    assert await words(store) == ["after 6", "after 7"]


async def test_a_mapping_that_a_living_worker_reads_is_not_moved(store: MemoryLeaseStore) -> None:
    """The worker writes its row while the person's change waits for a sign of life."""
    owned = replace(ROWS[0], counter=10, owner=OWNER)
    await store.update([owned])
    hand = await hand_of(store)
    await store.update([replace(owned, counter=11)])
    with pytest.raises(InUse, match="the worker blue-1/0000 still finishes what it has in hand of clicks"):
        await ordered(hand, CLICKS, MoveOrder("TRIM_HORIZON"), now=NOW)
    assert await words(store) == ["after 5", "after 7"]


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (MoveOrder("yesterday"), "yesterday is not a position"),
        (MoveOrder("4"), "before AWS had streams"),
        (MoveOrder("4", ShardId("other")), f"clicks has no stored shard other; stored are {A}, {B}"),
        (MoveOrder("LATEST", A), "LATEST applies to a whole mapping, not to one shard"),
        (MoveOrder("LATEST", A, is_after=True), "only a sequence number has a position after it"),
        (MoveOrder("4" * 56), f"so name the shard, too; stored are {A}, {B}"),
        (MoveOrder(str(NOW + 60)), "must not be in the future"),
    ],
)
async def test_a_position_that_cannot_be_used_moves_nothing(
    store: MemoryLeaseStore, order: MoveOrder, why: str
) -> None:
    with pytest.raises(CannotChange) as refused:
        await ordered(await hand_of(store), CLICKS, order, now=NOW)
    assert why in str(refused.value)
    assert await store.scan() == ROWS


async def test_a_mapping_without_positions_gets_a_starting_position() -> None:
    store = MemoryLeaseStore()
    await store.create([Row(key=RowKey(":pause/clicks"))])
    moved = await ordered(await hand_of(store), CLICKS, MoveOrder("TRIM_HORIZON"), now=NOW)
    assert moved.before == "nothing was stored"
    moved = await ordered(await hand_of(store), CLICKS, MoveOrder("LATEST"), now=NOW)
    assert moved.before == "all shards at the oldest record that there is (TRIM_HORIZON)"
    assert grouped(await store.scan())[CLICKS].starting_position is not None


async def test_positions_are_listed_with_their_age_and_their_reader(store: MemoryLeaseStore) -> None:
    await store.update([replace(ROWS[0], counter=10, owner=OWNER)])
    [first, second] = listed(await store.scan(), CLICKS).shards
    assert first == (A, "after 5", 1_700_000_000, "blue-1/0000")
    assert second == (B, "after 7", None, None)


def test_a_list_and_a_log_line_have_an_end() -> None:
    shards = [shard(CLICKS, ShardId(f"shardId-{number:012}"), after("5")) for number in range(SHARDS_LISTED + 2)]
    found = listed(shards, CLICKS)
    assert (len(found.shards), found.shards_stored) == (SHARDS_LISTED, SHARDS_LISTED + 2)
    assert [one.shard_id for one in found.shards[:2]] == [A, B]


@pytest.mark.parametrize(("more", "words"), [(1, "1 more shard"), (2, "2 more shards")])
async def test_the_positions_before_a_move_of_many_shards_are_told_in_part(more: int, words: str) -> None:
    store, numbers = MemoryLeaseStore(), range(POSITIONS_TOLD + more)
    await store.create([shard(CLICKS, ShardId(f"{number:012}"), after("5")) for number in numbers])
    moved = await ordered(await hand_of(store), CLICKS, MoveOrder("LATEST", only_shows=True), now=NOW)
    assert moved.before.endswith(f"000000000002 after 5; {words}")
