"""What is the state of a mapping now? The readiness page and the gauges show these values."""

from __future__ import annotations

from typing import Literal, NamedTuple

from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Owner
from poller.model.order import Action, Ends
from poller.model.stream import SequenceNumber, ShardId

MappingState = Literal["starting", "ready", "waiting", "troubled", "paused", "disabled", "stopping"]

ERROR_DETAIL_CHARACTERS = 1024

BLOCKED_KEYS_SHOWN = 10
"""The most keys of records that the status of a blocked shard lists."""


class BlockedShard(NamedTuple):
    """A shard with a blocked lane: why the lane is blocked, since when (epoch seconds), and with which records.

    `records` is the number of records in the blocked batch. Any one of them may be the cause.
    `detail` is the error message of the function or of the destination; it is empty if there is none.
    The sequence numbers are None for the last invocation of a tumbling window, which has no records.
    `keys` are the first different partition keys (Kinesis) or item keys (DynamoDB) of the records.
    `oldest_arrived_at` is when the stream got the first of the records, in epoch seconds of the stream's clock.
    `attempt` is the number of failed tries in a row, and `next_try` is the time of the next try.
    `actions` are what a person may order for the records.
    `is_function_error` is true if `reason` is the error type that the function gave, which may be any text.
    """

    shard_id: ShardId
    reason: str
    since: float
    records: int = 0
    start_sequence_number: SequenceNumber | None = None
    end_sequence_number: SequenceNumber | None = None
    detail: str = ""
    keys: tuple[str, ...] = ()
    oldest_arrived_at: float | None = None
    attempt: int | None = None
    next_try: float | None = None
    actions: tuple[Action, ...] = ()
    is_function_error: bool = False

    @property
    def ends(self) -> Ends:
        return self.start_sequence_number, self.end_sequence_number


class LaneStatus(NamedTuple):
    """A lane of a shard that has records in hand. `number` is from 1.

    `records` are read and not done. `is_invoking` is true while the function runs with some of them.
    `reason` says why the lane is blocked; it is None if the lane is not blocked. `is_function_error` is the same as in
    `BlockedShard`.
    `attempt` is the number of failed tries in a row, and `next_try` is the time of the next try.
    """

    number: int
    records: int
    is_invoking: bool
    reason: str | None = None
    attempt: int | None = None
    next_try: float | None = None
    is_function_error: bool = False


class ShardStatus(NamedTuple):
    """A shard that a worker reads. Times are in epoch seconds.

    `worker` is the worker that reads it, since `read_since`.
    Every record before `position` is done (`core/streams/notation.py` says how it is written).
    `age_in_seconds` is how far the worker is behind, as `StreamStatus.iterator_age_in_seconds` explains.
    `blocked_since` is None if the shard is not blocked.
    `lanes` are those that have records in hand.
    """

    shard_id: ShardId
    worker: Owner
    read_since: float | None
    position: str
    age_in_seconds: float
    records: int = 0
    blocked_since: float | None = None
    lanes: tuple[LaneStatus, ...] = ()


class StreamStatus(NamedTuple):
    """The part of a mapping's status that only streams have.

    `iterator_age_in_seconds` is the highest age of all shards that are read, or None if no shard is read: then nobody
    knows how far the mapping is behind. A shard's age is the time since the arrival of its oldest record in hand.
    Without a record in hand, the age is how far the last read was behind the end of the shard, plus the time for which
    reads have failed.
    `unblocked_age_in_seconds` is the highest age of the shards that are not blocked.
    `checkpoint_age_in_seconds` is how long the oldest unsaved checkpoint has waited to be saved.
    `blocked` has the blocked shards, the longest blocked first.
    `shards` has the first shards that are read (`core/streams/trouble_first.py`).
    """

    iterator_age_in_seconds: float | None = None
    unblocked_age_in_seconds: float = 0.0
    checkpoint_age_in_seconds: float = 0.0
    shards_reading: int = 0
    shards_waiting: int = 0
    shards_drained: int = 0
    shards_blocked: int = 0
    bytes_buffered: int = 0
    blocked: tuple[BlockedShard, ...] = ()
    shards: tuple[ShardStatus, ...] = ()


