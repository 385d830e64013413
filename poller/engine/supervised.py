"""What is the status of a supervised mapping? The first of these lines that is true decides:

    it is disabled, the daemon stops, or     the status says so
    a person has paused it
    its run has crashed                      the status says so until the next run begins
    its newest run has not begun             the status says that it waits for the invocations of the last run
    otherwise                                the newest run tells its status; if it waits somewhere for invocations of
                                             older runs, the status says where

`Supervised` is what the supervisor keeps of one mapping, and `Run` is what it keeps of one run.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Protocol, runtime_checkable

import anyio

from poller.core.merging import with_older_runs
from poller.engine.stop import Stop
from poller.model.function import Function
from poller.model.lease import Pause
from poller.model.mapping import AnyMapping, EventMapping, QueueMapping, StreamMapping
from poller.model.order import ShardOrder
from poller.model.status import BlockedShard, EventsStatus, Health, MappingStatus, QueueStatus, StreamStatus

PLACES_SHOWN = 3
"""How many shards, lanes or message groups the reason of a status names."""


class Runner(Protocol):
    """Runs one mapping once. `run` returns after its stop. If it crashes, it calls `Stop.fail` or raises the error."""

    def status(self) -> MappingStatus: ...

    def held(self) -> Sequence[str]:
        """Return where this run still has invocations, for example in which shards. A later run waits there."""
        ...

    async def run(self) -> None: ...


@runtime_checkable
class ShardRunner(Runner, Protocol):
    """Runs a mapping of a stream, and executes a person's orders about its blocked shards."""

    def order(self, order: ShardOrder) -> BlockedShard:
        """Execute the order, and return the block as it was before. Raises CannotChange if this is impossible."""
        ...


class Supervised:
    """A mapping with its options and its runs. `run` is the newest run, `runs` are all runs that have not ended.

    `found` is the source that an earlier run has found, or None. `pause` is None if the mapping is not paused.
    """

    def __init__(self, mapping: AnyMapping, function: Function, *, pause: Pause | None) -> None:
        self.mapping = mapping
        self.function = function
        self.pause = pause
        self.run: Run | None = None
        self.runs: dict[Run, None] = {}  # in the order of their begin, so that a seed of the simulation replays exactly
        self.found: str | None = None
        self.crash: Health | None = None
        self.crashes = 0
        self.changing = anyio.Lock()

    @property
    def is_paused(self) -> bool:
        return self.pause is not None


class Run:
    """One run of one mapping. `began` is set when the run may poll, or when it ends before it may poll."""

    stop: Stop
    runner: Runner

    def __init__(self, mapping: AnyMapping, function: Function) -> None:
        self.mapping = mapping
        self.function = function
        self.is_open = False
        self.began_at = 0.0
        self.began = anyio.Event()
        self.ended = anyio.Event()


def status_of(supervised: Supervised, *, is_stopping: bool) -> MappingStatus:
    """Return the status of the newest run, with what older runs still have in hand."""
    run = supervised.run
    status = _idle(supervised.mapping) if run is None else run.runner.status()
    older = [other.runner for other in supervised.runs if other is not run]
    if older:
        status = with_older_runs(status, [runner.status() for runner in older])
        if status.state == "ready" and status.reason is None:
            status = status._replace(reason=_waits_in([place for runner in older for place in runner.held()]))
    was_found = supervised.found == status.source
    return status._replace(
        **_health(supervised, status, has_older_runs=bool(older), is_stopping=is_stopping)._asdict(),
        was_found=was_found,
        destination=_destination(supervised.mapping),
    )


def _destination(mapping: AnyMapping) -> str | None:
    """Return the destination to which the mapping of a stream reports discarded batches, or None."""
    if not isinstance(mapping, StreamMapping) or mapping.on_failure is None:
        return None
    return str(mapping.on_failure.destination_arn)


def _health(supervised: Supervised, status: MappingStatus, *, has_older_runs: bool, is_stopping: bool) -> Health:
    run = supervised.run
    if not supervised.mapping.is_enabled:
        return Health("disabled")
    if is_stopping:
        return Health("stopping", status.reason)
    if supervised.pause is not None:
        how = f"a person paused it; `poller resume {supervised.mapping.name}` resumes it"
        return Health("paused", how, supervised.pause.since)
    if supervised.crash is not None:
        return supervised.crash
    if run is not None and has_older_runs and not run.began.is_set():
        return Health("starting", "waits until the invocations of its last run have ended")
    return Health(status.state, status.reason, status.since, status.attempt, status.next_try)


def _waits_in(places: Collection[str]) -> str | None:
    """Return where the newest run waits for older runs, as a reason, or None if it waits nowhere."""
    if not places:
        return None
    shown = ", ".join(islice(places, PLACES_SHOWN))
    more = f" and {len(places) - PLACES_SHOWN} more" if len(places) > PLACES_SHOWN else ""
    return f"waits in {shown}{more} until the invocations of its last run have ended"


def _idle(mapping: AnyMapping) -> MappingStatus:
    return MappingStatus(
        mapping=mapping.name,
        function=mapping.function_name,
        source=mapping.source if isinstance(mapping, EventMapping) else str(mapping.event_source_arn),
        state="disabled",
        reason=None,
        polls_in_flight=0,
        batches_in_flight=0,
        messages_held=0,
        concurrency_limit=0,
        queue=QueueStatus() if isinstance(mapping, QueueMapping) else None,
        stream=StreamStatus() if isinstance(mapping, StreamMapping) else None,
        events=EventsStatus() if isinstance(mapping, EventMapping) else None,
    )
