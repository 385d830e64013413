"""How does each mapping stand right now? Gauges that are read from the statuses at the moment of a scrape.

A disabled mapping has none, as AWS emits no metrics for it: an alert on "not ready" need not know of it.
What only a queue or only a stream has, is shown of that alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from poller.model.status import MappingStatus, StreamStatus

_OF_ALL: tuple[tuple[str, str, Callable[[MappingStatus], float]], ...] = (
    (
        "poller_mapping_ready",
        "1 while the mapping polls its source and its positions can be stored.",
        lambda status: status.state in ("ready", "waiting"),
    ),
    (
        "poller_mapping_waiting",
        "1 while the mapping's function takes no batches or cannot start; /readyz says why.",
        lambda status: status.state == "waiting",
    ),
    ("poller_invocations_in_flight", "Batches being invoked.", lambda status: status.batches_in_flight),
    ("poller_records_held", "Messages or records received and not finished.", lambda status: status.messages_held),
    ("poller_concurrency_limit", "Invocations allowed at once.", lambda status: status.concurrency_limit),
)

_OF_QUEUES: tuple[tuple[str, str, Callable[[MappingStatus], float]], ...] = (
    ("poller_receives_in_flight", "Receives that wait for messages.", lambda status: status.polls_in_flight),
)

_OF_STREAMS: tuple[tuple[str, str, Callable[[StreamStatus], float]], ...] = (
    (
        "poller_iterator_age_seconds",
        "Age of the oldest record read and not done, else how far reading is behind; the greatest over the shards.",
        lambda stream: stream.iterator_age_in_seconds,
    ),
    (
        "poller_checkpoint_age_seconds",
        "How long the oldest checkpoint that has moved waits to be stored.",
        lambda stream: stream.checkpoint_age_in_seconds,
    ),
    ("poller_shards_blocked", "Shards in which a lane is blocked.", lambda stream: stream.shards_blocked),
    ("poller_buffered_bytes", "Bytes of records read and not done.", lambda stream: stream.bytes_buffered),
)

_SHARD_STATES: tuple[tuple[str, Callable[[StreamStatus], int]], ...] = (
    ("reading", lambda stream: stream.shards_reading),
    ("waiting", lambda stream: stream.shards_waiting),
    ("drained", lambda stream: stream.shards_drained),
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
    queues = [status for status in statuses if status.stream is None]
    streams = [(status, status.stream) for status in statuses if status.stream is not None]
    for gauges, shown in ((_OF_ALL, statuses), (_OF_QUEUES, queues)):
        for name, meaning, read in gauges:
            yield _family(name, meaning, [(status, read(status)) for status in shown])
    for name, meaning, read_stream in _OF_STREAMS:
        yield _family(name, meaning, [(status, read_stream(stream)) for status, stream in streams])
    shards = GaugeMetricFamily(
        "poller_shards",
        "Shards by state: reading, waiting for their parents, or drained.",
        labels=["mapping", "state"],
    )
    for status, stream in streams:
        for state, count in _SHARD_STATES:
            shards.add_metric([status.mapping, state], count(stream))
    yield shards


def _family(name: str, meaning: str, values: Sequence[tuple[MappingStatus, float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=["mapping"])
    for status, value in values:
        family.add_metric([status.mapping], value)
    return family
