"""What does a stream consist of? It has shards with parents; a shard has records in order, and positions between them.

A position is a place in a shard where reading continues. A checkpoint is a stored position, together with the tumbling
window that is open there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple, NewType

import orjson

from poller.model.ids import MappingName

ShardId = NewType("ShardId", str)

SequenceNumber = NewType("SequenceNumber", str)
"""A record's place in its shard: a number in decimal digits, as the service writes it.

The number of digits varies, so compare two of them as numbers, never as texts (`core/positions.py`).
"""

ShardIterator = NewType("ShardIterator", str)
"""AWS's read cursor. It is valid for one read, and only for some minutes."""


class Shard(NamedTuple):
    """A shard. It has no parent, one parent (after a split or a rollover) or two parents (after a merge).

    A parent may have left the stream already.
    `is_open` is false once the shard accepts no new records; its records can still be read.
    """

    shard_id: ShardId
    parent_ids: tuple[ShardId, ...]
    is_open: bool


@dataclass(frozen=True, slots=True)
class TrimHorizon:
    """Reading begins at the oldest record that the source still has."""


@dataclass(frozen=True, slots=True)
class Latest:
    """Reading begins with the records that arrive from now on.

    This position is never stored: the first start stores its time.
    """


TOO_LATE = 253_402_300_800
"""The beginning of the year 10000, in epoch seconds. This time and later ones cannot be shown to a person."""


@dataclass(frozen=True, slots=True)
class AtTimestamp:
    """Reading begins at the first record that arrived at or after this time, in epoch seconds."""

    timestamp: float


@dataclass(frozen=True, slots=True)
class AtSequence:
    """Reading continues with this record."""

    sequence_number: SequenceNumber


@dataclass(frozen=True, slots=True)
class AfterSequence:
    """Reading continues with the record after this one."""

    sequence_number: SequenceNumber


@dataclass(frozen=True, slots=True)
class ShardEnd:
    """The shard is drained: it is closed, and all of its records are done."""


StartingPosition = TrimHorizon | Latest | AtTimestamp
"""A position at which the reading of a whole stream may begin. The other positions belong to one shard."""

Position = StartingPosition | AtSequence | AfterSequence | ShardEnd


class StreamRecord(NamedTuple):
    """A record that was read. `encoded` is the JSON that the function will see (`core/envelope.py`).

    `lane_key` is the partition key (Kinesis) or the item's key (DynamoDB). Records with equal keys stay in order.
    `arrived_at` is when the source received the record, in epoch seconds.
    """

    sequence_number: SequenceNumber
    lane_key: str
    arrived_at: float
    encoded: bytes

    @property
    def record(self) -> Any:
        """Return the parsed JSON of `encoded`, for filters. Every access parses it again."""
        try:
            return orjson.loads(self.encoded)
        except orjson.JSONDecodeError:  # orjson refuses half of a surrogate pair
            return json.loads(self.encoded)


class Read(NamedTuple):
    """The answer to one read. `next_iterator` is None if the read has reached the end of a closed shard.

    `behind_in_seconds` is how far the end of this answer is behind the end of the shard, or a lower bound of this time.
    It is None if the source does not say it.
    `children` are the children of the shard, if its end was reached and the service names them there.
    """

    records: list[StreamRecord]
    next_iterator: ShardIterator | None
    behind_in_seconds: float | None
    children: tuple[ShardId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """The rates and limits for reading a service's streams. Times are in seconds.

    `listing_operation` is the name of the operation that lists shards.
    The read intervals run from the beginning of one read to the beginning of the next one.
    `iterator_interval` is the pause before an expired iterator is replaced.
    `empty_reads_at_the_tip` is for a service that does not say how far a read is behind the end of the shard. After
    this number of empty reads in a row, the reader counts as caught up.
    `drained_shard_memory` is how long an unlisted shard is remembered after it was drained. It must be longer than the
    service keeps records, because a later listing may contain the shard again.
    """

    listing_operation: str
    read_interval_when_behind: float
    read_interval_at_the_tip: float
    iterator_interval: float
    empty_reads_at_the_tip: int
    drained_shard_memory: float


class Window(NamedTuple):
    """An open tumbling window: its bounds in epoch seconds, and the state that the function last returned, as JSON."""

    start: int
    end: int
    state: bytes


class Checkpoint(NamedTuple):
    """The stored state of one shard: every record before `position` is done. `window` is the open tumbling window."""

    position: Position
    window: Window | None = None


class StateKey(NamedTuple):
    """The key of stored checkpoints: a mapping and a stream, because a position is valid in one stream only.

    A mapping that changes to another stream begins there at its starting position. If it changes back, it continues
    from its old checkpoints.
    If `event_source_arn` changes from a Kinesis stream to one of its consumers, or back, the key stays the same, and so
    the mapping keeps its checkpoints.
    """

    mapping: MappingName
    stream_arn: str
