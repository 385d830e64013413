"""How are many saves of checkpoints written together? By one statement in one transaction.

If the file refuses a group of saves, each save is tried again alone, so that only the faulty one gets the error.
Any other work with the file is done alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from poller.model.stream import ShardId
from poller.sqlite import writer
from poller.stores.rows import Row, moved_back, save, size_in_bytes

T = TypeVar("T")


@dataclass(slots=True, eq=False, kw_only=True)
class Job(writer.Job):
    """A job that saves `rows`, or does other `work` with the file."""

    rows: list[Row] = field(default_factory=list)
    work: Callable[[sqlite3.Connection], Any] | None = None


class Writer(writer.Writer[Job]):
    """Does all work with the state file.

    `save` and `do` raise sqlite3.Error; `save` also raises CheckpointMovedBack.
    """

    def __init__(self, file: sqlite3.Connection, check: Callable[[], None] = lambda: None) -> None:
        super().__init__(file, perform, check)

    async def save(self, rows: list[Row]) -> frozenset[ShardId]:
        """Store the rows, apart from those of lost shards, whose ids are returned.

        It is atomic, even when cancelled.
        """
        lost: frozenset[ShardId] = await self.wait_for(Job(size_in_bytes=size_in_bytes(rows), rows=rows))
        return lost

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Call `work` in the thread, and return its result."""
        answer: T = await self.wait_for(Job(size_in_bytes=None, work=work))
        return answer


def perform(file: sqlite3.Connection, jobs: list[Job]) -> None:
    """Do the jobs and set the answer or the fault of each. This runs in the thread."""
    try:
        if len(jobs) > 1:
            lost = set(save(file, [row for job in jobs for row in job.rows]))
            for job in jobs:
                job.answer = frozenset(row[2] for row in job.rows if row[:3] in lost)
            return
    except sqlite3.Error:
        pass  # one save was refused: try each of them alone
    for job in jobs:
        try:
            _perform_one(file, job)
        except sqlite3.IntegrityError as fault:
            job.fault = moved_back(file, job.rows) or fault
        except sqlite3.Error as fault:
            job.fault = fault


def _perform_one(file: sqlite3.Connection, job: Job) -> None:
    if job.work is None:
        job.answer = frozenset(ShardId(shard_id) for _, _, shard_id in save(file, job.rows))
    else:
        job.answer = job.work(file)
