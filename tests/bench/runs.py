"""What do the contenders show in one case? All are started and warmed up, then they take turns, round after round.

Each has a server of its own, so that one's figures know nothing of another's; while one works, the others wait in
their long polls. A turn has two phases:

    backlog   a queue full of messages, worked off as fast as possible: CPU for each message, messages a second.
    paced     messages arrive evenly, the same number a second for all: time from send to invoke, and CPU again,
              since batches are smaller then. (In a backlog, that time would only measure the queue.)

A phase begins and ends with an empty queue and nothing in hand, so that no work is counted in the wrong one.
The figures are medians over the rounds. A contender that lost a message, or had one invoked or deleted twice or out of
order at any time, is void.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.bench.brokers import Broker, canned, real
from tests.bench.contenders import Case, Contender, fauxqs_command
from tests.bench.processes import Child, ChildError, running

PATIENCE_IN_SECONDS = 40.0
LOOK_EVERY_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Load:
    """How many messages there are in a turn's phases."""

    backlog: int
    paced: int
    per_second: float

    @property
    def warm_up(self) -> int:
        """Before the first turn. Node's compiler goes on making a consumer faster for some 15,000 messages."""
        return self.backlog * 2

    def scaled(self, share: float) -> Load:
        """The same pace after a smaller backlog."""
        return replace(self, backlog=int(self.backlog * share))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one turn showed, or the medians of several. Times in seconds, memory in bytes."""

    cpu_per_message: float
    messages_per_second: float
    paced_cpu_per_message: float
    p50: float
    p99: float
    peak_memory: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The medians, and what they are the medians of."""

    median: Figures
    rounds: list[Figures]


@dataclass(frozen=True, slots=True)
class Void:
    """The contender's figures do not count, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Cannot:
    """The contender has no way to do the case."""


Outcome = Measured | Void | Cannot


class Moment(NamedTuple):
    """How far a contender is: messages done, when, and for how many CPU seconds."""

    done: int
    at: float
    cpu: float


class StalledError(Exception):
    """Nothing was done for too long."""


def run_case(
    case: Case, contenders: Sequence[Contender], load: Load, rounds: int, tell: Callable[[str], None]
) -> dict[str, Outcome]:
    """One outcome for each contender. `tell` hears of every warm-up and every turn as it begins."""
    load = load.scaled(case.share)
    with ExitStack() as stack:
        runs = [stack.enter_context(_started(case, contender)) for contender in contenders]
        for run in runs:
            tell(f"{case.name}: {run.name} warms up")
            run.attempt(lambda run: run.warm_up(load))
        for number in range(1, rounds + 1):
            for run in runs:
                tell(f"{case.name}, round {number} of {rounds}: {run.name}")
                run.attempt(lambda run: run.take_turn(load))
        return {run.name: run.outcome() for run in runs}


@dataclass(slots=True)
class Run:
    """One contender at work. `child` is None where it cannot do the case; `failure` says how it came to its end."""

    name: str
    broker: Broker
    child: Child | None
    turns: list[Figures] = field(default_factory=list)
    failure: str = ""
    _asked: int = 0

    def attempt(self, work: Callable[[Run], None]) -> None:
        """Do it if it still can; what goes wrong is the outcome, and the others go on."""
        if self.child is None or self.failure:
            return
        try:
            work(self)
        except (ChildError, StalledError) as error:
            self.failure = str(error)

    def warm_up(self, load: Load) -> None:
        self._work_off(load.warm_up)

    def take_turn(self, load: Load) -> None:
        assert self.child
        begun, worked_off = self._work_off(load.backlog)
        self.broker.pace(load.paced, load.per_second)
        end = self._when_done(load.paced)
        report = self.broker.report()
        turn = Figures(
            cpu_per_message=(worked_off.cpu - begun.cpu) / load.backlog,
            messages_per_second=load.backlog / (worked_off.at - begun.at),
            paced_cpu_per_message=(end.cpu - worked_off.cpu) / load.paced,
            p50=report.p50_in_seconds,
            p99=report.p99_in_seconds,
            peak_memory=self.child.peak_memory(),
        )
        self.turns.append(turn)

    def outcome(self) -> Outcome:
        if self.child is None:
            return Cannot()
        if self.failure:
            return Void(self.failure)
        if faults := self.broker.report().faults:
            return Void(", ".join(f"{fault} {count}" for fault, count in faults.items()))
        return Measured(_medians(self.turns), self.turns)

    def _work_off(self, count: int) -> tuple[Moment, Moment]:
        """The contender stands still until the whole backlog is there."""
        assert self.child
        with self.child.paused():
            self.broker.send(count)
            begun = self._now()
        return begun, self._when_done(count)

    def _when_done(self, count: int) -> Moment:
        assert self.child
        self._asked += count
        wait_until_done(self._asked, self.child, self.broker)
        wait_until(self.broker.is_empty, self.child, self.broker)
        return self._now()

    def _now(self) -> Moment:
        assert self.child
        progress = self.broker.progress()
        return Moment(progress.done, progress.at, self.child.cpu_seconds())


def wait_until_done(count: int, child: Child, broker: Broker) -> None:
    """As `wait_until`, for so many messages."""
    wait_until(lambda: broker.progress().done >= count, child, broker)


def wait_until(is_reached: Callable[[], bool], child: Child, broker: Broker) -> None:
    """Look again and again. Raises StalledError when nothing moves, ChildError when the contender has ended."""
    newest, moved_at = -1, time.monotonic()
    while not is_reached():
        child.check()
        done = broker.progress().done
        if done != newest:
            newest, moved_at = done, time.monotonic()
        if time.monotonic() - moved_at > PATIENCE_IN_SECONDS:
            raise StalledError(f"stalled at {done} messages: {child.last_words()}")
        time.sleep(LOOK_EVERY_SECONDS)


@contextmanager
def _started(case: Case, contender: Contender) -> Iterator[Run]:
    with tempfile.TemporaryDirectory(prefix="poller-bench-") as name, _broker(case, Path(name)) as broker:
        command = contender.command(case, broker, Path(name))
        if command is None:
            yield Run(contender.name, broker, None)
        else:
            with running(command, folder=Path(name), name="contender") as child:
                yield Run(contender.name, broker, child)


def _broker(case: Case, folder: Path) -> AbstractContextManager[Broker]:
    if case.queue == "fauxqs":
        return real(folder, fauxqs_command(), queue_name=case.queue_name)
    return canned(folder, queue_name=case.queue_name, groups=case.groups)


def _medians(turns: Sequence[Figures]) -> Figures:
    columns = {name: [asdict(turn)[name] for turn in turns] for name in asdict(turns[0])}
    peak = max(columns["peak_memory"])
    return replace(Figures(**{name: median(values) for name, values in columns.items()}), peak_memory=peak)
