"""How do many jobs share one flush?

Jobs that come while the thread works with the file wait, and are then done together.

    save ─┐
    save ─┤ queue ──> thread: the jobs at the front of the queue in one transaction, or one job that is done alone
    load ─┘

This is worth it because a flush takes milliseconds, whether it has one job or many.
Jobs are done in the order in which they came. So a load sees every save that the thread has begun before, even if the
task of the save was cancelled.
If a task is cancelled while its job is in the queue, the job is removed. A job that the thread has begun is finished.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import anyio
from anyio import CancelScope, CapacityLimiter, to_thread

MAXIMUM_JOBS_TOGETHER = 1000
MAXIMUM_BYTES_TOGETHER = 4 * 1024 * 1024
"""Limits of one group of jobs, so that writing takes less time than the flush, and the copy in memory stays small."""


@dataclass(slots=True, eq=False, kw_only=True)
class Job:
    """A job for the thread, and the task that waits for it. `size_in_bytes` is about how many bytes the job writes.

    `size_in_bytes` is None for a job that is done alone. Once `is_begun` is true, the job is finished, even if its task
    is cancelled. The thread sets `answer` or `fault`.
    """

    size_in_bytes: int | None
    answer: Any = None
    fault: Exception | None = None
    is_begun: bool = False
    is_done: anyio.Event = field(default_factory=anyio.Event)


J = TypeVar("J", bound=Job)


class Writer(Generic[J]):
    """Does all work with the file in one thread. A task must run `run` while the writer is used.

    `perform` does a group of jobs in the thread, and sets the answer or the fault of each job.
    `check` is called before each use of the file. It raises sqlite3.Error if the file must not be used.
    """

    def __init__(
        self,
        file: sqlite3.Connection,
        perform: Callable[[sqlite3.Connection, list[J]], None],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._file = file
        self._perform = perform
        self._check = check
        self._waiting: deque[J] = deque()
        self._came = anyio.Event()
        self._is_closing = False

    async def wait_for(self, job: J) -> Any:
        """Return the job's answer, or raise its fault."""
        assert not self._is_closing, "the file is closed"
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

    async def run(self) -> None:
        """Do jobs until `close` is called.

        Cancellation does not end it, because the last checkpoints are saved after the cancellation.
        """
        limiter = CapacityLimiter(1)
        with CancelScope(shield=True):
            while self._waiting or not self._is_closing:
                if not self._waiting:
                    await self._came.wait()
                    self._came = anyio.Event()
                    continue
                jobs = self._in_front()
                await to_thread.run_sync(self._do, jobs, limiter=limiter)
                for job in jobs:
                    job.is_done.set()

    def close(self) -> None:
        """Accept no more jobs. The jobs in the queue are still done."""
        self._is_closing = True
        self._came.set()

    def _do(self, jobs: list[J]) -> None:
        """Do the jobs. The thread calls this.

        If a fault of poller raises an exception, each task that waits for one of these jobs gets it, and an open
        transaction is undone. So no task believes that its job is done, and later jobs are done as usual.
        """
        try:
            self._check()
            self._perform(self._file, jobs)
        except Exception as fault:  # raised here, it would end the daemon
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
            for job in jobs:
                job.fault = fault

    def _in_front(self) -> list[J]:
        jobs = [self._waiting.popleft()]
        size = jobs[0].size_in_bytes
        while size is not None and self._waiting and self._waiting[0].size_in_bytes is not None:
            size += self._waiting[0].size_in_bytes
            if size > MAXIMUM_BYTES_TOGETHER or len(jobs) == MAXIMUM_JOBS_TOGETHER:
                break
            jobs.append(self._waiting.popleft())
        for job in jobs:
            job.is_begun = True
        return jobs
