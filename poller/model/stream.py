"""What is a stream made of? Shards with parents, records in order, and positions between them.

A position says where reading goes on; a checkpoint is a position that was stored, with the window that was open there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NewType

import orjson

from poller.model.ids import MappingName

ShardId = NewType("ShardId", str)

SequenceNumber = NewType("SequenceNumber", str)
"""A record's place in its shard: decimal digits as the service writes them, of varying length.

Order is that of the numbers, never that of the texts (`core/streams/positions.py`).
"""

ShardIterator = NewType("ShardIterator", str)
"""AWS's read cursor: good for one read, and only for some minutes."""


class Shard(NamedTuple):
    """`parent_ids` has none, one (split, rollover), or two (merge); a parent may long be gone from the stream.

    `is_open` is false once the shard takes no new records; what it holds can still be read.
    """

    shard_id: ShardId
    parent_ids: tuple[ShardId, ...]
    is_open: bool


@dataclass(frozen=True, slots=True)
class TrimHorizon:
    """The oldest record that the source still has."""


@dataclass(frozen=True, slots=True)
class Latest:
    """What comes from now on. Never stored: at the first start, that moment is stored instead."""


@dataclass(frozen=True, slots=True)
class AtTimestamp:
    """The first record that arrived at or after this moment, in epoch seconds."""

    timestamp: float


@dataclass(frozen=True, slots=True)
class AtSequence:
    """This record is the next."""

    sequence_number: SequenceNumber


@dataclass(frozen=True, slots=True)
class AfterSequence:
    """The record after this one is the next."""

    sequence_number: SequenceNumber


@dataclass(frozen=True, slots=True)
class ShardEnd:
    """The shard is drained: closed, and all of it done."""


StartingPosition = TrimHorizon | Latest | AtTimestamp
"""Where a stream may be begun; the others are places in one shard."""

Position = StartingPosition | AtSequence | AfterSequence | ShardEnd


class StreamRecord(NamedTuple):
    """A record as read once. `encoded` is the JSON that the function will see (`core/envelope.py`).

    `lane_key` is what order is kept by under a parallelization factor: the partition key, or the item's key.
    `arrived_at` is when the source took it, in epoch seconds.
    """

    sequence_number: SequenceNumber
    lane_key: str
    arrived_at: float
    encoded: bytes

    @property
    def record(self) -> Any:
        """What is encoded, taken apart anew at each call: for filters."""
        try:
            return orjson.loads(self.encoded)
        except orjson.JSONDecodeError:  # half of a surrogate pair, which the fast one refuses
            return json.loads(self.encoded)


class Read(NamedTuple):
    """The answer of one read. `next_iterator` is None at the shard's end.

    `behind_in_seconds` is how far the answer's end is from the shard's tip, or how far at least; None where the source
    does not say.
    """

    records: list[StreamRecord]
    next_iterator: ShardIterator | None
    behind_in_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """How a service lets its streams be read. Times are in seconds.

    A service that does not say how far a read is behind the tip is taken to be there after `empty_reads_at_the_tip`.
    A drained shard that is not listed any more is remembered for `drained_shard_memory`, which must be longer than the
    service keeps its records: the shard may be listed again.
    """

    listing_operation: str
    read_interval_when_behind: float
    read_interval_at_the_tip: float
    iterator_interval: float
    empty_reads_at_the_tip: int
    drained_shard_memory: float


class Window(NamedTuple):
    """A tumbling window in the making: its bounds in epoch seconds, and the state that the function last returned.

    `state` is JSON text.
    """

    start: int
    end: int
    state: bytes


class Checkpoint(NamedTuple):
    """What is stored for one shard: everything before `position` is done. `window` is the one open there, if any."""

    position: Position
    window: Window | None = None


WriterId = NewType("WriterId", str)
"""One run of one mapping; no two runs have the same."""


class Claim(NamedTuple):
    """By which right a writer stores its shards: the versions that it writes.

    A shard's version is the same for all saves of one writer, and larger for the next writer.
    A writer that has read a version writes the next one; a shard that nobody has stored begins with 1.
    """

    writer: WriterId
    versions: Mapping[ShardId, int]

    def version_of(self, shard_id: ShardId) -> int:
        return self.versions.get(shard_id, 1)


class StoredCheckpoint(NamedTuple):
    """What is stored for one shard; `saved_at` is in epoch seconds."""

    checkpoint: Checkpoint
    version: int
    saved_at: float


class StateKey(NamedTuple):
    """Whose checkpoints: those of a mapping, in one stream. A sequence number means nothing in another stream.

    A mapping that is given another stream begins there anew, and finds its old positions if it returns.
    A consumer's mapping has the key of the stream itself: to change from one to the other loses no place.
    """

    mapping: MappingName
    stream_arn: str
