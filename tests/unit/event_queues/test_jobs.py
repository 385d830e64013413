from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from poller.event_queues import rows
from poller.event_queues.jobs import Change, Job, Put, Remove, Room, perform
from poller.event_queues.rows import Claimed
from poller.event_queues.schema import shared
from poller.model.event import TakenEvent
from tests.fakes.clock import EPOCH
from tests.fakes.events import RESIZE, event

FLUSHED, NOT_FLUSHED = 2, 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
def file(path: Path) -> Iterator[sqlite3.Connection]:
    with shared(path) as file:
        yield file


@pytest.fixture
def room(path: Path) -> Room:
    return Room(path, maximum_bytes=1_000_000)


def put() -> Put:
    return Put(size_in_bytes=1, events=[event(EPOCH)])


def take() -> Change:
    work = partial(rows.take, function=RESIZE, claim="c", count=1000, now=EPOCH, until=EPOCH + 60)
    return Change(size_in_bytes=1, work=work, is_durable=False)


def remove(taken: TakenEvent) -> Remove:
    return Remove(size_in_bytes=1, claimed=Claimed.of(taken))


def flush(file: sqlite3.Connection) -> int:
    """Return how the last commit was flushed: the value of the pragma `synchronous`."""
    return int(file.execute("PRAGMA synchronous").fetchone()[0])


def done(file: sqlite3.Connection, room: Room, *jobs: Job) -> list[str]:
    """Do the jobs, and return the statements that change events, without the repetitions that triggers cause."""
    seen: list[str] = []
    file.set_trace_callback(seen.append)
    perform(file, list(jobs), room)
    file.set_trace_callback(None)
    assert not file.in_transaction
    assert all(job.fault is None for job in jobs)
    return [*{text for text in map(str.strip, seen) if text.startswith(("INSERT", "DELETE", "UPDATE"))}]


def test_one_statement_for_each_table_stores_any_number_of_puts(file: sqlite3.Connection, room: Room) -> None:
    assert len(done(file, room, *[put() for _ in range(100)])) == 2


def test_one_statement_does_any_number_of_removes(file: sqlite3.Connection, room: Room) -> None:
    taking = take()
    done(file, room, *[put() for _ in range(100)], taking)
    assert len(done(file, room, *map(remove, taking.answer))) == 1
    assert file.execute("SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM payload)").fetchone() == (0, 0)


def test_puts_and_removes_are_flushed_but_a_take_alone_is_not(file: sqlite3.Connection, room: Room) -> None:
    taking = take()
    done(file, room, put())
    assert flush(file) == FLUSHED
    done(file, room, taking)
    assert flush(file) == NOT_FLUSHED
    done(file, room, remove(taking.answer[0]))
    assert flush(file) == FLUSHED
    done(file, room, take(), put())
    assert flush(file) == FLUSHED


def test_a_remove_makes_room_for_a_put_of_the_same_group(file: sqlite3.Connection, path: Path) -> None:
    room = Room(path, maximum_bytes=300_000)
    first, second = (Put(size_in_bytes=1, events=[event(EPOCH, payload=b"1" * 200_000)]) for _ in range(2))
    taking = take()
    done(file, room, first, taking)
    done(file, room, second, remove(taking.answer[0]))


def test_a_fault_of_the_file_fails_each_job_of_the_group(file: sqlite3.Connection, room: Room) -> None:
    file.execute("DROP TABLE payload")
    jobs: list[Job] = [put(), take()]
    perform(file, jobs, room)
    assert isinstance(jobs[0].fault, sqlite3.OperationalError)
    assert file.in_transaction is False
