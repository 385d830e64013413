from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from poller.errors import InUse, Rejected, Unreachable
from poller.model.ids import MappingName
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber, ShardId, StateKey, Window
from poller.sqlite import kind as sqlite_kind
from poller.stores.sqlite import SqliteStore
from tests.fakes.disk import no_file_grows_beyond, put_away, transactions
from tests.fakes.saving import load, save

pytestmark = pytest.mark.anyio

CLICKS = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
A = ShardId("a")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "poller.db"


def after(number: int) -> Checkpoint:
    return Checkpoint(AfterSequence(SequenceNumber(str(number))))


async def test_a_saved_position_survives_a_restart(path: Path) -> None:
    async with SqliteStore(path) as store:
        await save(store, CLICKS, {A: after(5)})
    async with SqliteStore(path) as store:
        assert await load(store, CLICKS) == {A: after(5)}


async def test_saves_that_wait_at_the_same_time_are_flushed_together(path: Path) -> None:
    async with SqliteStore(path) as store:
        before = transactions(path)
        async with anyio.create_task_group() as savers:
            for number in range(500):
                savers.start_soon(save, store, CLICKS, {ShardId(f"shard-{number}"): after(number)})
        assert 1 <= transactions(path) - before <= 3
        assert len(await load(store, CLICKS)) == 500


async def test_a_full_disk_rejects_the_whole_save_and_with_room_it_succeeds(path: Path) -> None:
    window = Window(start=0, end=60, state=b'"' + b"x" * 1_000_000 + b'"')
    big = {A: after(6)._replace(window=window), ShardId("b"): after(6)}
    async with SqliteStore(path) as store:
        await save(store, CLICKS, {A: after(5)})
        with no_file_grows_beyond(200_000), pytest.raises(Rejected, match=f"{path}: ") as caught:
            await save(store, CLICKS, big)
        assert caught.value.code.startswith("SQLITE_")
        assert await load(store, CLICKS) == {A: after(5)}
        await save(store, CLICKS, big)
        assert await load(store, CLICKS) == big


async def test_a_removed_file_accepts_no_save_until_it_is_back(path: Path) -> None:
    async with SqliteStore(path) as store:
        await save(store, CLICKS, {A: after(5)})
        for another in (False, True):
            with put_away(path, another=another), pytest.raises(Rejected, match="was removed or replaced") as caught:
                await save(store, CLICKS, {A: after(6)})
            assert caught.value.code == "FileGone"
        await save(store, CLICKS, {A: after(7)})
    async with SqliteStore(path) as store:
        assert await load(store, CLICKS) == {A: after(7)}


async def test_the_store_says_how_many_positions_it_had(path: Path) -> None:
    async with SqliteStore(path) as store:
        assert store.positions == 0
        await save(store, CLICKS, {ShardId(f"shard-{number}"): after(number) for number in range(7)})
    async with SqliteStore(path) as store:
        assert store.positions == 7


async def test_damage_to_the_file_of_a_running_daemon_is_a_lasting_error(path: Path) -> None:
    async with SqliteStore(path) as store:
        await save(store, CLICKS, {A: after(5)})
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE checkpoint SET position = 'nowhere'")
        with pytest.raises(Rejected, match=f"{path}: a: 'nowhere' is not a position") as caught:
            await load(store, CLICKS)
        assert caught.value.code == "DamagedRow"
        await save(store, CLICKS, {A: after(6)})
        assert await load(store, CLICKS) == {A: after(6)}


async def test_the_wait_for_another_programs_transaction_does_not_block_the_event_loop(path: Path) -> None:
    async with SqliteStore(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as person:
            person.execute("BEGIN IMMEDIATE")
            async with anyio.create_task_group() as savers:
                savers.start_soon(save, store, CLICKS, {A: after(1)})
                for _ in range(10):
                    await anyio.lowlevel.checkpoint()
                person.execute("COMMIT")
        assert await load(store, CLICKS) == {A: after(1)}


async def test_a_file_that_another_program_keeps_locked_is_expected_to_come_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_kind, "BUSY_TIMEOUT_IN_SECONDS", 0)
    async with SqliteStore(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as program:
            program.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unreachable, match=f"{path}: database is locked") as caught:
                await save(store, CLICKS, {A: after(1)})
            assert caught.value.code == "SQLITE_BUSY"
        await save(store, CLICKS, {A: after(1)})


async def test_the_last_checkpoints_are_saved_even_if_the_surrounding_scope_is_cancelled(path: Path) -> None:
    with anyio.CancelScope() as around:
        async with SqliteStore(path) as store:
            try:
                around.cancel()
                await anyio.sleep_forever()
            finally:
                with anyio.fail_after(60, shield=True):
                    await save(store, CLICKS, {A: after(1)})
    async with SqliteStore(path) as store:
        assert await load(store, CLICKS) == {A: after(1)}


async def test_an_error_in_the_block_is_raised_unchanged_and_the_file_is_closed(path: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with SqliteStore(path):
            raise KeyError("mine")
    async with SqliteStore(path):
        pass


async def test_a_file_in_use_refuses_a_second_store(path: Path) -> None:
    async with SqliteStore(path) as store:
        with pytest.raises(InUse, match="another poller"):
            async with SqliteStore(path):
                pass
        await save(store, CLICKS, {A: after(1)})
