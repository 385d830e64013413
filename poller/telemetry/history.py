"""What has happened to each mapping in the last 30 minutes? Every 30 seconds the counters are read and compared.

    counters ── sample ──> totals ── minus the totals before ──> one interval ──> a ring of 60 intervals

The rings are in memory, with a fixed size for each mapping. A mapping that is removed loses its ring.
The counters come from the registry that /metrics shows, so they may also be those of several processes.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import anyio
import anyio.lowlevel
from anyio import to_thread
from prometheus_client import CollectorRegistry

from poller.facts.batches import INVOCATION_SECONDS, INVOCATIONS_POSTPONED, RECORDS_FAILED, RECORDS_INVOKED
from poller.model.ids import MappingName

INTERVAL_IN_SECONDS = 30.0
INTERVALS = 60

_SERIES = (
    RECORDS_INVOKED.name,
    RECORDS_FAILED.name,
    INVOCATIONS_POSTPONED.name,
    f"{INVOCATION_SECONDS.name}_sum",
    f"{INVOCATION_SECONDS.name}_count",
)

Totals = Mapping[MappingName, Sequence[float]]
"""The value of each series of `_SERIES`, for each mapping."""


class MappingHistory(NamedTuple):
    """The intervals of one mapping, the oldest first. Each number is the total of one interval."""

    records: Sequence[float]
    failed: Sequence[float]
    postponed: Sequence[float]
    seconds: Sequence[float]
    invocations: Sequence[float]

    @property
    def records_per_second(self) -> float:
        """Return how many records a second the newest interval has."""
        return self.records[-1] / INTERVAL_IN_SECONDS

    @property
    def mean_duration_in_seconds(self) -> float | None:
        """Return the mean duration of the invocations in all intervals, or None if there was none."""
        count = sum(self.invocations)
        return sum(self.seconds) / count if count else None


class History:
    """The histories of all mappings. `run` samples the registry until it is cancelled."""

    def __init__(
        self, registry: CollectorRegistry, *, refresh: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint
    ) -> None:
        """`refresh` is called before the counters are read, and waits until they are up to date."""
        self._registry = registry
        self._refresh = refresh
        self._rings: dict[MappingName, list[array[float]]] = {}
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
        for name, values in now.items():
            rings = self._rings.get(name)
            if rings is None:
                self._rings[name] = [array("f", bytes(4 * INTERVALS)) for _ in values]
                continue
            for ring, value, before in zip(rings, values, self._before[name], strict=True):
                del ring[0]
                ring.append(value - before if value >= before else value)  # a new function begins at zero
        for name in self._rings.keys() - now.keys():
            del self._rings[name]
        self._before = now

    def histories(self) -> Mapping[MappingName, MappingHistory]:
        """Return the present histories. Later samples do not change them."""
        return {name: MappingHistory(*(ring[:] for ring in rings)) for name, rings in self._rings.items()}


def totals(registry: CollectorRegistry) -> Totals:
    """Return the totals of each mapping: the sum of each counter over all its labels except `mapping`."""
    found: defaultdict[MappingName, list[float]] = defaultdict(lambda: [0.0] * len(_SERIES))
    places = {name: place for place, name in enumerate(_SERIES)}
    for family in registry.restricted_registry(_SERIES).collect():
        for sample in family.samples:
            if (place := places.get(sample.name)) is not None:
                found[MappingName(sample.labels["mapping"])][place] += sample.value
    return found
