"""What has happened to each mapping in the last 30 minutes? Every 30 seconds the counters are read and compared.

    counters ── sample ──> totals ── minus the totals before ──> one interval ──> a ring of 60 intervals

The rings are in memory, with a fixed size for each mapping. A mapping that is removed loses its ring.
The asynchronous events of a function have a ring, too, under the name of their mapping (model/mapping.py).
All counters begin at zero, so the first totals of a mapping are its first interval.
The counters come from the registry that /metrics shows, so they may also be those of several processes.
"""

from __future__ import annotations

from array import array
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from typing import NamedTuple

import anyio
import anyio.lowlevel
from anyio import to_thread
from prometheus_client import CollectorRegistry

from poller.facts.batches import INVOCATION_SECONDS, INVOCATIONS_POSTPONED, RECORDS_FAILED, RECORDS_INVOKED
from poller.facts.events import EVENT_ATTEMPTS, EVENT_SECONDS
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import EventMapping
from poller.telemetry.quantiles import quantile_of

INTERVAL_IN_SECONDS = 30.0
INTERVALS = 60

COUNTED = (RECORDS_INVOKED.name, RECORDS_FAILED.name, INVOCATIONS_POSTPONED.name)
"""The counters whose intervals are kept, in the order of the fields of `MappingHistory`."""

BOUNDS_IN_SECONDS: tuple[float, ...] = (*INVOCATION_SECONDS.buckets, inf)
assert EVENT_SECONDS.buckets == INVOCATION_SECONDS.buckets, "the durations of batches and events are added"

_DURATIONS, _DURATIONS_OF_EVENTS = (f"{metric.name}_bucket" for metric in (INVOCATION_SECONDS, EVENT_SECONDS))


class MappingHistory(NamedTuple):
    """The intervals of one mapping, the oldest first. Each number is the total of one interval.

    `durations` are for all intervals together: how many invocations took at most as long as each bound of
    BOUNDS_IN_SECONDS says.
    """

    records: Sequence[float]
    failed: Sequence[float]
    postponed: Sequence[float]
    durations: Sequence[float] = ()

    @property
    def records_per_second(self) -> float:
        """Return how many records a second the newest interval has."""
        return self.records[-1] / INTERVAL_IN_SECONDS


class LastMinutes(NamedTuple):
    """What has happened to a function in the last 30 minutes, in all its mappings and its asynchronous events.

    Half of its invocations took at most `p50_in_seconds`, and 99 of 100 at most `p99_in_seconds`. Both are None if
    there was none.
    """

    throttles: int
    invocations: int
    p50_in_seconds: float | None
    p99_in_seconds: float | None


def last_minutes(histories: Sequence[MappingHistory]) -> LastMinutes:
    """Return the sums of these histories."""
    durations = [sum(counts) for counts in zip(*(history.durations for history in histories), strict=True)]
    return LastMinutes(
        throttles=round(sum(sum(history.postponed) for history in histories)),
        invocations=round(durations[-1]) if durations else 0,
        p50_in_seconds=quantile_of(BOUNDS_IN_SECONDS, durations, 0.5),
        p99_in_seconds=quantile_of(BOUNDS_IN_SECONDS, durations, 0.99),
    )


class Totals:
    """The totals of one mapping: the counters of COUNTED, and the durations as `MappingHistory.durations` has them."""

    __slots__ = ("counters", "durations")

    def __init__(self, counters: Sequence[float] = (), durations: Sequence[float] = ()) -> None:
        self.counters = list(counters) or [0.0] * len(COUNTED)
        self.durations = list(durations) or [0.0] * len(BOUNDS_IN_SECONDS)


class History:
    """The histories of all mappings. `run` samples the registry until it is cancelled."""

    def __init__(
        self, registry: CollectorRegistry, *, refresh: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint
    ) -> None:
        """`refresh` is called before the counters are read, and waits until they are up to date."""
        self._registry = registry
        self._refresh = refresh
        self._rings: dict[MappingName, _Ring] = {}

    async def run(self) -> None:
        while True:
            await self.run_once()
            await anyio.sleep(INTERVAL_IN_SECONDS)

    async def run_once(self) -> None:
        """Read the counters in a worker thread, because this takes a while with a thousand mappings."""
        await self._refresh()
        self.add(await to_thread.run_sync(totals, self._registry, abandon_on_cancel=True))

    def add(self, now: Mapping[MappingName, Totals]) -> None:
        """Add one interval to the ring of each mapping: these totals minus the totals before."""
        self._rings = {name: self._rings.get(name) or _Ring() for name in now}
        for name, ring in self._rings.items():
            ring.add(now[name])

    def histories(self) -> Mapping[MappingName, MappingHistory]:
        """Return the present histories. Later samples do not change them."""
        return {name: ring.history() for name, ring in self._rings.items()}


class _Ring:
    """The last intervals of one mapping."""

    def __init__(self) -> None:
        self._intervals = [array("f", bytes(4 * INTERVALS)) for _ in COUNTED]
        self._before = Totals().counters
        self._durations = deque([array("d", Totals().durations)], maxlen=INTERVALS + 1)

    def add(self, totals: Totals) -> None:
        for ring, value, before in zip(self._intervals, totals.counters, self._before, strict=True):
            del ring[0]
            ring.append(value - before if value >= before else value)  # a new function begins at zero
        self._before = totals.counters
        last, durations = self._durations[-1], array("d", totals.durations)
        if any(now < before for now, before in zip(durations, last, strict=True)):  # the same here
            self._durations.clear()
            self._durations.append(array("d", Totals().durations))
        self._durations.append(last if durations == last else durations)  # an idle mapping keeps one array

    def history(self) -> MappingHistory:
        oldest, newest = self._durations[0], self._durations[-1]
        durations = tuple(now - before for now, before in zip(newest, oldest, strict=True))
        records, failed, postponed = (ring[:] for ring in self._intervals)
        return MappingHistory(records, failed, postponed, durations)


def totals(registry: CollectorRegistry) -> Mapping[MappingName, Totals]:
    """Return the totals of each mapping: the sum of each counter over all its labels except `mapping`."""
    found: defaultdict[MappingName, Totals] = defaultdict(Totals)
    places = {bound: place for place, bound in enumerate(BOUNDS_IN_SECONDS)}
    names = [*COUNTED, EVENT_ATTEMPTS.name, _DURATIONS, _DURATIONS_OF_EVENTS]
    for family in registry.restricted_registry(names).collect():
        for name, labels, value, *_ in family.samples:
            of_batches = labels.get("mapping")
            mapping = MappingName(of_batches) if of_batches else EventMapping.named(FunctionName(labels["function"]))
            of_mapping = found[mapping]
            if name in COUNTED:
                of_mapping.counters[COUNTED.index(name)] += value
            elif name in (_DURATIONS, _DURATIONS_OF_EVENTS):
                of_mapping.durations[places[float(labels["le"])]] += value
            elif labels["outcome"] in ("throttled", "unreachable"):
                of_mapping.counters[COUNTED.index(INVOCATIONS_POSTPONED.name)] += value
    return found
