"""How much CPU time and memory do all processes of the daemon use? /metrics shows the sums, under the usual names.

The other metrics of prometheus_client about the process, such as its start and its limits, are those of this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import ProcessCollector
from prometheus_client.registry import Collector

SUMMED = (
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_open_fds",
)

Usage = Mapping[str, float]
"""The numbers of one process, under the names in SUMMED."""

NO_USAGE: Usage = {}


def own_usage() -> Usage:
    """Return what this process uses now. It is empty on systems where prometheus_client cannot tell."""
    samples = (sample for family in _OF_THIS_PROCESS.collect() for sample in family.samples)
    return {sample.name: sample.value for sample in samples if sample.name in SUMMED}


def kept(ended: Usage, before: Usage) -> Usage:
    """Return the numbers of ended processes that still count: the sum of their CPU times."""
    (name, *_) = SUMMED
    return {name: before.get(name, 0.0) + ended.get(name, 0.0)}


class UsageCollector(Collector):
    """Shows the metrics of this process, with the usage of the others added. `others` is called at each scrape."""

    def __init__(self, others: Callable[[], Sequence[Usage]]) -> None:
        self._others = others

    def describe(self) -> Iterator[Any]:
        return iter(_OF_THIS_PROCESS.collect())

    def collect(self) -> Iterator[Any]:
        others = self._others()
        for family in _OF_THIS_PROCESS.collect():
            family.samples = [
                sample._replace(value=sample.value + sum(other.get(sample.name, 0.0) for other in others))
                for sample in family.samples
            ]
            yield family


_OF_THIS_PROCESS = ProcessCollector(registry=None)
