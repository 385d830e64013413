"""What can happen? One frozen type for each fact, in the order in which a message meets them.

Counts are numbers of records unless a name says otherwise; times are seconds.  Every field is safe to log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from poller.model.ids import FunctionName, MappingName, RequestId

# The daemon and its mappings


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStarted:
    """`http` is the address that is listened to, `host:port`, with the port that was found where 0 was asked for."""

    version: str
    settings: str
    mappings: int
    http: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStopping:
    """The three stages of a stop: no more polls; drain what runs; release what is left."""

    stage: Literal["draining", "releasing", "stopped"]
    batches_in_flight: int


class ReloadIgnored(NamedTuple):
    """SIGHUP came. Other daemons reload their settings then; this one cannot do that yet."""


class StateOpened(NamedTuple):
    """The state file was opened and read completely. `positions` is how many shards have a position."""

    file: str
    positions: int


class TooFewFileDescriptors(NamedTuple):
    """The system allows fewer open files than the mappings need when all of them are busy."""

    limit: int
    needed: int


class SettingsWarning(NamedTuple):
    """Something in the settings is allowed, but probably not meant."""

    warning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingReady:
    """The source was found and the mapping polls it. `advice` carries advice on the source's own settings.

    A stream has no visibility timeout.
    """

    mapping: MappingName
    source: str
    function: FunctionName
    visibility_timeout_in_seconds: int | None = None
    advice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFailed:
    """The source refused or did not answer; the mapping waits `retry_in_seconds` and tries again.

    `source` is its ARN.
    `is_lasting` when waiting will hardly cure it (missing, forbidden, rejected), so that somebody has to look.
    """

    mapping: MappingName
    source: str
    operation: str
    code: str
    detail: str
    retry_in_seconds: float
    is_lasting: bool = False


class ReadThrottled(NamedTuple):
    """A stream did not let a shard be read now, for its limits: nothing unusual, and tried again soon."""

    mapping: MappingName
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecovered:
    mapping: MappingName


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFailed:
    """The position store did not do what a mapping asked; the call is repeated in `retry_in_seconds`.

    `is_lasting` as for a source; `detail` names the file.
    """

    mapping: MappingName
    operation: str
    code: str
    detail: str
    retry_in_seconds: float
    is_lasting: bool = False


class StoreRecovered(NamedTuple):
    mapping: MappingName


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingCrashed:
    """A fault of our own in one mapping's tasks; it is started again, the others go on."""

    mapping: MappingName
    error: BaseException
    retry_in_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingCrashing:
    """A fault of our own in one task of a queue mapping: it polls no more, and its other batches may finish first.

    `batches_in_flight` counts them; `MappingCrashed` follows when they are done, within `ends_within_seconds`.
    """

    mapping: MappingName
    error: BaseException
    batches_in_flight: int
    ends_within_seconds: float


# The way of a record: these are made once for a receive or a batch, thousands a second


class RecordsPolled(NamedTuple):
    mapping: MappingName
    records: int


class RecordsFilteredOut(NamedTuple):
    mapping: MappingName
    records: int


class BatchInvoked(NamedTuple):
    """An invocation came to an end. `failed` counts the records that are not done.

    `outcome` is succeeded, partly_failed or failed; `reason` and `detail` say why, empty on success.
    `oldest_record_age_seconds` is from the sending of the batch's oldest record to the moment the invocation began.
    """

    mapping: MappingName
    function: FunctionName
    request_id: RequestId
    outcome: Literal["succeeded", "partly_failed", "failed"]
    records: int
    failed: int
    attempt: int
    duration_seconds: float
    oldest_record_age_seconds: float
    reason: str
    detail: str
    log_tail: str


class InvocationPostponed(NamedTuple):
    """The function could not take the batch (throttled, not reachable); it stays in hand for another try."""

    mapping: MappingName
    function: FunctionName
    records: int
    attempt: int
    reason: str
    retry_in_seconds: float
    is_throttle: bool
    detail: str = ""


class MappingWaiting(NamedTuple):
    """The mapping begins to wait: its function takes no batches, or cannot start. Recorded once, not at each try."""

    mapping: MappingName
    function: FunctionName
    reason: str


class MappingWaitEnded(NamedTuple):
    """The function runs again, `waited_seconds` after the mapping began to wait."""

    mapping: MappingName
    function: FunctionName
    waited_seconds: float


class EventTooLarge(NamedTuple):
    """The function's service refused an event of several records for its size; the batch is halved."""

    mapping: MappingName
    function: FunctionName
    records: int
    event_bytes: int
    reason: str


class BatchItemFailuresIgnored(NamedTuple):
    """The function's answer named failed records without effect; `advice` says what to do.

    It is logged once for each mapping.
    """

    mapping: MappingName
    function: FunctionName
    advice: str


class MessagesDeleted(NamedTuple):
    mapping: MappingName
    records: int


class DeleteFailed(NamedTuple):
    """Messages whose delete did not go through; `is_given_up` when it is given up, so that they will come again."""

    mapping: MappingName
    records: int
    code: str
    is_given_up: bool


class VisibilityExtended(NamedTuple):
    mapping: MappingName
    records: int


class VisibilityChangeFailed(NamedTuple):
    mapping: MappingName
    records: int
    code: str
    is_given_up: bool


