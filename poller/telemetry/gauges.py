"""Which gauges show the present state? `collectors.py` reads them from a status at each scrape.

Most gauges belong to a mapping. Those about the last reload and about shared leases belong to the daemon.
The asynchronous events of a function have gauges of their own, which belong to the function.
A disabled mapping has no gauges, because AWS has no metrics for it either. A paused mapping has only the gauge
`poller_mapping_paused`.
So an alert on "not ready" needs no exception for disabled and paused mappings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from poller.facts.declaration import Gauge, Label
from poller.model.sharing import SharingStatus
from poller.model.status import EventsStatus, MappingStatus, ReloadStatus, StreamStatus


class StatusGauge(NamedTuple):
    """A gauge, and the function that reads it from a status. The function returns None if the value is unknown.

    `labels` are the values of all labels after the first one.
    """

    metric: Gauge
    read: Callable[[MappingStatus, StreamStatus], float | None]
    labels: tuple[str, ...] = ()

    def applies_to(self, status: MappingStatus) -> bool:
        if status.events is not None:
            return self.metric.of == "function"
        if status.state == "paused":
            return self.metric is _PAUSED
        return self.metric.of in ("mapping", "queue" if status.stream is None else "stream")


_PAUSED = Gauge(
    "poller_mapping_paused",
    "1 while a person has paused the mapping, else 0. A paused mapping has no other gauge.",
    of="mapping",
)
_SHARDS = Gauge(
    "poller_shards",
    "Shards in each state: being read, waiting for a parent, or drained.",
    of="stream",
    labels=(Label("state", ("reading", "waiting", "drained")),),
)
_EVENTS = Gauge(
    "poller_event_queue_events",
    "Events in each state: waiting in the event queue, taken by a daemon, or stuck. The numbers include the events of "
    "all daemons that share the event queue.",
    of="function",
    labels=(Label("state", ("waiting", "in_flight", "stuck")),),
)

GAUGES = (
    StatusGauge(_PAUSED, lambda status, _: status.state == "paused"),
    StatusGauge(
        Gauge(
            "poller_mapping_ready",
            "1 while the mapping works, or only waits for its function (poller_mapping_waiting), else 0. /readyz says "
            "why.",
            of="mapping",
        ),
        lambda status, _: status.state in ("ready", "waiting"),
    ),
    StatusGauge(
        Gauge(
            "poller_mapping_waiting",
            "1 while the mapping waits because its function is throttled, cannot be reached, cannot start or has "
            "reserved_concurrency = 0, else 0. /readyz says why.",
            of="mapping",
        ),
        lambda status, _: status.state == "waiting",
    ),
    StatusGauge(
        Gauge(
            "poller_invocations_in_flight",
            "Invocations that run now. For a queue, each batch in hand counts until its messages are deleted "
            "or visible again.",
            of="mapping",
        ),
        lambda status, _: status.batches_in_flight,
    ),
    StatusGauge(
        Gauge(
            "poller_records_held",
            "Records that were read and are not done.",
            of="mapping",
        ),
        lambda status, _: status.messages_held,
    ),
    StatusGauge(
        Gauge(
            "poller_concurrency_limit",
            "Invocations that may run at once. If workers share a limit, a worker counts only its own units of it.",
            of="mapping",
        ),
        lambda status, _: status.concurrency_limit,
    ),
    StatusGauge(
        Gauge(
            "poller_receives_in_flight",
            "ReceiveMessage requests that wait for an answer.",
            of="queue",
        ),
        lambda status, _: status.polls_in_flight,
    ),
    StatusGauge(
        Gauge(
            "poller_iterator_age_seconds",
            "Age of the oldest record that was read and is not done. If there is none, how far reading is behind "
            "the end of the shard. The highest value of all shards. While this daemon reads no shard, the age is "
            "unknown, and there is no value.",
            of="stream",
        ),
        lambda _, stream: stream.iterator_age_in_seconds,
    ),
    StatusGauge(
        Gauge(
            "poller_checkpoint_age_seconds",
            "How long the oldest checkpoint that is not stored yet has waited, or 0 if all checkpoints are stored.",
            of="stream",
        ),
        lambda _, stream: stream.checkpoint_age_in_seconds,
    ),
    StatusGauge(
        Gauge(
            "poller_shards_blocked",
            "Shards that are blocked, or that have a blocked lane.",
            of="stream",
        ),
        lambda _, stream: stream.shards_blocked,
    ),
    StatusGauge(
        Gauge(
            "poller_buffered_bytes",
            "Size of the records that were read and are not done.",
            of="stream",
        ),
        lambda _, stream: stream.bytes_buffered,
    ),
    StatusGauge(_SHARDS, lambda _, stream: stream.shards_reading, ("reading",)),
    StatusGauge(_SHARDS, lambda _, stream: stream.shards_waiting, ("waiting",)),
    StatusGauge(_SHARDS, lambda _, stream: stream.shards_drained, ("drained",)),
    StatusGauge(
        Gauge(
            "poller_events_ready",
            "1 while the event queue of the function works and its destinations accept ended events, else 0.",
            of="function",
        ),
        lambda status, _: status.state in ("ready", "waiting"),
    ),
    StatusGauge(
        Gauge(
            "poller_events_waiting",
            "1 while events wait because the function is throttled, cannot be reached or cannot start, else 0.",
            of="function",
        ),
        lambda status, _: status.state == "waiting",
    ),
    StatusGauge(
        Gauge("poller_event_invocations_in_flight", "Invocations with an event that run or wait now.", of="function"),
        lambda status, _: status.batches_in_flight,
    ),
    StatusGauge(_EVENTS, lambda status, _: _events(status).waiting, ("waiting",)),
    StatusGauge(_EVENTS, lambda status, _: _events(status).in_flight, ("in_flight",)),
    StatusGauge(_EVENTS, lambda status, _: _events(status).stuck, ("stuck",)),
    StatusGauge(
        Gauge(
            "poller_event_queue_oldest_event_age_seconds",
            "Time since the oldest event in the event queue was accepted, or 0 if there is no event. The events in an "
            "SQS event queue do not count.",
            of="function",
        ),
        lambda status, _: _events(status).oldest_age_in_seconds,
    ),
)


class ReloadGauge(NamedTuple):
    """A gauge of the last reload, and how it is read."""

    metric: Gauge
    read: Callable[[ReloadStatus], float]


RELOAD_GAUGES = (
    ReloadGauge(
        Gauge(
            "poller_config_last_reload_successful",
            "1 if the last reload of the settings applied every change, else 0; 1 after the start.",
            of="daemon",
        ),
        lambda status: status.was_successful,
    ),
    ReloadGauge(
        Gauge(
            "poller_config_last_reload_success_timestamp_seconds",
            "When the settings were last read and applied without a failure, in seconds since 1970.",
            of="daemon",
        ),
        lambda status: status.succeeded_at,
    ),
)


class SharingGauge(NamedTuple):
    """A gauge of the leases that workers share, and how it is read. `labels` are the values of all labels."""

    metric: Gauge
    read: Callable[[SharingStatus], float]
    labels: tuple[str, ...] = ()


_LEASES = Gauge(
    "poller_leases",
    "Leases that this daemon holds: of shards, and of units of a function's concurrency.",
    of="daemon",
    labels=(Label("kind", ("shard", "unit")),),
)

SHARING_GAUGES = (
    SharingGauge(_LEASES, lambda status: status.shards, ("shard",)),
    SharingGauge(_LEASES, lambda status: status.units, ("unit",)),
    SharingGauge(
        Gauge(
            "poller_workers",
            "Workers that share the state and live, as this daemon sees it. It counts itself.",
            of="daemon",
        ),
        lambda status: len(status.workers),
    ),
    SharingGauge(
        Gauge(
            "poller_state_silence_seconds",
            "Time since the state last answered. A worker asks it each second.",
            of="daemon",
        ),
        lambda status: status.table_silence_in_seconds,
    ),
    SharingGauge(
        Gauge(
            "poller_worker_heartbeat_age_seconds",
            "Time since the state last confirmed this worker's heartbeat. A worker writes its heartbeat as often as it "
            "renews its leases.",
            of="daemon",
        ),
        lambda status: status.heartbeat_age_in_seconds,
    ),
    SharingGauge(
        Gauge(
            "poller_shard_unread_seconds",
            "The longest time for which a shard has had no reader since its parents were drained.",
            of="daemon",
        ),
        lambda status: status.unread_in_seconds,
    ),
)


def _events(status: MappingStatus) -> EventsStatus:
    return status.events or EventsStatus()
