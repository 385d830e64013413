from __future__ import annotations

from pathlib import Path

import pytest

from poller.errors import SettingsError
from poller.model.ids import MappingName
from poller.model.stream import (
    AfterSequence,
    AtTimestamp,
    Checkpoint,
    Latest,
    Position,
    SequenceNumber,
    ShardEnd,
    ShardId,
    TrimHorizon,
    Window,
)
from poller.stores.by_hand import Stored, move_shard, start_over, stored
from poller.stores.memory import MemoryStore
from poller.stores.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

CLICKS, USERS = MappingName("clicks"), MappingName("users")
A, B = ShardId("a"), ShardId("b")
WINDOW = Window(start=0, end=60, state=b'{"sum":1}')
AT_5 = Checkpoint(AfterSequence(SequenceNumber("5")), WINDOW)
AT_END = Checkpoint(ShardEnd())


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "poller.db"
    async with SqliteStore(path) as store:
        await store.save(CLICKS, {A: AT_5, B: AT_END})
        await store.save(USERS, {A: AT_END})
    return path


def test_of_a_missing_file_nothing_is_shown(tmp_path: Path) -> None:
    assert stored(tmp_path / "poller.db") == {}


async def test_everything_is_shown_also_while_the_daemon_runs(path: Path) -> None:
    expected = {CLICKS: Stored(None, {A: AT_5, B: AT_END}), USERS: Stored(None, {A: AT_END})}
    assert stored(path) == expected
    async with SqliteStore(path) as store:
        await store.save(CLICKS, {A: AT_END})
        assert stored(path)[CLICKS].checkpoints[A] == AT_END


@pytest.mark.parametrize("position", [TrimHorizon(), Latest(), AtTimestamp(12.5)])
async def test_a_mapping_starts_over_where_it_is_told_until_it_is_told_again(path: Path, position: Position) -> None:
    start_over(path, CLICKS, TrimHorizon())
    start_over(path, CLICKS, position)
    assert stored(path) == {CLICKS: Stored(position, {}), USERS: Stored(None, {A: AT_END})}
    async with SqliteStore(path) as store:
        assert await store.load(CLICKS) == {}
        assert await store.starting_position(CLICKS) == position
        assert await store.starting_position(USERS) is None
        await store.save(CLICKS, {A: AT_5})
    assert stored(path)[CLICKS] == Stored(position, {A: AT_5})


async def test_one_shard_moves_back_and_forth_and_loses_its_window(path: Path) -> None:
    for number in ["1", "900", "20"]:
        position = AfterSequence(SequenceNumber(number))
        move_shard(path, CLICKS, A, position)
        assert stored(path)[CLICKS] == Stored(None, {A: Checkpoint(position), B: AT_END})


async def test_nothing_is_moved_while_the_daemon_runs(path: Path) -> None:
    async with SqliteStore(path):
        with pytest.raises(SettingsError, match="another poller uses it"):
            start_over(path, CLICKS, TrimHorizon())
        with pytest.raises(SettingsError, match="another poller uses it"):
            move_shard(path, CLICKS, A, TrimHorizon())
    assert stored(path)[CLICKS] == Stored(None, {A: AT_5, B: AT_END})


async def test_a_move_that_fails_changes_nothing(path: Path) -> None:
    with pytest.raises(AssertionError, match="LATEST"):
        move_shard(path, CLICKS, A, Latest())
    assert stored(path)[CLICKS] == Stored(None, {A: AT_5, B: AT_END})


async def test_memory_has_no_starting_position_of_its_own() -> None:
    assert await MemoryStore().starting_position(CLICKS) is None
