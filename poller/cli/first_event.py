"""Which event would a mapping's function get first for some records? `poller explain` shows it, `poller try` sends it.

    no tumbling windows    an event of all the records
    tumbling windows       the first event of a new window: the records of this window, and the state {}

Records of a later window wait until the function has closed the first window, so they are not in the first event.
The event of a window names the shard. A record in the shape of an event of Kinesis has it in its `eventID`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from poller.cli.records import AnyRecord
from poller.core import envelope
from poller.core.batching import MAXIMUM_EVENT_BYTES
from poller.core.streams import tumbling
from poller.model.mapping import QueueMapping, StreamMapping

UNKNOWN_SHARD = "shardId-000000000000"
"""The shard of a record that does not name one."""

END_OF_TIME = 253_402_300_000.0
"""Seconds shortly before the year 10000, which an event cannot name. A time in milliseconds is later."""


class FirstEvent(NamedTuple):
    """An event as JSON, and the records in it. `limit_in_bytes` is the limit for an event of several records."""

    encoded: bytes
    records: Sequence[AnyRecord]
    limit_in_bytes: int = MAXIMUM_EVENT_BYTES


class _Arrived(NamedTuple):
    arrived_at: float


def first_event(records: Sequence[AnyRecord], mapping: QueueMapping | StreamMapping) -> FirstEvent:
    """Return the event. There must be at least one record; all of them match the mapping's filters."""
    if isinstance(mapping, QueueMapping) or mapping.tumbling_window_in_seconds is None:
        return FirstEvent(event_of(records), records)
    arrived = [_Arrived(_arrived_at(one)) for one in records]
    window = tumbling.opened(arrived[0].arrived_at, mapping.tumbling_window_in_seconds)
    inside = records[: tumbling.within(window, arrived)]
    encoded = envelope.window_event(
        [envelope.encode(record) for record in inside],
        shard_id=_shard_of(inside[0]),
        arn=str(mapping.event_source_arn),
        window=window,
        is_final=False,
        is_terminated_early=False,
    )
    room_for_state = tumbling.MAXIMUM_STATE_BYTES - len(window.state)
    return FirstEvent(encoded, inside, MAXIMUM_EVENT_BYTES - room_for_state)


def event_of(records: Iterable[AnyRecord]) -> bytes:
    """Return an event that has nothing but these records."""
    return envelope.event([envelope.encode(record) for record in records])


def _arrived_at(record: AnyRecord) -> float:
    """Return when a record of a stream arrived, in epoch seconds; 0 if a person's record has no time or no real one."""
    inner = record.get("kinesis") or record.get("dynamodb") or {}
    time = inner.get("approximateArrivalTimestamp") or inner.get("ApproximateCreationDateTime")
    return time if isinstance(time, int | float) and 0 < time < END_OF_TIME else 0.0


def _shard_of(record: AnyRecord) -> str:
    shard_id, colon, _ = str(record.get("eventID", "")).partition(":")
    return shard_id if colon else UNKNOWN_SHARD
