"""What happens to the workers of `poller run --workers N`? Their parent emits these facts."""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.declaration import Counter, Line, declare


@declare(Line("info"))
class WorkerStarted(NamedTuple):
    """A worker of this daemon has started and runs its mappings. `worker` is its number, from 1."""

    worker: int
    pid: int


@declare(
    Line("info", when=lambda fact: fact.exit_status == 0),
    Line("error", when=lambda fact: fact.restart_in_seconds is None),
    Line("warning"),
    Counter(
        "poller_worker_restarts_total",
        "Workers of this daemon that have ended and were started again.",
        of="daemon",
    ).by(1, when=lambda fact: fact.restart_in_seconds is not None),
)
class WorkerEnded(NamedTuple):
    """A worker of this daemon has ended. It starts again in `restart_in_seconds`. Without this field, it does not start
    again.

    `exit_status` is negative if a signal has ended the process: -9 for SIGKILL. It is left out if the process could not
    be started.
    `detail` says why the process could not be started, or why the parent killed it.
    While the daemon stops, only the end of a worker that was killed is logged.
    """

    worker: int
    pid: int | None
    exit_status: int | None
    restart_in_seconds: float | None = None
    detail: str = ""


@declare(Line("error"))
class WorkerNotChanged(NamedTuple):
    """A worker that was started during a reload, or that hung then, could not apply the new settings, for the reason in
    `detail`. It runs with the settings before the reload. The next reload tries again.
    """

    worker: int
    detail: str