class QueueStatus(NamedTuple):
    """The part of a mapping's status that only queues have.

    `oldest_age_in_seconds` is the age of the oldest message in hand, or None without one. The age of the oldest message
    in the whole queue is only in CloudWatch.
    """

    oldest_age_in_seconds: float | None = None


class ReloadStatus(NamedTuple):
    """How the last reload of the settings ended. The start of the daemon counts as a reload that succeeded.

    `was_successful` is False if the settings had faults, or if a change could not be applied.
    `succeeded_at` is when the last reload that succeeded ended, in epoch seconds.
    """

    was_successful: bool
    succeeded_at: float


class ShownSettings(NamedTuple):
    """The settings that the daemon uses, as TOML without secrets.

    `notes` say how they differ from the settings file as it is now.
    """

    toml: str
    notes: tuple[str, ...] = ()


class EventsStatus(NamedTuple):
    """The part of a mapping's status that only the asynchronous events of a function have.

    The numbers were read from the event queues some seconds ago. They count the events of all processes.
    `waiting` counts the events that are due now or later, `in_flight` those that a process has claimed, and `stuck`
    those that a destination refuses permanently.
    `oldest_age_in_seconds` is the time since the oldest event was accepted, or 0 if there is no event or the queue does
    not know the time.
    `is_in_use` is true if the settings have an option for the function's events, or if there was an event.
    """

    waiting: int = 0
    in_flight: int = 0
    stuck: int = 0
    oldest_age_in_seconds: float = 0.0
    is_in_use: bool = True


WorkerState = Literal["starting", "ready", "silent", "ended", "stopping"]


class WorkerStatus(NamedTuple):
    """The status of one of several worker processes. `number` is from 1. The states:

    starting   it has not started, or one of its mappings has not found its source
    ready      it runs, and all its mappings have found their sources
    silent     it does not report, for example because its process is stopped or the host swaps
    ended      it has ended, and is started again soon
    stopping   the daemon is stopping

    `reason` says why the worker is not ready, or is None. `since` is when it came into this state, in epoch seconds.
    `restarts` is how often it was started again.
    """

    number: int
    state: WorkerState
    reason: str | None
    pid: int | None
    since: float
    restarts: int


class LastError(NamedTuple):
    """The last invocation of a mapping's function that failed, in whole or in part, and when (epoch seconds).

    `error` is the function's error type; `detail` is its message, cut to `ERROR_DETAIL_CHARACTERS`, or empty.
    """

    at: float
    error: str
    detail: str = ""


class Health(NamedTuple):
    """The state of a mapping, the reason of the state, and the time when it began. Times are in epoch seconds.

    `attempt` is the number of failed tries in a row, and `next_try` is the time of the next try.
    Both are None if nothing is being retried. `next_try` alone is None if the queue decides when the next try happens.
    """

    state: MappingState
    reason: str | None = None
    since: float | None = None
    attempt: int | None = None
    next_try: float | None = None


class MappingStatus(NamedTuple):
    """The status of one mapping. `reason` says why the mapping is not ready, or is None.

    A ready mapping may have a reason, too: it names shards, lanes or message groups in which the mapping still waits
    for invocations of an older run to end.
    The states:

    starting   the mapping has not found its source yet
    ready      it reads its source and invokes its function
    waiting    it reads its source, but its function is throttled, cannot be reached or cannot start
    troubled   reading the source or storing positions fails, or the mapping has crashed
    paused     a person has paused it
    disabled   its configuration disables it
    stopping   the daemon is stopping

    `messages_held` is the number of messages or records that were read and are not finished.
    `batches_in_flight` is the number of invocations that run; for a queue, it is the number of batches in hand.
    `concurrency_limit` is how many invocations this process may run at once now. If workers share a limit, the process
    counts only its own units of it, so the sum over all workers is at most the limit.
    `since`, `attempt` and `next_try` are the same as in `Health`.
    `stream` is None if the source is not a stream, `queue` if it is not an SQS queue of a mapping, and `events` if it
    is not an event queue of a function.
    `last_error` is the last failure of the function since the mapping began its run, also if it works again.
    `destination` is the ARN to which discarded batches of a stream are reported, or None.
    `was_found` is true if an earlier run of the mapping has found the same source.
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
    events: EventsStatus | None = None
    was_found: bool = False
    destination: str | None = None
    last_error: LastError | None = None
    queue: QueueStatus | None = None
