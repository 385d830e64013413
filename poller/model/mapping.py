"""What is a mapping? One configured binding of a source to a function, with AWS's options under AWS's names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from poller.model.arn import Arn, stream_arn
from poller.model.function import Function
from poller.model.ids import FunctionName, MappingName
from poller.model.stream import StartingPosition, StateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeliveryBackoff:
    """The first and the longest wait until SQS shows a failed message again (`core/queues/redelivery.py`)."""

    initial_in_seconds: int
    maximum_in_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMapping:
    """A mapping whose source is an SQS queue.

    `filters` are patterns as JSON text. A message must match at least one; if there are none, every message matches.
    `maximum_concurrency` is None if only the function's own limit applies.
    `redelivery_backoff` is None if a failed message returns when the queue's own visibility timeout is over.
    """

    name: MappingName
    event_source_arn: Arn
    function_name: FunctionName
    is_enabled: bool = True
    batch_size: int = 10
    maximum_batching_window_in_seconds: int = 0
    filters: tuple[str, ...] = ()
    report_batch_item_failures: bool = False
    strict_response: bool = False
    maximum_concurrency: int | None = None
    redelivery_backoff: RedeliveryBackoff | None = None
    role_arn: str | None = None
    region: str
    uuid: str | None = None

    @property
    def is_fifo(self) -> bool:
        """Return whether the queue is a FIFO queue: its name then ends with `.fifo`."""
        return self.event_source_arn.resource.endswith(".fifo")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFailure:
    """The destination of invocation records, and what a shard does while the destination does not accept them.

    `wait` blocks the shard until the destination accepts the invocation record, so that no invocation record is lost.
    `drop` drops the invocation record after some failed tries, and the shard continues.
    """

    destination_arn: Arn
    if_unreachable: Literal["wait", "drop"] = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamMapping:
    """A mapping whose source is a Kinesis stream, one of its consumers, or a DynamoDB stream.

    `filters` are patterns as JSON text. A record must match at least one; if there are none, every record matches.
    `maximum_retry_attempts` and `maximum_record_age_in_seconds` are None if there is no limit: then a batch is retried
    until its records leave the stream.
    `tumbling_window_in_seconds` is None if the mapping has no tumbling windows.
    `kcl_table` is None if the positions are in the daemon's state.
    """

    name: MappingName
    event_source_arn: Arn
    function_name: FunctionName
    is_enabled: bool = True
    batch_size: int = 100
    maximum_batching_window_in_seconds: int = 0
    filters: tuple[str, ...] = ()
    report_batch_item_failures: bool = False
    strict_response: bool = False
    starting_position: StartingPosition
    parallelization_factor: int = 1
    maximum_retry_attempts: int | None = None
    maximum_record_age_in_seconds: int | None = None
    bisect_batch_on_function_error: bool = False
    tumbling_window_in_seconds: int | None = None
    on_failure: OnFailure | None = None
    kcl_table: str | None = None
    role_arn: str | None = None
    region: str
    uuid: str

    @property
    def is_kinesis(self) -> bool:
        return self.event_source_arn.service == "kinesis"

    @property
    def state_key(self) -> StateKey:
        return StateKey(self.name, stream_arn(self.event_source_arn))


OWN_QUEUE = "the event queue of the daemon"
"""The name of the file of events in statuses and log lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMapping:
    """The mapping of a function's asynchronous events to the function.

    Every function has one; no table of the file names it. Its options are the function's `event_invoke_config`.
    `event_queue_arn` is the SQS queue that holds the events that wait; if it is None, the daemon's own file holds them.
    """

    function_name: FunctionName
    event_queue_arn: Arn | None = None

    @classmethod
    def of(cls, function: Function) -> EventMapping:
        return cls(function_name=function.name, event_queue_arn=function.event_invoke_config.event_queue_arn)

    @staticmethod
    def named(function: FunctionName) -> MappingName:
        """Return a name that no table of the file can have, because a mapping's name contains no colon."""
        return MappingName(f"{function}:events")

    @property
    def name(self) -> MappingName:
        return self.named(self.function_name)

    @property
    def source(self) -> str:
        """Return where the events wait, as a status shows it."""
        return OWN_QUEUE if self.event_queue_arn is None else str(self.event_queue_arn)

    @property
    def is_enabled(self) -> bool:
        return True


AnyMapping = QueueMapping | StreamMapping | EventMapping
"""Everything that a supervisor runs."""