class ReceiptsExpired(NamedTuple):
    """Messages dropped uninvoked, because their receipt is no longer good; the queue shows them again."""

    mapping: MappingName
    records: int


class MessagesReleased(NamedTuple):
    """Messages given back to their queue at a stop."""

    mapping: MappingName
    records: int


# What becomes of a batch of a stream that failed


class BatchRetried(NamedTuple):
    """The batch failed and is invoked again, unchanged, after `retry_in_seconds`. `attempt` is the one that failed."""

    mapping: MappingName
    records: int
    attempt: int
    reason: str
    retry_in_seconds: float


class BatchBisected(NamedTuple):
    """The batch failed and goes on as two halves."""

    mapping: MappingName
    records: int


class ShardBlocked(NamedTuple):
    """A lane of the shard begins to be blocked: recorded once, however often its batch is tried.

    `detail` is the error message of the function or of the destination.  The sequence numbers are those of the first
    and the last of the records that are tried together; nobody knows which of them is at fault.
    """

    mapping: MappingName
    shard: str
    reason: str
    records: int = 0
    start_sequence_number: str | None = None
    end_sequence_number: str | None = None
    detail: str = ""


class ShardUnblocked(NamedTuple):
    """That lane goes on, `blocked_seconds` later."""

    mapping: MappingName
    shard: str
    blocked_seconds: float


# What becomes of records of a stream that are given up: sequence numbers name the first and the last of them, where
# there are any (a window's last invocation has none), so that a person can read them from the stream again


class RecordsDropped(NamedTuple):
    """Records that were given up and reported nowhere. `condition` is AWS's word for why."""

    mapping: MappingName
    records: int
    condition: str
    shard: str | None = None
    start_sequence_number: str | None = None
    end_sequence_number: str | None = None


class InvocationRecordDelivered(NamedTuple):
    """The on-failure destination has taken the report of a discarded batch of so many records."""

    mapping: MappingName
    records: int
    condition: str
    shard: str | None = None
    start_sequence_number: str | None = None
    end_sequence_number: str | None = None


class DestinationFailed(NamedTuple):
    """The destination did not take a report. `retry_in_seconds` is None when the batch is dropped for it."""

    mapping: MappingName
    records: int
    code: str
    detail: str
    retry_in_seconds: float | None
    shard: str | None = None
    destination: str | None = None


class PositionTrimmed(NamedTuple):
    """The record that a shard was to go on after has aged out, or the shard itself, before all of it was done.

    Reading goes on at the oldest record there is; what followed and aged out too is lost, if there was any.
    """

    mapping: MappingName
    shard: str


class CheckpointsLost(NamedTuple):
    """A mapping has ended, and where so many of its shards had come could not be stored: it will be repeated."""

    mapping: MappingName
    shards: int


# Child processes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildProcessStarted:
    function: FunctionName
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildProcessStopped:
    """A child ended, and why; `exit_status` is its exit status, -N for signal N."""

    function: FunctionName
    pid: int
    reason: Literal["idle", "timeout", "exit", "init_error", "out_of_memory", "shutdown"]
    exit_status: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildProcessOutput:
    """One line that a child wrote. It is the function's own output, not ours, and is logged as such.

    `mapping` and `request_id` are those of the invocation that the child has, or had last; None before its first one.
    """

    function: FunctionName
    pid: int
    stream: Literal["stdout", "stderr"]
    line: str
    mapping: MappingName | None = None
    request_id: RequestId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildProcessOutputLeftOut:
    """A function's children wrote more lines than are logged. Recorded once a second at most."""

    function: FunctionName
    lines: int


ApiRefusalReason = Literal["not_the_child", "too_many"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeApiConnectionRefused:
    """A connection to a child's Runtime API was refused: it came from another process, or there are too many."""

    function: FunctionName
    pid: int
    reason: ApiRefusalReason


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSuspended:
    """One url of a function's pool failed and is left alone for `retry_in_seconds`."""

    function: FunctionName
    url: str
    detail: str
    retry_in_seconds: float


Fact = (
    DaemonStarted
    | DaemonStopping
    | ReloadIgnored
    | StateOpened
    | TooFewFileDescriptors
    | SettingsWarning
    | MappingReady
    | SourceFailed
    | ReadThrottled
    | SourceRecovered
    | StoreFailed
    | StoreRecovered
    | MappingCrashed
    | MappingCrashing
    | RecordsPolled
    | RecordsFilteredOut
    | BatchInvoked
    | InvocationPostponed
    | MappingWaiting
    | MappingWaitEnded
    | EventTooLarge
    | BatchItemFailuresIgnored
    | MessagesDeleted
    | DeleteFailed
    | VisibilityExtended
    | VisibilityChangeFailed
    | ReceiptsExpired
    | MessagesReleased
    | BatchRetried
    | BatchBisected
    | ShardBlocked
    | ShardUnblocked
    | RecordsDropped
    | InvocationRecordDelivered
    | DestinationFailed
    | PositionTrimmed
    | CheckpointsLost
    | ChildProcessStarted
    | ChildProcessStopped
    | ChildProcessOutput
    | ChildProcessOutputLeftOut
    | RuntimeApiConnectionRefused
    | EndpointSuspended
)

Emit = Callable[[Fact], None]
"""How a part reports a fact: a plain call that never fails and never waits."""
