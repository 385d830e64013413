"""How do several workers of one host share leases? In one SQLite file, which each of them has open.

    create, update, delete ──> one thread, many calls in one transaction ──> the file
    scan, read             ──> the same thread, one call at a time

The file decides by compare and set: SQLite lets one process write at a time.
A thread does all work with the file (`poller/sqlite/writer.py`); the event loop never touches it.
An error of SQLite becomes a `ServiceError`, so that the worker waits and tries again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
from anyio import CancelScope, to_thread

from poller.model.lease import Row, RowKey
from poller.sqlite import writer
from poller.sqlite.kind import translated, watched
from poller.stores import lease_rows
from poller.stores.lease_file import shared
from poller.stores.lease_rows import Batch, batch
from poller.stores.notation import CheckpointMovedBack


@dataclass(slots=True, eq=False, kw_only=True)
class Job(writer.Job):
    """A job for the thread that writes the file. It calls `work`."""

    work: Callable[[sqlite3.Connection], Any]


class SqliteLeaseStore:
    """Implements `ports.LeaseStore` in a file, which is open inside an `async with`.

    Entering it raises SettingsError if the file cannot be used at all, and InUse or CannotStore if it cannot be used
    now. `kept_copy` is the path of the copy if opening has migrated the file, None otherwise.
    With `stays_alone`, a process that finds no other one keeps others out until it closes the file.
    """

    def __init__(self, path: Path, *, stays_alone: bool = False) -> None:
        self.kept_copy: Path | None = None
        self._path = path
        self._stays_alone = stays_alone

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            opened = ExitStack()
            stack.push_async_callback(_close, opened)
            opening = shared(self._path, self._has_migrated, stays_alone=self._stays_alone)
            file = await to_thread.run_sync(opened.enter_context, opening)
            self._writer: writer.Writer[Job] = writer.Writer(file, perform, watched(self._path))
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(self._writer.run)
            stack.callback(self._writer.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store, with or without an error in the block. The task group does not see the error."""
        await self._stack.aclose()

    async def scan(self) -> list[Row]:
        """Return all rows."""
        rows: list[Row] = await self._do(Job(size_in_bytes=None, work=lease_rows.scan))
        return rows

    async def read(self, keys: Collection[RowKey]) -> dict[RowKey, Row]:
        """Return those of these rows that exist."""
        rows: dict[RowKey, Row] = await self._do(Job(size_in_bytes=None, work=partial(lease_rows.read, keys=keys)))
        return rows

    async def create(self, *groups: Collection[Row]) -> frozenset[RowKey]:
        """Store groups of new rows, up to the first group with keys that already existed. Return these keys.

        One transaction stores all groups.
        """
        written = list(map(batch, groups))
        existing: frozenset[RowKey] = await self._do(
            Job(
                size_in_bytes=sum(len(group.values) for group in written),
                work=lambda file: lease_rows.create_groups(file, written),
            )
        )
        return existing

    async def update(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Replace rows. Return the keys of the rows that do not exist or have another counter.

        Raises CheckpointMovedBack if one of the rows has such a checkpoint, and then stores none of them.
        """
        return await self._write(lease_rows.update, rows)

    async def delete(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Delete rows, but not those whose counter in the file has changed. Return the keys of these."""
        return await self._write(lease_rows.delete, rows)

    async def overwrite(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Replace rows, even if their checkpoints move back. For `lease_by_hand.EditableStore`."""
        return await self._write(lease_rows.overwrite, rows)

    async def _write(
        self, work: Callable[[sqlite3.Connection, Batch], frozenset[RowKey]], rows: Collection[Row]
    ) -> frozenset[RowKey]:
        written = batch(rows)
        rejected: frozenset[RowKey] = await self._do(
            Job(size_in_bytes=len(written.values), work=lambda file: work(file, written))
        )
        return rejected

    async def _do(self, job: Job) -> Any:
        with translated(self._path):
            return await self._writer.wait_for(job)

    def _has_migrated(self, kept_copy: Path) -> None:
        self.kept_copy = kept_copy


def perform(file: sqlite3.Connection, jobs: list[Job]) -> None:
    """Do the jobs in one transaction, and set the answer or the fault of each job. The writer's thread calls this."""
    try:
        with file:
            file.execute("BEGIN IMMEDIATE" if jobs[0].size_in_bytes is not None else "BEGIN")
            for job in jobs:
                _perform_one(file, job)
    except sqlite3.Error as fault:
        for job in jobs:
            job.fault = fault


def _perform_one(file: sqlite3.Connection, job: Job) -> None:
    try:
        job.answer = job.work(file)
    except CheckpointMovedBack as fault:  # SQLite has undone the statement, and the transaction goes on
        job.fault = fault


async def _close(file: ExitStack) -> None:
    with CancelScope(shield=True):
        await to_thread.run_sync(file.close)
