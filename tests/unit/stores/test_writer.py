from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from poller.model.ids import MappingName
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber, ShardId, StateKey, Window
from poller.sqlite.writer import MAXIMUM_BYTES_TOGETHER, MAXIMUM_JOBS_TOGETHER
from poller.stores.notation import CheckpointMovedBack
from poller.stores.rows import Row, load, row_of
from poller.stores.sqlite_file import owned
from poller.stores.writer import Writer
from tests.fakes.saving import FIRST

pytestmark = pytest.mark.anyio

CLICKS = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
A = ShardId("a")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def file(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with owned(tmp_path / "poller.db") as file:
        yield file


def row(number: int, shard_id: str = "a", state: bytes = b"{}") -> Row:
    position = AfterSequence(SequenceNumber(str(number)))
    return row_of(CLICKS, ShardId(shard_id), Checkpoint(position, Window(start=0, end=60, state=state)), FIRST)


def at(file: sqlite3.Connection) -> str:
    (row,) = load(file, CLICKS).values()
    assert isinstance(row.checkpoint.position, AfterSequence)
    return row.checkpoint.position.sequence_number


@asynccontextmanager
async def running(writer: Writer) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run)
        try:
            yield
        finally:
            writer.close()


async def statements(file: sqlite3.Connection, waiting: list[list[Row]]) -> int:
    """Return how many statements save these, if all of them wait when the writer begins."""
    seen: list[str] = []
    writer = Writer(file)
    async with anyio.create_task_group() as tasks:
        for rows in waiting:
            tasks.start_soon(writer.save, rows)
        await anyio.wait_all_tasks_blocked()
        file.set_trace_callback(seen.append)
        writer.close()
        await writer.run()
        file.set_trace_callback(None)
    return sum(statement.lstrip().startswith("WITH new") for statement in seen)


async def test_waiting_saves_are_written_by_one_statement(file: sqlite3.Connection) -> None:
    assert await statements(file, [[row(number, f"shard-{number}")] for number in range(100)]) == 1
    assert len(load(file, CLICKS)) == 100


async def test_no_more_saves_than_the_limit_are_written_together(file: sqlite3.Connection) -> None:
    assert await statements(file, [[row(1, f"shard-{n}")] for n in range(MAXIMUM_JOBS_TOGETHER + 1)]) == 2
    assert len(load(file, CLICKS)) == MAXIMUM_JOBS_TOGETHER + 1


async def test_large_windows_are_not_all_written_together(file: sqlite3.Connection) -> None:
    state = b'"%s"' % (b"1" * (MAXIMUM_BYTES_TOGETHER * 2 // 5))
    assert await statements(file, [[row(1, f"shard-{number}", state)] for number in range(5)]) == 3
    assert await statements(file, [[row(1, "larger still", state.replace(b"1", b"111"))]]) == 1
    assert len(load(file, CLICKS)) == 6


async def test_jobs_are_done_in_the_order_of_their_arrival(file: sqlite3.Connection) -> None:
    writer = Writer(file)
    seen: list[str] = []

    async def look() -> None:
        seen.append(await writer.do(at))

    async with anyio.create_task_group() as tasks:
        for number in [9, 10, 100]:
            tasks.start_soon(writer.save, [row(number)])
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(look)
            await anyio.wait_all_tasks_blocked()
        writer.close()
        await writer.run()
    assert seen == ["9", "10", "100"]


async def test_only_the_save_of_a_group_that_moves_back_fails(file: sqlite3.Connection) -> None:
    writer = Writer(file)
    refused: list[int] = []

    async def save(number: int) -> None:
        try:
            await writer.save([row(number)])
        except CheckpointMovedBack:
            refused.append(number)

    async with anyio.create_task_group() as tasks:
        for number in [9, 10, 8, 11]:
            tasks.start_soon(save, number)
            await anyio.wait_all_tasks_blocked()
        writer.close()
        await writer.run()
    assert refused == [8]
    assert at(file) == "11"


async def test_a_save_that_is_cancelled_while_it_waits_is_not_written(file: sqlite3.Connection) -> None:
    writer = Writer(file)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.save, [row(1)])
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await writer.save([row(2)])
        writer.close()
        await writer.run()
    assert at(file) == "1"


async def test_a_save_that_the_thread_has_begun_is_finished_even_if_its_task_is_cancelled(
    file: sqlite3.Connection,
) -> None:
    writer = Writer(file)

    def work(file: sqlite3.Connection) -> None:
        anyio.from_thread.run_sync(scope.cancel)
        file.execute("CREATE TABLE witness (seen)")

    async with running(writer):
        with anyio.CancelScope() as scope:
            await writer.do(work)
        assert scope.cancelled_caught
        assert await writer.do(lambda file: file.execute("SELECT * FROM witness").fetchall()) == []
