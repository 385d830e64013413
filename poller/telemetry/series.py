"""What does a scrape see? The series of every mapping and function, and those of the process.

The scrape runs in a thread of its own, while facts are counted: each dict is copied in one step before it is read.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, Info, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from poller import __version__
from poller.facts.declaration import Counter, Histogram, Metric, metrics
from poller.telemetry.subject import Distribution, Subject

Family = Any
"""A CounterMetricFamily, GaugeMetricFamily or HistogramMetricFamily: their `add_metric` take different arguments."""


def register_process(registry: CollectorRegistry) -> None:
    """Show the version of the program, and the process, the platform and the garbage collector that run it."""
    build = Info("poller_build", "The program that runs.", registry=registry)
    build.info({"version": __version__, "python": platform.python_version()})
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)


class SubjectCollector(Collector):
    """Shows the series of these mappings and functions as they are at the moment of the scrape."""

    def __init__(self, mappings: Mapping[str, Subject], functions: Mapping[str, Subject]) -> None:
        self._mappings = mappings
        self._functions = functions

    def describe(self) -> Iterator[Family]:
        """The names alone; the registry asks for them when the collector is registered."""
        return (_family(metric) for metric in metrics())

    def collect(self) -> Iterator[Family]:
        subjects = [*self._mappings.values(), *self._functions.values()]
        families = {metric.name: _family(metric) for metric in metrics()}
        for subject in subjects:
            for (name, *labels), value in list(subject.counts.items()):
                families[name].add_metric([subject.name, *labels], value)
            for name, distribution in subject.distributions.items():
                families[name].add_metric([subject.name], **_values(distribution))
        yield from families.values()


def _family(metric: Metric) -> Family:
    if isinstance(metric, Histogram):
        return HistogramMetricFamily(metric.name, metric.meaning, labels=metric.label_names)
    if isinstance(metric, Counter):
        return CounterMetricFamily(metric.name, metric.meaning, labels=metric.label_names)
    return GaugeMetricFamily(metric.name, metric.meaning, labels=metric.label_names)


def _values(distribution: Distribution) -> dict[str, Any]:
    """A histogram in Prometheus' terms: each bucket counts those before it, too."""
    bounds = [*(str(float(bound)) for bound in distribution.bounds), "+Inf"]
    counts = accumulate(list(distribution.counts))
    return {"buckets": list(zip(bounds, counts, strict=True)), "sum_value": distribution.sum}
