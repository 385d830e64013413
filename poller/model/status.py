"""How is a mapping doing? What the readiness page and the gauges show of one mapping at one moment."""

from __future__ import annotations

from typing import Literal, NamedTuple

from poller.model.ids import FunctionName, MappingName
from poller.model.stream import SequenceNumber, ShardId

MappingState = Literal["starting", "ready", "waiting", "troubled", "paused", "disabled", "stopping"]

BLOCKED_SHARDS_SHOWN = 10
"""How many of its blocked shards a mapping names, the longest blocked first; the number counts them all."""


class BlockedShard(NamedTuple):
    """A shard with a blocked lane: why, since when (epoch seconds), and which records are tried together.

    `detail` is the error message of the function or of the destination, empty if there is none.
    The records are a batch or a part of one: nobody knows which of them is at fault.
    Their first and last sequence number are None for the last invocation of a window, which has no records.
    """

    shard_id: ShardId
    reason: str
    since: float
    records: int = 0
    start_sequence_number: SequenceNumber | None = None
    end_sequence_number: SequenceNumber | None = None
    detail: str = ""


class StreamStatus(NamedTuple):
    """What there is to say of a stream beside.

    `iterator_age_in_seconds` is the greatest over the shards: how long ago the oldest record that was read and is not
    done arrived; where there is none, how far the shard's reading is behind its tip, and how long reading has failed.
    `checkpoint_age_in_seconds` is how long the oldest checkpoint that has moved waits to be stored.
    """

    iterator_age_in_seconds: float = 0.0
    checkpoint_age_in_seconds: float = 0.0
    shards_reading: int = 0
    shards_waiting: int = 0
    shards_drained: int = 0
    shards_blocked: int = 0
    bytes_buffered: int = 0
    blocked: tuple[BlockedShard, ...] = ()


class Health(NamedTuple):
    """A state, the reason for it, and since when it holds. Times are in epoch seconds.

    `attempt` is how many tries in a row have failed, and `next_try` when the next one comes.
    Both are None if nothing is tried again; only `next_try` is None if the queue decides when.
    """

    state: MappingState
    reason: str | None = None
    since: float | None = None
    attempt: int | None = None
    next_try: float | None = None


class MappingStatus(NamedTuple):
    """`reason` says in a sentence why a mapping is not ready; None if it is.

    A mapping that has not yet found its source is `starting`; one that found it and lost it, or
    whose positions cannot be stored, is `troubled`.
    One that polls its source, but whose function takes no batches or cannot start, is `waiting`.
    `since`, `attempt` and `next_try` are those of `Health`.
    `messages_held` counts records in hand, read and not finished; `concurrency_limit` is how many invocations may run
    at once now.  `stream` is None for a queue.
    """

    mapping: MappingName
    function: FunctionName
    source: str
    state: MappingState
    reason: str | None
    polls_in_flight: int
    batches_in_flight: int
    messages_held: int
    concurrency_limit: int
    stream: StreamStatus | None = None
    since: float | None = None
    attempt: int | None = None
    next_try: float | None = None
