"""What has happened to each mapping in the last 30 minutes? Every 30 seconds the counters are read and compared.

    counters ── sample ──> totals ── minus the totals before ──> one interval ──> a ring of 60 intervals

The rings are in memory, with a fixed size for each mapping. A mapping that is removed loses its ring.
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
from poller.model.ids import MappingName
from poller.telemetry.quantiles import quantile_of

INTERVAL_IN_SECONDS = 30.0
INTERVALS = 60

_SERIES = (
    RECORDS_INVOKED.name,
    RECORDS_FAILED.name,
    INVOCATIONS_POSTPONED.name,
    f"{INVOCATION_SECONDS.name}_sum",
    f"{INVOCATION_SECONDS.name}_count",
)
_BUCKETS = f"{INVOCATION_SECONDS.name}_bucket"
BOUNDS_IN_SECONDS: tuple[float, ...] = (*INVOCATION_SECONDS.buckets, inf)

Totals = Mapping[MappingName, Sequence[float]]
"""The value of each series of `_SERIES` for each mapping, and then of each bucket of the durations."""


class MappingHistory(NamedTuple):
    """The intervals of one mapping, the oldest first. Each number is the total of one interval.

    `durations` are for all intervals together: how many invocations took at most as long as each bound of
    BOUNDS_IN_SECONDS says.
    """

    records: Sequence[float]
    failed: Sequence[float]
    postponed: Sequence[float]
    seconds: Sequence[float]
    invocations: Sequence[float]
    durations: Sequence[float] = ()

    @property
    def records_per_second(self) -> float:
        """Return how many records a second the newest interval has."""
        return self.records[-1] / INTERVAL_IN_SECONDS

    @property
    def mean_duration_in_seconds(self) -> float | None:
        """Return the mean duration of the invocations in all intervals, or None if there was none."""
        count = sum(self.invocations)
        return sum(self.seconds) / count if count else None

    def duration_in_seconds(self, quantile: float) -> float | None:
        """Return the time that this part of the invocations took at most, or None if there was no invocation."""
        return quantile_of(BOUNDS_IN_SECONDS, self.durations, quantile)


def durations_of(histories: Sequence[MappingHistory]) -> Sequence[float]:
    """Return the durations of all these mappings together, as those of one mapping."""
    return [sum(counts) for counts in zip(*(history.durations for history in histories), strict=True)]


class History:
    """The histories of all mappings. `run` samples the registry until it is cancelled."""

    def __init__(
        self, registry: CollectorRegistry, *, refresh: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint
    ) -> None:
        """`refresh` is called before the counters are read, and waits until they are up to date."""
        self._registry = registry
        self._refresh = refresh
        self._rings: dict[MappingName, list[array[float]]] = {}
        self._buckets: dict[MappingName, deque[tuple[float, ...]]] = {}
        self._before: Totals = {}

    async def run(self) -> None:
        while True:
            await self.run_once()
            await anyio.sleep(INTERVAL_IN_SECONDS)

    async def run_once(self) -> None:
        """Read the counters in a worker thread, because this takes a while with a thousand mappings."""
        await self._refresh()
        self.add(await to_thread.run_sync(totals, self._registry, abandon_on_cancel=True))

    def add(self, now: Totals) -> None:
        """Add one interval: these totals minus the totals before. The first totals of a mapping add no interval."""
        for name, every in now.items():
            values, buckets = every[: len(_SERIES)], tuple(every[len(_SERIES) :])
            rings = self._rings.get(name)
            if rings is None:
                self._rings[name] = [array("f", bytes(4 * INTERVALS)) for _ in values]
                self._buckets[name] = deque([buckets], maxlen=INTERVALS + 1)
                continue
            self._add_buckets(self._buckets[name], buckets)
            for ring, value, before in zip(rings, values, self._before[name], strict=False):
                del ring[0]
                ring.append(value - before if value >= before else value)  # a new function begins at zero
        for name in self._rings.keys() - now.keys():
            del self._rings[name], self._buckets[name]
        self._before = now

    def histories(self) -> Mapping[MappingName, MappingHistory]:
        """Return the present histories. Later samples do not change them."""
        return {
            name: MappingHistory(*(ring[:] for ring in rings))._replace(durations=_since_the_first(self._buckets[name]))
            for name, rings in self._rings.items()
        }

    @staticmethod
    def _add_buckets(kept: deque[tuple[float, ...]], buckets: tuple[float, ...]) -> None:
        if any(now < before for now, before in zip(buckets, kept[-1], strict=True)):
            kept.clear()  # a new function begins at zero
            kept.append((0.0,) * len(buckets))
        kept.append(kept[-1] if buckets == kept[-1] else buckets)  # an idle mapping needs no memory for them


def _since_the_first(kept: deque[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(last - first for last, first in zip(kept[-1], kept[0], strict=True))


def totals(registry: CollectorRegistry) -> Totals:
    """Return the totals of each mapping: the sum of each counter over all its labels except `mapping`."""
    size = len(_SERIES) + len(BOUNDS_IN_SECONDS)
    found: defaultdict[MappingName, list[float]] = defaultdict(lambda: [0.0] * size)
    places = {name: place for place, name in enumerate(_SERIES)}
    buckets = {bound: place for place, bound in enumerate(BOUNDS_IN_SECONDS, len(_SERIES))}
    for family in registry.restricted_registry([*_SERIES, _BUCKETS]).collect():
        for sample in family.samples:
            place = places.get(sample.name)
            if sample.name == _BUCKETS:
                place = buckets[float(sample.labels["le"])]
            if place is not None:
                found[MappingName(sample.labels["mapping"])][place] += sample.value
    return found
