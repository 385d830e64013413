"""How does a scrape get the gauges of `gauges.py`? Each collector asks for the present status at every scrape.

Nothing is read between two scrapes, so a gauge costs nothing while nobody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from poller.facts.declaration import Gauge
from poller.model.sharing import SharingStatus
from poller.model.status import MappingStatus, ReloadStatus, StreamStatus
from poller.telemetry.gauges import GAUGES, RELOAD_GAUGES, SHARING_GAUGES


class StatusCollector(Collector):
    """Calls `statuses` at every scrape and at no other time."""

    def __init__(self, statuses: Callable[[], Sequence[MappingStatus]]) -> None:
        self._statuses = statuses

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges without values. The registry calls this when the collector is registered."""
        return _families([])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        return _families([status for status in self._statuses() if status.state != "disabled"])


class ReloadCollector(Collector):
    """Calls `status` at every scrape, and not before the first one."""

    def __init__(self, status: Callable[[], ReloadStatus]) -> None:
        self._status = status

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges without values; the registry asks for them when the collector is registered."""
        return (GaugeMetricFamily(gauge.metric.name, gauge.metric.meaning) for gauge in RELOAD_GAUGES)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        status = self._status()
        for gauge in RELOAD_GAUGES:
            yield GaugeMetricFamily(gauge.metric.name, gauge.metric.meaning, value=gauge.read(status))


class SharingCollector(Collector):
    """Calls `status` at every scrape. There are no gauges while it returns None."""

    def __init__(self, status: Callable[[], SharingStatus | None]) -> None:
        self._status = status

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges without values. The registry calls this when the collector is registered."""
        return iter(_sharing_families().values())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        if (status := self._status()) is None:
            return
        families = _sharing_families()
        for gauge in SHARING_GAUGES:
            families[gauge.metric].add_metric(gauge.labels, gauge.read(status))
        yield from families.values()


def _sharing_families() -> dict[Gauge, GaugeMetricFamily]:
    return {
        gauge.metric: GaugeMetricFamily(gauge.metric.name, gauge.metric.meaning, labels=gauge.metric.label_names)
        for gauge in SHARING_GAUGES
    }


def _families(statuses: Sequence[MappingStatus]) -> Iterator[GaugeMetricFamily]:
    families = {
        gauge.metric: GaugeMetricFamily(gauge.metric.name, gauge.metric.meaning, labels=gauge.metric.label_names)
        for gauge in GAUGES
    }
    for gauge in GAUGES:
        for status in filter(gauge.applies_to, statuses):
            if (value := gauge.read(status, status.stream or StreamStatus())) is None:
                continue
            subject = status.function if gauge.metric.of == "function" else status.mapping
            families[gauge.metric].add_metric([subject, *gauge.labels], value)
    yield from families.values()
