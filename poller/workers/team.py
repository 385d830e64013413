"""Which workers run, and when is one started again?

    start ── worker 1 ── it has started ── workers 2 to N ──> all run
                └── it could not start: the daemon ends with its exit code, and the person reads one message

    a worker ends ── the others are told, so that they take its shards at once
                  ├─ the daemon stops ──> its exit code counts
                  ├─ it could not start, and had never started before ──> the daemon ends with its exit code
                  └─ otherwise ──> it is started again, after a pause that grows with each failure

At the stop, the parent tells each worker once and waits until all have ended. A worker has the grace of the settings,
and then a margin to release what it has in hand; after both it is killed.
A worker that exits logs the reason itself. The parent logs the end of a worker that a signal has killed.
"""

from __future__ import annotations

import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import anyio
from anyio.abc import TaskGroup

from poller.core.backoff import WORKER
from poller.engine.stop import Stop
from poller.facts import Emit, WorkerEnded, WorkerStarted
from poller.model.lease import Owner
from poller.workers.life import Life
from poller.workers.membership import Membership

FORGIVEN_AFTER_IN_SECONDS = 600.0
"""If a worker has run for at least this time before it ends, the count of failures begins again at one."""

MARGIN_IN_SECONDS = 30.0
"""How long a worker may take, after the grace, to cut its invocations and to release what it has in hand."""


TOLD_AGAIN_AFTER_IN_SECONDS = 1.0
"""The time between the two messages that tell the other workers that a worker has ended."""


class Worker:
    """A worker, whose process may end and be started again.

    `since` is when the present process was started, or when the daemon was started if there was no process yet.

    `settings_number` is the version of the settings with which the present process was started.
    """

    def __init__(self, number: int, since: float) -> None:
        self.number = number
        self.life = Life()
        self.restarts = 0
        self.since = since
        self.has_started_once = False
        self.settings_number = 0
        self.first_start_is_over = anyio.Event()

    @property
    def is_at_work(self) -> bool:
        return self.life.started.is_set() and not self.life.over.is_set()


class _End(NamedTuple):
    """How a process has ended. `status` is None if it could not be started.

    `detail` is why it could not be started, or why the parent has killed it.
    """

    status: int | None
    detail: str = ""

    @property
    def cannot_run(self) -> bool:
        """Return whether the process has ended with an exit code by which poller says that it cannot run."""
        return self.status in (None, 1, 2)

    @property
    def was_killed(self) -> bool:
        return self.status is not None and self.status < 0


