"""What do the pages show if there are several workers? One status for each mapping, sums of numbers, and each worker.

    a client asks for a page ──> refresh: ask every worker ──> their reports ──> merged

The pages show the last report of a worker that does not answer soon, but not its shards and leases once others may
have taken them.
The view looks at each worker once a second, because the pages show since when each worker has its state.
The counts of a worker that has ended are kept, so that no counter goes down.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import anyio
from anyio import from_thread
from prometheus_client import CollectorRegistry

from poller.admin.readiness import is_ready
from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS
from poller.core.merging import merged, merged_functions, merged_sharing, without_shards
from poller.model.function_status import FunctionStatus
from poller.model.sharing import SharingStatus
from poller.model.status import MappingStatus, ReloadStatus, WorkerState, WorkerStatus
from poller.telemetry.collectors import ReloadCollector, SharingCollector, StatusCollector
from poller.telemetry.numbers import Numbers, Totals
from poller.telemetry.processes import NO_USAGE, Usage, kept
from poller.telemetry.series import TotalsCollector, register_process
from poller.workers.team import Team, Worker

LONGEST_WAIT_IN_SECONDS = 2.0
"""How long a page waits for the reports of all workers."""

SILENT_AFTER_IN_SECONDS = 5.0
"""After this time without a report, the pages show that the worker is silent."""

SECONDS_BETWEEN_LOOKS = 1.0
"""A worker reports once a second."""

NAMES_SHOWN = 5
"""If a worker is not ready, its reason names at most this many mappings."""

PARENT = "parent"
"""The name under which the parent's own counts are kept. The counts of a worker are kept under its number."""


class View:
    """The merged statuses and numbers of a team."""

    def __init__(
        self, team: Team, *, own_numbers: Callable[[], Sequence[Numbers]], now: Callable[[], float] = time.time
    ) -> None:
        """`own_numbers` returns what the parent itself has counted."""
        self._team = team
        self._own_numbers = own_numbers
        self._now = now
        self._begun: dict[int, tuple[WorkerState, float]] = {}  # of each worker: its last known state, and since when
        self._totals = Totals()
        self._usage_of_ended = NO_USAGE
        team.on_end = self._keep

    async def refresh(self) -> None:
        """Ask the workers for reports, and wait for them."""
        with anyio.move_on_after(LONGEST_WAIT_IN_SECONDS):
            for life, question in [(worker.life, worker.life.ask()) for worker in self._team.at_work]:
                await life.until_answered(question)

    def statuses(self) -> list[MappingStatus]:
        reports = [(worker.life.report, self._has_leases(worker)) for worker in self._team.at_work]
        return merged(
            report.statuses if has_leases else without_shards(report.statuses)
            for report, has_leases in reports
            if report is not None
        )

    async def run(self) -> None:
        """Note since when each worker has its state, until cancelled."""
        while True:
            self.workers()
            await anyio.sleep(SECONDS_BETWEEN_LOOKS)

    def workers(self) -> list[WorkerStatus]:
        return [self._status(worker) for worker in self._team.workers]

    def numbers(self) -> list[Numbers]:
        """Return the numbers of all workers, of those that have ended, and of the parent."""
        for worker in self._team.at_work:
            self._report(worker)
        self._totals.report(PARENT, self._own_numbers())
        return self._totals.numbers()

    def sharing(self) -> SharingStatus | None:
        """Return how the workers share the leases of the state, or None if no worker has reported lately."""
        reports = [worker.life.report for worker in self._team.at_work if self._has_leases(worker)]
        return merged_sharing(report.sharing for report in reports if report is not None and report.sharing is not None)

    def functions(self) -> list[FunctionStatus]:
        reports = [worker.life.report for worker in self._team.at_work]
        return merged_functions(report.functions for report in reports if report is not None)

    def usage(self) -> list[Usage]:
        """Return the CPU time and the memory of all processes except the parent."""
        reports = [worker.life.report for worker in self._team.at_work]
        return [self._usage_of_ended, *(report.usage for report in reports if report is not None)]

    def registry(self, reload_status: Callable[[], ReloadStatus]) -> CollectorRegistry:
        """Return what /metrics shows. It is read in a worker thread."""
        registry = CollectorRegistry()
        register_process(registry, lambda: from_thread.run_sync(self.usage))
        registry.register(TotalsCollector(lambda: from_thread.run_sync(self.numbers)))
        registry.register(StatusCollector(lambda: from_thread.run_sync(self.statuses)))
        registry.register(ReloadCollector(reload_status))
        registry.register(SharingCollector(lambda: from_thread.run_sync(self.sharing)))
        return registry

    def _has_leases(self, worker: Worker) -> bool:
        """Return whether the worker may still have the leases of its last report. A silent worker renews no lease."""
        return _silence(worker) < LEASE_DURATION_IN_SECONDS

    def _report(self, worker: Worker) -> None:
        if worker.life.report is not None:
            self._totals.report(str(worker.number), worker.life.report.numbers)

    def _keep(self, worker: Worker) -> None:
        """Add the numbers of a process that has ended to the numbers that are kept."""
        self._report(worker)
        self._totals.keep(str(worker.number))
        if worker.life.report is not None:
            self._usage_of_ended = kept(worker.life.report.usage, self._usage_of_ended)

    def _status(self, worker: Worker) -> WorkerStatus:
        state, reason = self._state(worker)
        pid = None if worker.life.over.is_set() else worker.life.pid
        return WorkerStatus(worker.number, state, reason, pid, self._since(worker, state), worker.restarts)

    def _since(self, worker: Worker, state: WorkerState) -> float:
        """Return since when the worker has this state, and remember it."""
        if state == "silent":  # since its last report
            since = self._now() - _silence(worker)
        elif worker.number not in self._begun:
            since = worker.since
        else:
            last, begun = self._begun[worker.number]
            since = max(begun, worker.since) if last == state else self._now()  # `begun` may be of a former process
        self._begun[worker.number] = (state, since)
        return since

    def _state(self, worker: Worker) -> tuple[WorkerState, str | None]:
        life = worker.life
        if self._team.stop.has_begun:
            return "stopping", None
        if life.over.is_set():
            return "ended", "its process has ended, and is started again soon"
        if life.report is None:
            return "starting", "its process has not started yet"
        silence = _silence(worker)
        if silence > SILENT_AFTER_IN_SECONDS:
            return "silent", f"it has not reported for {silence:.0f} s"
        if waiting := [status.mapping for status in life.report.statuses if not is_ready(status)]:
            more = f" and {len(waiting) - NAMES_SHOWN:,} more" if len(waiting) > NAMES_SHOWN else ""
            return "starting", f"not ready: {', '.join(waiting[:NAMES_SHOWN])}{more}"
        return "ready", None


def _silence(worker: Worker) -> float:
    """Return for how many seconds the worker has not reported."""
    return anyio.current_time() - worker.life.reported_at
