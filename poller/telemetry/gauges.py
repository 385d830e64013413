"""How does each mapping stand right now? Gauges that are read from the statuses at the moment of a scrape.

A disabled mapping has none, as AWS emits no metrics for it: an alert on "not ready" need not know of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from poller.model.status import MappingStatus

_GAUGES: tuple[tuple[str, str, Callable[[MappingStatus], float]], ...] = (
    ("poller_mapping_ready", "1 while the mapping polls its source.", lambda status: status.state == "ready"),
    ("poller_polls_in_flight", "Receives that wait for messages.", lambda status: status.polls_in_flight),
    ("poller_invocations_in_flight", "Batches being invoked.", lambda status: status.batches_in_flight),
    ("poller_messages_held", "Messages received and not finished.", lambda status: status.messages_held),
    ("poller_concurrency_limit", "Invocations allowed at once.", lambda status: status.concurrency_limit),
)


class StatusCollector(Collector):
    """Asks `statuses` at every scrape, and not before the first one."""

    def __init__(self, statuses: Callable[[], Sequence[MappingStatus]]) -> None:
        self._statuses = statuses

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The names alone; the registry asks for them when the collector is registered."""
        yield from _families([])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from _families([status for status in self._statuses() if status.state != "disabled"])


def _families(statuses: Sequence[MappingStatus]) -> Iterator[GaugeMetricFamily]:
    for name, meaning, read in _GAUGES:
        family = GaugeMetricFamily(name, meaning, labels=["mapping"])
        for status in statuses:
            family.add_metric([status.mapping], read(status))
        yield family
