"""How do many saves share one flush? While a thread writes, further saves wait; then the thread writes all of them.

    save ─┐
    save ─┤ queue ──> thread: all saves at the front of the queue in one transaction, or one other job
    load ─┘

This is worth it because a flush takes milliseconds, whether it has one save or many.
Jobs are done in the order in which they came. So a load sees every save that the thread began before, even if the
save's task was cancelled meanwhile.
If a task is cancelled while its job is in the queue, the job is removed. A job that the thread has begun is finished.
If the file refuses a group of saves, each save is tried again alone, so that only the faulty one gets the error.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
from anyio import CancelScope, CapacityLimiter, to_thread

from poller.model.stream import ShardId
from poller.stores.rows import Row, moved_back, save, size_in_bytes

MAXIMUM_SAVES_TOGETHER = 1000
MAXIMUM_BYTES_TOGETHER = 4 * 1024 * 1024
"""Limits of one group of saves, so that writing takes less time than the flush, and the copy in memory stays small."""

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Job:
    """A job that one task waits for: it saves `rows`, or does other `work` with the file."""

    rows: list[Row] = field(default_factory=list)
    work: Callable[[sqlite3.Connection], Any] | None = None
    answer: Any = None
    fault: Exception | None = None
    is_done: anyio.Event = field(default_factory=anyio.Event)


class Writer:
    """Does all work with the file, in one thread. `run` must run meanwhile.

    `save` and `do` raise sqlite3.Error; `save` also raises CheckpointMovedBack.
    `check` is called before each use of the file. It raises sqlite3.Error if the file must not be used.
    """

    def __init__(self, file: sqlite3.Connection, check: Callable[[], None] = lambda: None) -> None:
        self._file = file
        self._check = check
        self._waiting: deque[Job] = deque()
        self._came = anyio.Event()
        self._is_closing = False

    async def save(self, rows: list[Row]) -> frozenset[ShardId]:
        """Store the rows, apart from those of lost shards, whose ids are returned.

        It is atomic, even when cancelled.
        """
        lost: frozenset[ShardId] = await self._wait_for(Job(rows=rows))
        return lost

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Call `work` in the thread, and return its result."""
        answer: T = await self._wait_for(Job(work=work))
        return answer

    async def run(self) -> None:
        """Do jobs until `close` is called.

        A cancelled scope around it does not end it, because the last checkpoints are saved after the cancellation.
        """
        limiter = CapacityLimiter(1)
        with CancelScope(shield=True):
            while self._waiting or not self._is_closing:
                if not self._waiting:
                    await self._came.wait()
                    self._came = anyio.Event()
                    continue
                jobs = self._in_front()
                await to_thread.run_sync(self._perform, jobs, limiter=limiter)
                for job in jobs:
                    job.is_done.set()

    def _perform(self, jobs: list[Job]) -> None:
        """Do the jobs. This runs in the thread."""
        try:
            self._check()
        except sqlite3.Error as fault:
            for job in jobs:
                job.fault = fault
        else:
            perform(self._file, jobs)

    def close(self) -> None:
        """Accept no more jobs. The jobs in the queue are still done."""
        self._is_closing = True
        self._came.set()

    async def _wait_for(self, job: Job) -> Any:
        assert not self._is_closing, "the store is closed"
        self._waiting.append(job)
        self._came.set()
        try:
            await job.is_done.wait()
        finally:
            if not job.is_done.is_set() and job in self._waiting:
                self._waiting.remove(job)
        if job.fault is not None:
            raise job.fault
        return job.answer

    def _in_front(self) -> list[Job]:
        jobs = [self._waiting.popleft()]
        size = size_in_bytes(jobs[0].rows)
        while jobs[0].work is None and self._waiting and self._waiting[0].work is None:
            size += size_in_bytes(self._waiting[0].rows)
            if size > MAXIMUM_BYTES_TOGETHER or len(jobs) == MAXIMUM_SAVES_TOGETHER:
                break
            jobs.append(self._waiting.popleft())
        return jobs


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
