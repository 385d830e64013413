"""Which series does a scrape show? The series of each mapping and function, of the daemon, and of its process.

A scrape runs in a worker thread while the event loop counts facts, so each dict is copied in one step and then read.
If several processes are one daemon, `TotalsCollector` shows the sums of their series.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, Info, PlatformCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from poller import __version__
from poller.facts.declaration import Counter, Histogram, Metric, metrics
from poller.telemetry.numbers import Numbers, summed
from poller.telemetry.processes import Usage, UsageCollector
from poller.telemetry.subject import OWNERS, Distribution, Subject

Family = Any
"""A CounterMetricFamily, GaugeMetricFamily or HistogramMetricFamily, whose `add_metric` methods differ in arguments."""


def register_process(registry: CollectorRegistry, others: Callable[[], Sequence[Usage]] = tuple) -> None:
    """Add the metrics of the program's version, and of its process, platform and garbage collector.

    `others` returns the usage of the other processes of this daemon.
    """
    build = Info("poller_build", "The program that runs.", registry=registry)
    build.info({"version": __version__, "python": platform.python_version()})
    registry.register(UsageCollector(others))
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)


class MetricCollector(Collector):
    """Shows all series of one metric, with their values at the moment of the scrape.

    Each metric has its own collector, so that the status page, which shows a few metrics, does not collect all.
    """

    def __init__(self, metric: Metric, subjects: Mapping[str, Subject]) -> None:
        self._metric = metric
        self._subjects = subjects

    def describe(self) -> Iterator[Family]:
        """Return the metric without values. The registry calls this when the collector is registered."""
        yield _family(self._metric)

    def collect(self) -> Iterator[Family]:
        name, family = self._metric.name, _family(self._metric)
        for subject in list(self._subjects.values()):
            owner = [] if subject.kind == "daemon" else [subject.name]
            if name in subject.counts:
                family.add_metric(owner, subject.counts[name])
            elif name in subject.labelled:
                for values, value in list(subject.labelled[name].items()):
                    family.add_metric([*owner, *values], value)
            elif name in subject.distributions:
                family.add_metric(owner, **_values(subject.distributions[name]))
        yield family


class TotalsCollector(Collector):
    """Shows the sums of the numbers that `numbers` returns at each scrape. The scrape's thread calls `numbers`."""

    def __init__(self, numbers: Callable[[], Sequence[Numbers]]) -> None:
        self._numbers = numbers

    def describe(self) -> Iterator[Family]:
        """Return all metrics without values. The registry calls this when the collector is registered."""
        return map(_family, metrics())

    def collect(self) -> Iterator[Family]:
        subjects = summed(self._numbers())
        for metric in metrics():
            shown = {subject.name: subject for subject in subjects if metric.of in OWNERS[subject.kind]}
            yield from MetricCollector(metric, shown).collect()


def _family(metric: Metric) -> Family:
    if isinstance(metric, Histogram):
        return HistogramMetricFamily(metric.name, metric.meaning, labels=metric.label_names)
    if isinstance(metric, Counter):
        return CounterMetricFamily(metric.name, metric.meaning, labels=metric.label_names)
    return GaugeMetricFamily(metric.name, metric.meaning, labels=metric.label_names)


def _values(distribution: Distribution) -> dict[str, Any]:
    """Return a histogram as Prometheus needs it: each bucket includes the counts of all smaller buckets."""
    bounds = [*(str(float(bound)) for bound in distribution.bounds), "+Inf"]
    counts = accumulate(list(distribution.counts))
    return {"buckets": list(zip(bounds, counts, strict=True)), "sum_value": distribution.sum}
