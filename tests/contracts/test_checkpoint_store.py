"""What must every store of stream positions do? See ports.CheckpointStore."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import floor
from pathlib import Path
from time import time

import anyio
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.streams.claims import may_store
from poller.model.ids import MappingName
from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Checkpoint,
    Claim,
    Latest,
    Position,
    SequenceNumber,
    ShardEnd,
    ShardId,
    StateKey,
    TrimHorizon,
    Window,
    WriterId,
)
from poller.ports import CheckpointStore
from poller.stores.memory import MemoryStore
from poller.stores.notation import CheckpointMovedBack
from poller.stores.sqlite import SqliteStore
from tests.fakes.saving import load, save

pytestmark = pytest.mark.anyio

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
CLICKS = StateKey(MappingName("clicks"), STREAM)
USERS = StateKey(MappingName("users"), STREAM)
MOVED = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/other")
ME, OTHER = WriterId("me"), WriterId("the other")
A, B = ShardId("shardId-000000000000"), ShardId("shardId-000000000001")


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[CheckpointStore]:
    if kind == "memory":
        yield MemoryStore()
    else:
        async with SqliteStore(folder / "poller.db") as store:
            yield store


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def store(kind: str, tmp_path: Path, anyio_backend: str) -> AsyncIterator[CheckpointStore]:
    async with opened(kind, tmp_path) as store:
        yield store


@pytest.fixture(params=["memory", "sqlite"])
async def shared(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[CheckpointStore]:
    async with opened(request.param, tmp_path) as store:
        yield store


def after(number: int | str, window: Window | None = None) -> Checkpoint:
    return Checkpoint(AfterSequence(SequenceNumber(str(number))), window)


async def test_nothing_is_stored_at_first(store: CheckpointStore) -> None:
    assert await load(store, CLICKS) == {}


async def test_saved_positions_are_loaded_and_each_mapping_has_its_own(store: CheckpointStore) -> None:
    await save(store, CLICKS, {A: after(1), B: Checkpoint(TrimHorizon())})
    await save(store, USERS, {A: after(7)})
    await save(store, CLICKS, {A: after(2)})
    assert await load(store, CLICKS) == {A: after(2), B: Checkpoint(TrimHorizon())}
    assert await load(store, USERS) == {A: after(7)}


async def test_a_mapping_with_another_stream_begins_anew_and_with_the_old_one_has_its_old_positions(
    store: CheckpointStore,
) -> None:
    await save(store, CLICKS, {A: after(5), B: after(5)})
    assert await load(store, MOVED) == {}
    await save(store, MOVED, {A: after(1)})
    await store.forget(MOVED, [B])
    assert await load(store, CLICKS) == {A: after(5), B: after(5)}
    assert await load(store, MOVED) == {A: after(1)}


async def test_at_first_no_starting_position_is_set(store: CheckpointStore) -> None:
    await save(store, CLICKS, {A: after(5)})
    assert await store.starting_position(CLICKS) is None


async def test_a_change_of_loaded_positions_does_not_change_the_store(store: CheckpointStore) -> None:
    await save(store, CLICKS, {A: after(1)})
    (await load(store, CLICKS)).clear()
    assert await load(store, CLICKS) == {A: after(1)}


async def test_an_empty_save_changes_nothing(store: CheckpointStore) -> None:
    await save(store, CLICKS, {})
    await store.forget(CLICKS, [])
    assert await load(store, CLICKS) == {}


async def test_a_forgotten_shard_is_not_loaded_and_may_begin_again(store: CheckpointStore) -> None:
    await save(store, CLICKS, {A: after(5), B: after(5)})
    await save(store, USERS, {A: after(5)})
    await store.forget(CLICKS, [A, ShardId("never seen")])
    assert await load(store, CLICKS) == {B: after(5)}
    await save(store, CLICKS, {A: Checkpoint(TrimHorizon())})
    assert await load(store, CLICKS) == {A: Checkpoint(TrimHorizon()), B: after(5)}
    assert await load(store, USERS) == {A: after(5)}


async def test_a_checkpoint_has_the_time_of_its_save(store: CheckpointStore) -> None:
    before = floor(time())
    await save(store, CLICKS, {A: after(1), B: Checkpoint(ShardEnd())})
    stored = await store.load(CLICKS)
    assert before <= stored[B].saved_at <= time()


async def test_a_writer_that_has_read_a_version_may_save_the_next_one_repeatedly(shared: CheckpointStore) -> None:
    assert await shared.save(CLICKS, {A: after(1)}, Claim(ME, {})) == frozenset()
    for version in (1, 2, 3):
        assert (await shared.load(CLICKS))[A].version == version
        for number in (version, version + 1, version + 1):
            claim = Claim(WriterId(f"run {version}"), {A: version + 1})
            assert await shared.save(CLICKS, {A: after(number)}, claim) == frozenset()


async def test_the_second_of_two_writers_that_read_the_same_version_loses_the_shard(shared: CheckpointStore) -> None:
    await save(shared, CLICKS, {A: after(1), B: after(1)})
    assert await shared.save(CLICKS, {A: after(5)}, Claim(OTHER, {A: 2})) == frozenset()
    both = {A: after(9), B: after(9)}
    for _ in range(2):
        assert await shared.save(CLICKS, both, Claim(ME, {A: 2, B: 2})) == {A}
    assert await load(shared, CLICKS) == {A: after(5), B: after(9)}
    assert await shared.save(CLICKS, {A: after(6)}, Claim(OTHER, {A: 2})) == frozenset()
    assert await load(shared, CLICKS) == {A: after(6), B: after(9)}


async def test_the_second_of_two_writers_that_begin_a_shard_loses_it(shared: CheckpointStore) -> None:
    assert await shared.save(CLICKS, {A: after(1)}, Claim(OTHER, {})) == frozenset()
    assert await shared.save(CLICKS, {A: after(2), B: after(2)}, Claim(ME, {})) == {A}
    assert await load(shared, CLICKS) == {A: after(1), B: after(2)}


async def test_a_save_of_a_lost_shard_is_not_a_checkpoint_that_moves_back(shared: CheckpointStore) -> None:
    await save(shared, CLICKS, {A: after(1)})
    await shared.save(CLICKS, {A: after(9)}, Claim(OTHER, {A: 2}))
    assert await shared.save(CLICKS, {A: after(5)}, Claim(ME, {A: 2})) == {A}
    assert await load(shared, CLICKS) == {A: after(9)}


async def test_a_writer_that_had_read_a_forgotten_shard_loses_it(shared: CheckpointStore) -> None:
    await save(shared, CLICKS, {A: after(1)})
    await shared.forget(CLICKS, [A])
    assert await shared.save(CLICKS, {A: after(2)}, Claim(ME, {A: 2})) == {A}
    assert await shared.load(CLICKS) == {}


async def test_each_mapping_has_its_own_versions(shared: CheckpointStore) -> None:
    await save(shared, CLICKS, {A: after(1)})
    assert await shared.save(USERS, {A: after(2)}, Claim(ME, {A: 2})) == {A}
    assert await shared.save(USERS, {A: after(2)}, Claim(ME, {})) == frozenset()


async def test_each_of_several_simultaneous_saves_returns_only_its_own_lost_shards(store: CheckpointStore) -> None:
    shards = [ShardId(f"shard-{number}") for number in range(100)]
    await save(store, CLICKS, dict.fromkeys(shards, after(1)))
    await store.save(CLICKS, dict.fromkeys(shards[::3], after(2)), Claim(OTHER, dict.fromkeys(shards, 2)))
    lost: set[ShardId] = set()

    async def save_pair(pair: list[ShardId]) -> None:
        answer = await store.save(CLICKS, dict.fromkeys(pair, after(3)), Claim(ME, dict.fromkeys(shards, 2)))
        assert answer <= frozenset(pair)
        lost.update(answer)

    async with anyio.create_task_group() as savers:
        for first in range(0, 100, 2):
            savers.start_soon(save_pair, shards[first : first + 2])
    assert lost == set(shards[::3])
    assert await load(store, CLICKS) == {shard_id: after(2 if shard_id in lost else 3) for shard_id in shards}


async def test_every_store_follows_the_rule_of_versions(shared: CheckpointStore) -> None:
    """The cases are rows with up to three versions by two writers, and each claim on these rows."""
    cases = [(stored, by, version) for stored in range(4) for by in (ME, OTHER) for version in range(1, 6)]
    for number, (stored, by, version) in enumerate(cases):
        shard_id = ShardId(f"shard-{number}")
        for each in range(1, stored + 1):
            await shared.save(CLICKS, {shard_id: after(1)}, Claim(by, {shard_id: each}))
        lost = await shared.save(CLICKS, {shard_id: after(2)}, Claim(ME, {shard_id: version}))
        allowed = may_store((stored, by) if stored else None, version=version, writer=ME)
        assert lost == (frozenset() if allowed else {shard_id}), (stored, by, version)
        assert (await load(shared, CLICKS)).get(shard_id) == (after(2) if allowed else after(1) if stored else None)


async def test_a_window_is_stored_and_removed_with_its_position(store: CheckpointStore) -> None:
    window = Window(start=1_767_225_600, end=1_767_225_660, state='{"sum": "∑\\u0000\\ud800 \'\\""}'.encode())
    await save(store, CLICKS, {A: after(1, window)})
    assert await load(store, CLICKS) == {A: after(1, window)}
    await save(store, CLICKS, {A: after(1)})
    assert await load(store, CLICKS) == {A: after(1)}


async def test_the_largest_window_state_can_be_stored(store: CheckpointStore) -> None:
    window = Window(start=0, end=900, state=b'"' + b"x" * 1024 * 1024 + b'"')
    await save(store, CLICKS, {A: after(1, window), B: after(1, window)})
    assert await load(store, CLICKS) == {A: after(1, window), B: after(1, window)}


CLIMB: list[Position] = [
    TrimHorizon(),
    AtTimestamp(0.0),
    AtTimestamp(999.5),
    AtTimestamp(1767225600.25),
    AtSequence(SequenceNumber("0")),
    AfterSequence(SequenceNumber("0")),
    AtSequence(SequenceNumber("9")),
    AfterSequence(SequenceNumber("009")),
    AtSequence(SequenceNumber("10")),
    AfterSequence(SequenceNumber("99")),
    AfterSequence(SequenceNumber("000000100")),
    AfterSequence(SequenceNumber("49601189658422359378836298521827638475320189012309704722")),
    AfterSequence(SequenceNumber("149601189658422359378836298521827638475320189012309704722")),
    ShardEnd(),
]


async def test_a_checkpoint_moves_on_from_any_position_to_any_later_one(store: CheckpointStore) -> None:
    for index, (earlier, later) in enumerate(itertools.combinations_with_replacement(CLIMB, 2)):
        shard_id = ShardId(f"shard-{index}")
        await save(store, CLICKS, {shard_id: Checkpoint(earlier)})
        await save(store, CLICKS, {shard_id: Checkpoint(later)})
        assert (await load(store, CLICKS))[shard_id] == Checkpoint(later)


async def test_a_checkpoint_never_moves_back_from_any_position_to_any_earlier_one(store: CheckpointStore) -> None:
    for index, (earlier, later) in enumerate(itertools.combinations(CLIMB, 2)):
        shard_id = ShardId(f"shard-{index}")
        await save(store, CLICKS, {shard_id: Checkpoint(later)})
        with pytest.raises(CheckpointMovedBack, match=f"clicks, {shard_id}: "):
            await save(store, CLICKS, {shard_id: Checkpoint(earlier)})
        assert (await load(store, CLICKS))[shard_id] == Checkpoint(later)


async def test_a_refused_save_names_the_shard_that_would_move_back_and_stores_none(store: CheckpointStore) -> None:
    await save(store, CLICKS, {A: after(1), B: after(100)})
    with pytest.raises(CheckpointMovedBack, match=f"clicks, {B}: "):
        await save(store, CLICKS, {A: after(1), B: after(99), ShardId("c"): after(1)})
    assert await load(store, CLICKS) == {A: after(1), B: after(100)}


async def test_latest_is_never_stored(store: CheckpointStore) -> None:
    with pytest.raises(AssertionError, match="LATEST"):
        await save(store, CLICKS, {A: Checkpoint(Latest())})
    assert await load(store, CLICKS) == {}


async def test_simultaneous_saves_are_all_stored_and_a_refused_one_harms_no_other(store: CheckpointStore) -> None:
    await save(store, CLICKS, {A: after(1000)})
    refused = []

    async def save_one(number: int) -> None:
        shard_id = A if number == 50 else ShardId(f"shard-{number}")
        try:
            await save(store, CLICKS, {shard_id: after(number)})
        except CheckpointMovedBack:
            refused.append(number)

    async with anyio.create_task_group() as savers:
        for number in range(100):
            savers.start_soon(save_one, number)
    others = {ShardId(f"shard-{number}"): after(number) for number in range(100) if number != 50}
    assert await load(store, CLICKS) == {A: after(1000), **others}
    assert refused == [50]


@pytest.mark.parametrize("passes", range(8))
async def test_a_cancelled_save_is_atomic_and_later_ones_work(store: CheckpointStore, passes: int) -> None:
    """The save is cancelled after `passes` turns of the event loop. A later load shows whether it was stored."""
    both = {A: after(1), B: after(1)}
    async with anyio.create_task_group() as savers:
        savers.start_soon(save, store, USERS, both)
        savers.start_soon(save, store, CLICKS, both)
        for _ in range(passes):
            await anyio.lowlevel.checkpoint()
        savers.cancel_scope.cancel()
    seen = await load(store, CLICKS)
    assert seen in ({}, both)
    await save(store, USERS, {A: after(2)})
    assert await load(store, CLICKS) == seen
    await save(store, CLICKS, {A: after(1), B: after(2)})
    assert await load(store, CLICKS) == {A: after(1), B: after(2)}


numbers: st.SearchStrategy[SequenceNumber] = st.from_regex(r"0{0,3}[0-9]{1,60}", fullmatch=True).map(SequenceNumber)
positions: st.SearchStrategy[Position] = st.one_of(
    st.just(TrimHorizon()),
    st.just(ShardEnd()),
    st.floats(min_value=0, max_value=1e12).map(AtTimestamp),
    numbers.map(AtSequence),
    numbers.map(AfterSequence),
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30)
json_texts = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)
epochs = st.integers(min_value=0, max_value=2**40)


windows = st.none() | st.builds(Window, start=epochs, end=epochs, state=json_texts.map(orjson.dumps))
states = st.dictionaries(texts.map(ShardId), st.builds(Checkpoint, positions, windows), max_size=4)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(deadline=None, max_examples=100)
@given(state=states, key=st.builds(StateKey, texts.map(MappingName), texts))
def test_every_position_and_window_is_loaded_as_it_was_saved(
    tmp_path_factory: pytest.TempPathFactory, kind: str, state: dict[ShardId, Checkpoint], key: StateKey
) -> None:
    async def there_and_back() -> None:
        async with opened(kind, tmp_path_factory.mktemp("state")) as store:
            await save(store, key, state)
            assert await load(store, key) == state
            await store.forget(key, list(state))
            assert await load(store, key) == {}

    asyncio.run(there_and_back())
