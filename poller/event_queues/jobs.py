"""How does the thread do a group of jobs? In one transaction for all of them.

    removes  ──> one statement     removes come first, because they make room
    puts     ──> one statement     if this fails, for example because the file is too large, each put is tried alone
    others   ──> one by one        takes, extended claims, events that are put back

A put fails with QueueFull if it would bring the bytes in use above the maximum, or if the disk has less free space than
the reserve. The reserve is for the checkpoints, which are on the same disk. An event that is put back may exceed the
maximum, because it would be lost otherwise. But if the event has grown, the disk must have the reserve, too.
The bytes in use are the pages that are not free. SQLite counts them in the first page of the file, so the count is
exact, also with several processes and after a crash, and it is fast. The log (-wal) needs additional space: at most
16 MiB, unless a process has a long transaction.

A group that only takes events and extends claims is not flushed. A loss of power may undo these claims, but it also
ends the processes that have them.

A file that is nearly empty after many events is rebuilt, so that it becomes small again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from poller.errors import QueueFull
from poller.event_queues.rows import Claimed, put, remove
from poller.model.event import Event
from poller.sqlite import writer

RESERVE_IN_BYTES = 128 * 1024 * 1024
"""The free space that puts leave on the disk. We chose it: checkpoints need a few MB, and other programs need some."""

RETRY_AFTER_IN_SECONDS = 5.0
"""The pause before a refused put is tried again. We chose it: a full queue needs time, but the sender waits."""

NEARLY_EMPTY_IN_BYTES = 16 * 1024 * 1024
WORTH_A_REBUILD_IN_BYTES = 64 * 1024 * 1024
"""A file is rebuilt if it has at most 16 MiB in use and at least 64 MiB free. Copying 16 MiB takes about 0.1 s."""


@dataclass(slots=True, eq=False, kw_only=True)
class Put(writer.Job):
    events: Sequence[Event]


@dataclass(slots=True, eq=False, kw_only=True)
class Remove(writer.Job):
    claimed: Claimed


@dataclass(slots=True, eq=False, kw_only=True)
class Change(writer.Job):
    """A job that writes, other than a put or a remove. If `is_durable` is false, a loss of power may undo the work."""

    work: Callable[[sqlite3.Connection], Any]
    is_durable: bool


@dataclass(slots=True, eq=False, kw_only=True)
class Look(writer.Job):
    """Work that only reads. The thread does it alone, and opens no transaction for it."""

    work: Callable[[sqlite3.Connection], Any]


Job = Put | Remove | Change | Look


class Room:
    """The limits on the size of the file and on the free space of its disk. `path` is the path of the file."""

    def __init__(self, path: Path, *, maximum_bytes: int) -> None:
        self._path = path
        self._maximum_bytes = maximum_bytes

    def check_file(self, file: sqlite3.Connection) -> None:
        """Raise QueueFull if the file has more bytes in use than the maximum."""
        if in_use(file)[0] > self._maximum_bytes:
            text = f"{self._path} is full: its events need more than {self._maximum_bytes} bytes"
            raise QueueFull(text, code="QueueFull", retry_after=RETRY_AFTER_IN_SECONDS)

    def check_disk(self) -> None:
        """Raise QueueFull if the disk has less free space than the reserve."""
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < RESERVE_IN_BYTES:
            text = f"{self._path}: its disk has less than {RESERVE_IN_BYTES} bytes of free space"
            raise QueueFull(text, code="DiskNearlyFull", retry_after=RETRY_AFTER_IN_SECONDS)


def perform(file: sqlite3.Connection, jobs: Sequence[Job], room: Room) -> None:
    """Do the jobs, and set the answer or the fault of each job. The thread of the file calls this."""
    if isinstance(jobs[0], Look):
        _look(file, jobs[0])
        return
    is_durable = any(not isinstance(job, Change) or job.is_durable for job in jobs)
    removes = [job.claimed for job in jobs if isinstance(job, Remove)]
    try:
        file.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
        file.execute("BEGIN IMMEDIATE")
        if removes:
            remove(file, removes)
        _put(file, [job for job in jobs if isinstance(job, Put)], room)
        for job in jobs:
            if isinstance(job, Change):
                _change(file, job)
        file.execute("COMMIT")
    except sqlite3.Error as fault:
        if file.in_transaction:
            file.execute("ROLLBACK")
        for job in jobs:
            job.fault = fault
        return
    if removes:
        _shrink(file)


def in_use(file: sqlite3.Connection) -> tuple[int, int]:
    """Return how many bytes of the file are in use, and how many are free."""
    (pages,) = file.execute("PRAGMA page_count").fetchone()
    (free,) = file.execute("PRAGMA freelist_count").fetchone()
    (size,) = file.execute("PRAGMA page_size").fetchone()
    return (pages - free) * size, free * size


def _look(file: sqlite3.Connection, job: Look) -> None:
    try:
        job.answer = job.work(file)
    except sqlite3.Error as fault:
        job.fault = fault


def _put(file: sqlite3.Connection, jobs: Sequence[Put], room: Room) -> None:
    def put_all(some: Sequence[Put]) -> None:
        room.check_disk()
        put(file, [event for job in some for event in job.events])
        room.check_file(file)

    if len(jobs) > 1 and _fault_of(file, lambda: put_all(jobs)) is None:
        return
    for job in jobs:
        job.fault = _fault_of(file, partial(put_all, [job]))


def _change(file: sqlite3.Connection, job: Change) -> None:
    def change() -> None:
        job.answer = job.work(file)

    job.fault = _fault_of(file, change)


def _fault_of(file: sqlite3.Connection, work: Callable[[], None]) -> Exception | None:
    """Do the work within the transaction. If the work fails, undo it and return the error.

    Raises the error if SQLite has undone the whole transaction; SQLite does so when the disk is full.
    """
    file.execute("SAVEPOINT one")
    try:
        work()
    except (QueueFull, sqlite3.Error) as fault:
        if not file.in_transaction:
            raise
        file.execute("ROLLBACK TO one")
        file.execute("RELEASE one")
        return fault
    file.execute("RELEASE one")
    return None


def _shrink(file: sqlite3.Connection) -> None:
    used, free = in_use(file)
    if used <= NEARLY_EMPTY_IN_BYTES and free >= WORTH_A_REBUILD_IN_BYTES:
        with suppress(sqlite3.OperationalError):  # another process uses the file; a later remove tries again
            file.execute("VACUUM")
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
