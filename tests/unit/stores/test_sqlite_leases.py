from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from poller.errors import Rejected, Unreachable
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber, Window
from poller.sqlite import kind as sqlite_kind
from poller.sqlite.copies import copy_of
from poller.stores.sqlite_leases import SqliteLeaseStore
from tests.fakes.disk import no_file_grows_beyond, put_away, transactions

pytestmark = pytest.mark.anyio

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
A, B = RowKey(f"clicks/{STREAM}/a"), RowKey(f"clicks/{STREAM}/b")

COUNT = """
import sys
from dataclasses import replace
from pathlib import Path
import anyio
from poller.model.lease import Row, RowKey
from poller.stores.sqlite_leases import SqliteLeaseStore

async def main():
    async with SqliteLeaseStore(Path(sys.argv[1])) as store:
        await store.create([Row(key=RowKey(":unit/resize/1"))])
        accepted = 0
        while accepted < 30:
            row = (await store.read([":unit/resize/1"]))[":unit/resize/1"]
            accepted += not await store.update([replace(row, counter=row.counter + 1)])

anyio.run(main)
"""


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "poller.db"


async def test_rows_survive_the_process(path: Path) -> None:
    row = Row(key=A, checkpoint=Checkpoint(AfterSequence(SequenceNumber("5"))), details={"since": 1})
    async with SqliteLeaseStore(path) as store:
        await store.create([row])
    async with SqliteLeaseStore(path) as store:
        assert await store.scan() == [row]


async def test_exactly_one_of_several_stores_on_one_file_wins_each_counter(path: Path) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(SqliteLeaseStore(path)) for _ in range(4)]
        await stores[0].create([Row(key=A)])
        winners: list[int] = []

        async def renew(number: int, store: SqliteLeaseStore) -> None:
            while (row := (await store.read([A]))[A]).counter < 50:
                new = replace(row, counter=row.counter + 1, owner=Owner(f"{number}"))
                if not await store.update([new]):
                    winners.append(new.counter)

        async with anyio.create_task_group() as workers:
            for number, store in enumerate(stores):
                workers.start_soon(renew, number, store)
        assert sorted(winners) == list(range(2, 51))


@pytest.mark.slow
def test_exactly_one_of_several_processes_on_one_file_wins_each_counter(path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", COUNT, str(path)]) for _ in range(3)]
    for process in processes:
        assert process.wait(60) == 0
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT counter FROM lease").fetchall() == [(91,)]


async def test_simultaneous_writes_share_a_flush(path: Path) -> None:
    keys = [RowKey(f"{number}") for number in range(100)]
    async with SqliteLeaseStore(path) as store:
        before = transactions(path)
        async with anyio.create_task_group() as workers:
            for key in keys:
                workers.start_soon(store.create, [Row(key=key)])
        assert transactions(path) - before <= 2
        assert {row.key for row in await store.scan()} == set(keys)


async def test_groups_of_new_rows_are_stored_by_one_transaction(path: Path) -> None:
    keys = [RowKey(f"clicks/stream/{number}") for number in range(9)]
    async with SqliteLeaseStore(path) as store:
        before = transactions(path)
        assert await store.create(*([Row(key=key)] for key in keys)) == frozenset()
        assert transactions(path) - before == 1
        assert {row.key for row in await store.scan()} == set(keys)


async def test_a_call_writes_a_row_only_once(path: Path) -> None:
    async with SqliteLeaseStore(path) as store:
        with pytest.raises(AssertionError, match="a call writes a row once"):
            await store.create([Row(key=A), Row(key=A, token=1)])
        assert await store.scan() == []


async def test_a_large_window_is_stored(path: Path) -> None:
    window = Window(start=0, end=900, state=b'"' + b"x" * 1024 * 1024 + b'"')
    rows = [Row(key=key, checkpoint=Checkpoint(AfterSequence(SequenceNumber("1")), window)) for key in (A, B)]
    async with SqliteLeaseStore(path) as store:
        await store.create(rows)
        assert await store.read([A, B]) == {row.key: row for row in rows}


async def test_a_full_disk_is_an_error_of_every_call_and_passes(path: Path) -> None:
    row = Row(key=A, details={"": "x" * 100_000})
    async with SqliteLeaseStore(path) as store:
        await store.create([Row(key=B)])
        with no_file_grows_beyond(50_000), pytest.raises(Rejected) as error:
            await store.create([row])
        assert error.value.code.startswith(("SQLITE_FULL", "SQLITE_IOERR"))
        assert await store.create([row]) == frozenset()
        assert {row.key for row in await store.scan()} == {A, B}


async def test_a_file_that_another_program_keeps_locked_is_expected_to_come_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_kind, "BUSY_TIMEOUT_IN_SECONDS", 0)
    async with SqliteLeaseStore(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as program:
            program.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unreachable, match="database is locked") as caught:
                await store.create([Row(key=A)])
            assert not caught.value.was_sent
            assert await store.scan() == []
        assert await store.create([Row(key=A)]) == frozenset()


async def test_nothing_is_written_into_a_file_that_was_moved_away(path: Path) -> None:
    async with SqliteLeaseStore(path) as store:
        with put_away(path, another=False), pytest.raises(Rejected, match="removed or replaced"):
            await store.create([Row(key=A)])
        assert await store.scan() == []


async def test_damage_to_a_row_is_an_error_of_the_calls_that_read_it(path: Path) -> None:
    async with SqliteLeaseStore(path) as store:
        await store.create([Row(key=A), Row(key=B)])
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE lease SET details = '[]' WHERE key = ?", (A,))
        with pytest.raises(Rejected, match="not a JSON object") as caught:
            await store.scan()
        assert caught.value.code == "DamagedRow"
        assert await store.read([B]) == {B: Row(key=B)}


async def test_the_store_says_where_the_copy_of_a_migrated_file_is(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.executescript(Path(__file__).with_name("format_3.sql").read_text())
    for kept_copy in (copy_of(path, 3), None):
        async with SqliteLeaseStore(path) as store:
            assert store.kept_copy == kept_copy


async def test_the_last_writes_are_made_even_if_the_surrounding_scope_is_cancelled(path: Path) -> None:
    with anyio.CancelScope() as around:
        async with SqliteLeaseStore(path) as store:
            around.cancel()
            with anyio.CancelScope(shield=True):
                await store.create([Row(key=A)])
    async with SqliteLeaseStore(path) as store:
        assert [row.key for row in await store.scan()] == [A]
