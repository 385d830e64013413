"""How are the contenders of one case measured? All are started and warmed up. Then they take turns, round after round.

Each contender has a server of its own, so that it does not influence the figures of another one. While one contender
works, the others wait in their long polls, or are stopped. A contender that was stopped is warmed up again first:
it may have lost connections and leases. A turn has two phases:

    backlog   a source full of records, worked off as fast as possible: CPU for each record, records a second.
    paced     records arrive evenly, the same number a second for all: time from send to invoke, and CPU again,
              since batches are smaller then. (In a backlog, that time would only measure the backlog.)

A phase begins and ends with an empty source and no record in hand, so that no work counts in the wrong phase.
The figures are medians of all rounds. If a contender has lost a record, or if a record was invoked or deleted twice or
out of order, the contender is void.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Generic, NamedTuple, TypeVar

from tests.bench.brokers import Progress, Source
from tests.bench.processes import Child, ChildError, running

PATIENCE_IN_SECONDS = 40.0
LOOK_EVERY_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Load:
    """The number of records of a warm-up and of each phase of a turn. With 0, there is no paced phase."""

    warm_up: int
    backlog: int
    paced: int
    per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of one turn, or the medians of several turns. Times are in seconds, memory is in bytes.

    None was not measured.
    """

    cpu_per_record: float
    records_per_second: float
    paced_cpu_per_record: float | None
    p50: float | None
    p99: float | None
    peak_memory: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The medians, and the figures of which they are the medians."""

    median: Figures
    rounds: list[Figures]


@dataclass(frozen=True, slots=True)
class Void:
    """The reason why the figures of a contender do not count."""

    reason: str


@dataclass(frozen=True, slots=True)
class Cannot:
    """The result of a contender that cannot do the case."""


Outcome = Measured | Void | Cannot


class Moment(NamedTuple):
    """How far a contender is, and how much CPU time it has used, in seconds."""

    progress: Progress
    cpu: float


class StalledError(Exception):
    """Raised if a contender does nothing for too long."""


S = TypeVar("S", bound=Source)


class Entry(NamedTuple, Generic[S]):
    """One contender in one case: a function that opens its source, and a function that returns its command.

    Both functions get a folder. The command is None if the contender cannot do the case.
    The contender goes on for `settle_in_seconds` after its turn before it is stopped.
    """

    name: str
    open: Callable[[Path], AbstractContextManager[S]]
    command: Callable[[S, Path], list[str] | None]
    settle_in_seconds: float = 0.0


def run_case(
    name: str,
    entries: Sequence[Entry[S]],
    load: Load,
    rounds: int,
    tell: Callable[[str], None],
    *,
    others_stand_still: bool = False,
) -> dict[str, Outcome]:
    """Return one outcome for each contender. `tell` is called at the start of each warm-up and each turn.

    If waiting costs a contender much CPU time, it is stopped until its turn.
    The first contender of a round is the last one of the next round.
    """
    with ExitStack() as stack:
        runs = [stack.enter_context(_started(entry, others_stand_still)) for entry in entries]
        for run in runs:
            tell(f"{name}: {run.name} warms up")
            run.attempt(lambda run: run.warm_up(load))
        for number in range(rounds):
            first = number % len(runs)
            for run in runs[first:] + runs[:first]:
                tell(f"{name}, round {number + 1} of {rounds}: {run.name}")
                run.attempt(lambda run: run.take_turn(load))
        return {run.name: run.outcome() for run in runs}


@dataclass(slots=True)
class Run:
    """The run of one contender. `child` is None if it cannot do the case.

    `failure` says why the contender has failed.
    """

    name: str
    source: Source
    child: Child | None
    stands_still: bool
    settle_in_seconds: float
    turns: list[Figures] = field(default_factory=list)
    failure: str = ""
    _asked: int = 0

    def attempt(self, work: Callable[[Run], None]) -> None:
        """Do the work if the contender has not failed yet.

        An error becomes its outcome, and the other contenders continue.
        """
        if self.child is None or self.failure:
            return
        try:
            with self.child.woken() if self.stands_still else nullcontext():
                work(self)
                if self.stands_still:
                    time.sleep(self.settle_in_seconds)
        except (ChildError, StalledError) as error:
            self.failure = str(error)

    def warm_up(self, load: Load) -> None:
        self._work_off(load.warm_up)

    def take_turn(self, load: Load) -> None:
        assert self.child
        if self.stands_still:
            self.warm_up(load)
        begun, worked_off = self._work_off(load.backlog)
        turn = Figures(
            cpu_per_record=(worked_off.cpu - begun.cpu) / load.backlog,
            records_per_second=load.backlog / (worked_off.progress.at - worked_off.progress.began),
            paced_cpu_per_record=None,
            p50=None,
            p99=None,
            peak_memory=self.child.peak_memory(),
        )
        self.turns.append(self._paced(turn, worked_off, load) if load.paced else turn)

    def _paced(self, turn: Figures, worked_off: Moment, load: Load) -> Figures:
        assert self.child
        self.source.pace(load.paced, load.per_second)
        end = self._when_done(load.paced)
        report = self.source.report()
        return replace(
            turn,
            paced_cpu_per_record=(end.cpu - worked_off.cpu) / load.paced,
            p50=report.p50_in_seconds,
            p99=report.p99_in_seconds,
            peak_memory=self.child.peak_memory(),
        )

    def outcome(self) -> Outcome:
        if self.child is None:
            return Cannot()
        if self.failure:
            return Void(self.failure)
        if faults := self.source.report().faults:
            return Void(", ".join(f"{fault} {count}" for fault, count in faults.items()))
        return Measured(_medians(self.turns), self.turns)

    def _work_off(self, count: int) -> tuple[Moment, Moment]:
        """Let the contender process a backlog. It is stopped until the whole backlog is in the source."""
        assert self.child
        with self.child.paused():
            self.source.send(count)
            begun = self._now()
        return begun, self._when_done(count)

    def _when_done(self, count: int) -> Moment:
        assert self.child
        self._asked += count
        wait_until_done(self._asked, self.child, self.source)
        wait_until(self.source.is_empty, self.child, self.source)
        return self._now()

    def _now(self) -> Moment:
        assert self.child
        return Moment(self.source.progress(), self.child.cpu_seconds())


def wait_until_done(count: int, child: Child, source: Source) -> None:
    """Wait, as `wait_until` does, until this many records are done."""
    wait_until(lambda: source.progress().done >= count, child, source)


def wait_until(is_reached: Callable[[], bool], child: Child, source: Source) -> None:
    """Check again and again.

    Raises StalledError if nothing changes for too long, and ChildError if the contender has ended.
    """
    newest, moved_at = -1, time.monotonic()
    while not is_reached():
        child.check()
        done = source.progress().done
        if done != newest:
            newest, moved_at = done, time.monotonic()
        if time.monotonic() - moved_at > PATIENCE_IN_SECONDS:
            raise StalledError(f"stalled at {done} records: {child.last_words()}")
        time.sleep(LOOK_EVERY_SECONDS)


@contextmanager
def _started(entry: Entry[S], stands_still: bool) -> Iterator[Run]:
    with tempfile.TemporaryDirectory(prefix="poller-bench-") as name, entry.open(Path(name)) as source:
        command = entry.command(source, Path(name))
        if command is None:
            yield Run(entry.name, source, None, stands_still, entry.settle_in_seconds)
        else:
            with running(command, folder=Path(name), name="contender") as child:
                if stands_still:
                    child.pause()
                yield Run(entry.name, source, child, stands_still, entry.settle_in_seconds)


def _medians(turns: Sequence[Figures]) -> Figures:
    columns: dict[str, list[Any]] = {name: [asdict(turn)[name] for turn in turns] for name in asdict(turns[0])}
    peak = max(columns["peak_memory"])
    medians: dict[str, Any] = {name: None if None in them else median(them) for name, them in columns.items()}
    return Figures(**medians | {"peak_memory": peak})
