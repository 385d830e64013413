from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from poller.errors import InUse
from poller.model.ids import MappingName
from poller.model.stream import (
    AfterSequence,
    AtTimestamp,
    Checkpoint,
    Claim,
    Latest,
    SequenceNumber,
    ShardEnd,
    ShardId,
    StartingPosition,
    StateKey,
    TrimHorizon,
    Window,
    WriterId,
)
from poller.stores.by_hand import Renamed, held, stored
from poller.stores.memory import MemoryStore
from poller.stores.sqlite import SqliteStore
from tests.fakes.saving import load, save

pytestmark = pytest.mark.anyio

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
CLICKS, USERS = StateKey(MappingName("clicks"), STREAM), StateKey(MappingName("users"), STREAM)
MOVED = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/other")
A, B = ShardId("a"), ShardId("b")
WINDOW = Window(start=0, end=60, state=b'{"sum":1}')
AT_5 = Checkpoint(AfterSequence(SequenceNumber("5")), WINDOW)
AT_END = Checkpoint(ShardEnd())

Shown = dict[StateKey, tuple[StartingPosition | None, dict[ShardId, Checkpoint]]]
AS_SAVED: Shown = {
    CLICKS: (None, {A: AT_5, B: AT_END}),
    MOVED: (None, {A: AT_5}),
    USERS: (None, {A: AT_END}),
}


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "poller.db"
    async with SqliteStore(path) as store:
        for key, (_, checkpoints) in AS_SAVED.items():
            await save(store, key, checkpoints)
    return path


def seen(path: Path) -> Shown:
    return {key: (found.starting_position, found.checkpoints) for key, found in stored(path).items()}


def test_a_missing_file_is_shown_as_empty(tmp_path: Path) -> None:
    assert stored(tmp_path / "poller.db") == {}


async def test_every_position_is_shown_even_while_the_daemon_runs(path: Path) -> None:
    assert seen(path) == AS_SAVED
    async with SqliteStore(path) as store:
        await save(store, CLICKS, {A: AT_END})
        assert seen(path) == AS_SAVED | {CLICKS: (None, {A: AT_END, B: AT_END})}


async def test_the_time_of_the_last_save_is_shown(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE checkpoint SET saved_at = 1")
    began = int(time.time())
    async with SqliteStore(path) as store:
        await save(store, CLICKS, {A: AT_END})
    saved_at = stored(path)[CLICKS].saved_at
    assert began <= saved_at[A] <= time.time()
    assert saved_at[B] == 1


@pytest.mark.parametrize("position", [TrimHorizon(), Latest(), AtTimestamp(12.5)])
async def test_a_mapping_begins_at_the_position_that_was_set_last(path: Path, position: StartingPosition) -> None:
    with held(path) as hand:
        hand.start_over(CLICKS, TrimHorizon())
        hand.start_over(CLICKS, position)
        assert hand.stored() == stored(path)
    assert seen(path) == AS_SAVED | {CLICKS: (position, {})}
    async with SqliteStore(path) as store:
        assert await load(store, CLICKS) == {}
        assert await store.starting_position(CLICKS) == position
        assert await store.starting_position(MOVED) is None
        assert await store.starting_position(USERS) is None
        await save(store, CLICKS, {A: AT_5})
    assert seen(path)[CLICKS] == (position, {A: AT_5})


async def test_one_shard_can_be_moved_back_and_forth_and_loses_its_window(path: Path) -> None:
    with held(path) as hand:
        for number in ["1", "900", "20"]:
            position = AfterSequence(SequenceNumber(number))
            hand.move_shard(CLICKS, A, position)
            assert seen(path) == AS_SAVED | {CLICKS: (None, {A: Checkpoint(position), B: AT_END})}


async def test_no_position_is_moved_while_the_daemon_runs_and_no_daemon_starts_during_a_move(path: Path) -> None:
    async with SqliteStore(path):
        with pytest.raises(InUse, match="another poller"), held(path):
            pass
    with held(path), pytest.raises(InUse, match="another poller"):
        async with SqliteStore(path):
            pass


async def test_a_move_that_fails_changes_nothing(path: Path) -> None:
    with held(path) as hand, pytest.raises(AssertionError, match="LATEST"):
        hand.move_shard(CLICKS, A, Latest())
    assert seen(path) == AS_SAVED


async def test_a_store_in_memory_has_no_starting_position() -> None:
    assert await MemoryStore().starting_position(CLICKS) is None


async def test_a_run_loses_a_shard_that_a_person_has_moved_since_it_was_read(path: Path) -> None:
    with held(path) as hand:
        hand.move_shard(CLICKS, A, TrimHorizon())
    async with SqliteStore(path) as store:
        assert (await store.load(CLICKS))[A].version == 2
        assert await store.save(CLICKS, {A: AT_END}, Claim(WriterId("late"), {A: 2})) == {A}


async def test_a_renamed_mapping_has_everything_of_the_old_name(path: Path) -> None:
    new = MappingName("page_clicks")
    async with SqliteStore(path) as store:
        await store.pauses.pause(CLICKS.mapping)
        await store.pauses.pause(USERS.mapping)
    with held(path) as hand:
        hand.start_over(MOVED, TrimHorizon())
        assert hand.rename(CLICKS.mapping, new) == Renamed(positions=2, starting_positions=1, is_paused=True)
        assert hand.paused() == {new, USERS.mapping}
        assert hand.rename(CLICKS.mapping, MappingName("other")) == Renamed(0, 0, is_paused=False)
        assert hand.paused() == {new, USERS.mapping}
    assert seen(path) == {
        CLICKS._replace(mapping=new): AS_SAVED[CLICKS],
        MOVED._replace(mapping=new): (TrimHorizon(), {}),
        USERS: AS_SAVED[USERS],
    }


async def test_a_rename_never_mixes_the_positions_of_two_mappings(path: Path) -> None:
    with held(path) as hand, pytest.raises(AssertionError, match="would be mixed"):
        hand.rename(CLICKS.mapping, USERS.mapping)
    assert seen(path) == AS_SAVED