class Team:
    """The workers of this daemon.

    `settings_number` counts the calls of `use`. `on_start` is called after the first report of a process, and `on_end`
    after its end.
    """

    def __init__(
        self,
        size: int,
        *,
        command: Sequence[str],
        folder: Path,
        api_listeners: Sequence[socket.socket],
        stop: Stop,
        get_grace_in_seconds: Callable[[], float],
        emit: Emit,
        log: IO[bytes] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`command` starts a worker; the team adds the option that tells the worker its membership."""
        self.workers = [Worker(number, now()) for number in range(1, size + 1)]
        self.settings = b""
        self.settings_number = 0
        self.on_start: Callable[[Worker], None] = _nothing
        self.on_end: Callable[[Worker], None] = _nothing
        self.stop = stop
        self._command = command
        self._folder = folder
        self._api_listeners = api_listeners
        self._get_grace_in_seconds = get_grace_in_seconds
        self._now = now
        self._randomness = random.Random()
        self._emit = emit
        self._log = sys.stderr.buffer if log is None else log
        self._exit_code = 0
        self._tasks: TaskGroup

    def use(self, settings: bytes) -> None:
        """Hand these settings (starting.py) to each process that starts from now on."""
        self.settings = settings
        self.settings_number += 1

    @property
    def at_work(self) -> list[Worker]:
        """Return the workers that have started and not ended."""
        return [worker for worker in self.workers if worker.is_at_work]

    @property
    def last_to_report(self) -> Worker | None:
        """Return the worker that has reported last, or None if no worker is at work. It will probably answer."""
        return max(self.at_work, key=lambda worker: worker.life.reported_at, default=None)

    async def run(self) -> int:
        """Run the workers until the stop. Return the exit code of the daemon: the worst one of the workers."""
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._stop_workers)
            async with anyio.create_task_group() as keepers:
                first, *others = self.workers
                keepers.start_soon(self._keep, first)
                await first.first_start_is_over.wait()
                for worker in others:
                    keepers.start_soon(self._keep, worker)
            self._tasks.cancel_scope.cancel()
        return self._exit_code

    async def _keep(self, worker: Worker) -> None:
        """Start the process of this worker, and start it again whenever it ends, until the daemon stops."""
        failures = 0
        while not self.stop.has_begun:
            begun_at = anyio.current_time()
            end = await self._live(worker)
            has_started = worker.life.started.is_set()
            if self.stop.has_begun:
                # If the SIGTERM of `Life.stop` ends a process that has not started yet, this is not reported.
                if end.was_killed and (has_started or end.detail):
                    self._emit(self._ended(worker, end))
                if has_started:
                    self._count(end.status)
            elif end.cannot_run and not has_started and not worker.has_started_once:
                self._emit(self._ended(worker, end))
                self._count(end.status)
                self.stop.begin()
            else:
                has_gone_well = has_started and anyio.current_time() - begun_at > FORGIVEN_AFTER_IN_SECONDS
                failures = 0 if end.status == 0 else 1 if has_gone_well else failures + 1
                delay = WORKER.delay(failures, self._randomness) if failures else 0.0
                worker.restarts += 1
                self._emit(self._ended(worker, end)._replace(restart_in_seconds=delay))
                await self.stop.sleep(delay)
            worker.has_started_once |= has_started
        worker.first_start_is_over.set()

    async def _live(self, worker: Worker) -> _End:
        """Run one process to its end."""
        worker.life, worker.since = Life(), self._now()
        worker.settings_number, settings = self.settings_number, self.settings
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._welcome, worker)
            try:
                status = await worker.life.run(
                    self._command,
                    lambda channel: self._member(worker, channel),
                    settings,
                    self._api_listeners,
                    self._log,
                )
                end = _End(status, _detail(worker.life, status))
            except OSError as error:
                end = _End(None, error.strerror or str(error))
            beside.cancel_scope.cancel()
        self.on_end(worker)
        if worker.life.report is not None and worker.life.report.owner is not None:
            self._tasks.start_soon(self._tell_death, worker.life.report.owner)
        return end

    async def _tell_death(self, owner: Owner) -> None:
        """Tell the other workers twice: after the first time, they may not agree which worker takes which lease."""
        for pause in (TOLD_AGAIN_AFTER_IN_SECONDS, 0.0):
            for other in self.at_work:
                other.life.tell_death(owner)
            await anyio.sleep(pause)

    async def _welcome(self, worker: Worker) -> None:
        await worker.life.started.wait()
        assert worker.life.pid is not None, "it has reported"
        self._emit(WorkerStarted(worker=worker.number, pid=worker.life.pid))
        worker.first_start_is_over.set()
        self.on_start(worker)

    def _member(self, worker: Worker, channel: int) -> Membership:
        return Membership(
            number=worker.number,
            of=len(self.workers),
            folder=str(self._folder),
            channel=channel,
            api_listeners=tuple(listener.fileno() for listener in self._api_listeners),
            has_colors=sys.stderr.isatty(),
        )

    def _ended(self, worker: Worker, end: _End) -> WorkerEnded:
        return WorkerEnded(worker=worker.number, pid=worker.life.pid, exit_status=end.status, detail=end.detail)

    def _count(self, status: int | None) -> None:
        """Remember the worst exit code of all processes. A process that a signal has ended counts as unclean."""
        self._exit_code = max(self._exit_code, 1 if status is None or status < 0 else status)

    async def _stop_workers(self) -> None:
        await self.stop.draining.wait()
        for listener in self._api_listeners:
            listener.close()  # otherwise a client could connect, and wait for an answer that never comes
        for worker in self.workers:
            worker.life.stop()
        with anyio.move_on_after(self._get_grace_in_seconds()):
            await self.stop.releasing.wait()
        if self.stop.releasing.is_set():
            for worker in self.workers:
                worker.life.hurry()
        await anyio.sleep(MARGIN_IN_SECONDS)
        for worker in self.workers:
            worker.life.kill(f"it did not end within {MARGIN_IN_SECONDS:g} s after the end of the grace")


def _detail(life: Life, status: int) -> str:
    """Return why the parent has killed the process, or nothing if the process has ended in another way."""
    return f"the parent killed it: {life.killed_because}" if life.killed_because and status == -signal.SIGKILL else ""


def _nothing(_worker: Worker) -> None:
    pass
