"""How does a fact become log lines and metrics?

    emit(fact) ── its declaration, compiled ──┬── counts: added to the series of the fact's subject   (subject.py)
                                              └── line: written, unless it repeats too often          (lines.py)
    scrape ───────────────────────────────────┬── the series of every subject                         (series.py)
                                              └── gauges, read from the statuses                      (gauges.py)

The subject of a fact is the mapping or the function that it is about, else the daemon.
A Subject has all numbers of a mapping or function. It exists from `begin_…` to `forget_…`.
A fact about a removed mapping or function is logged but not counted, so that no removed series comes back.

A batch of a queue emits three facts (received, invoked, deleted), and there are thousands of batches a second.  So each
declaration is compiled once into a function, which for these facts only adds numbers unless debug lines are wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from operator import attrgetter

import structlog
from prometheus_client import CollectorRegistry

from poller.facts.declaration import DECLARATIONS, Declaration, Fact, metrics
from poller.model.ids import FunctionName, MappingName
from poller.model.sharing import SharingStatus
from poller.model.status import MappingStatus, ReloadStatus
from poller.telemetry.collectors import ReloadCollector, SharingCollector, StatusCollector
from poller.telemetry.lines import WriteLine, writer
from poller.telemetry.numbers import Numbers, numbers_of
from poller.telemetry.series import MetricCollector, register_process
from poller.telemetry.subject import Add, Subject, adder


class Telemetry:
    """Turns facts into log lines and metrics; `emit` is the call by which everything else reports a fact.

    Make it after `logs.configure`, because it asks only once which levels are logged.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._mappings: dict[str, Subject] = {}
        self._functions: dict[str, Subject] = {}
        self._daemon = {"daemon": Subject("daemon", "daemon", "", now=now)}
        self.registry = CollectorRegistry()
        register_process(self.registry)
        for metric in metrics():
            subjects = {"daemon": self._daemon, "function": self._functions}.get(metric.of, self._mappings)
            self.registry.register(MetricCollector(metric, subjects))
        log: structlog.typing.FilteringBoundLogger = structlog.get_logger("poller").bind()
        self._compiled = {
            fact: self._compile(declaration, writer(declaration, log)) for fact, declaration in DECLARATIONS.items()
        }

    def emit(self, fact: Fact) -> None:
        """Count the fact, and write its log line if there is one at the log's level."""
        self._compiled[type(fact)](fact)

    def begin_mapping(self, mapping: MappingName, function: FunctionName, *, is_stream: bool) -> None:
        """Show the series of this mapping. New series are zero.

        Call it again when the mapping is replaced. Then its counters keep their values, unless its function or its kind
        of source (queue or stream) has changed.
        """
        new = Subject(mapping, "stream" if is_stream else "queue", function, now=self._now)
        old = self._mappings.get(mapping)
        if old is None or (old.kind, old.function) != (new.kind, new.function):
            self._mappings[mapping] = new

    def forget_mapping(self, mapping: MappingName) -> None:
        """Remove all series of this mapping, and the times of its last log lines."""
        self._mappings.pop(mapping, None)

    def begin_function(self, function: FunctionName) -> None:
        """Show the series of this function. New series are zero."""
        if function not in self._functions:
            self._functions[function] = Subject(function, "function", function, now=self._now)

    def forget_function(self, function: FunctionName) -> None:
        """Remove all series of this function, and the times of its last log lines."""
        self._functions.pop(function, None)

    def numbers(self) -> list[Numbers]:
        """Return the numbers of every mapping and function, and of the daemon. Call it in the thread that counts."""
        subjects = (self._daemon, self._functions, self._mappings)
        return [numbers_of(subject) for some in subjects for subject in some.values()]

    def watch(self, statuses: Callable[[], Sequence[MappingStatus]]) -> None:
        """Show the gauges of mappings and functions: `statuses` is called at every scrape.

        Call this method only once.
        """
        self.registry.register(StatusCollector(statuses))

    def watch_reloads(self, status: Callable[[], ReloadStatus]) -> None:
        """Show the gauges of the last reload: `status` is called at every scrape. Call this method only once."""
        self.registry.register(ReloadCollector(status))

    def watch_sharing(self, status: Callable[[], SharingStatus | None]) -> None:
        """Show the gauges of shared leases: `status` is called at every scrape. Call this method only once."""
        self.registry.register(SharingCollector(status))

    def _compile(self, declaration: Declaration, write_line: WriteLine | None) -> Callable[[Fact], None]:
        """Return the function that handles this class of facts. `write_line` is None if none of its lines is logged."""
        adders = tuple(adder(count) for count in declaration.counts)
        fields = declaration.fact._fields
        if "mapping" in fields:
            return _interpreter(self._mappings, attrgetter("mapping"), adders, write_line)
        if "function" in fields:
            return _interpreter(self._functions, attrgetter("function"), adders, write_line)
        return _interpreter(self._daemon, lambda _: "daemon", adders, write_line)


def _interpreter(
    subjects: dict[str, Subject], name: Callable[[Fact], str], adders: tuple[Add, ...], write_line: WriteLine | None
) -> Callable[[Fact], None]:
    def interpret(fact: Fact) -> None:
        subject = subjects.get(name(fact))
        if subject is not None:
            for add in adders:
                add(subject, fact)
        if write_line is not None:
            write_line(fact, subject)

    return interpret
