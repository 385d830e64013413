"""What is a mapping? One configured binding of a source to a function, with AWS's options under AWS's names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from poller.model.arn import Arn, stream_arn
from poller.model.ids import FunctionName, MappingName
from poller.model.stream import StartingPosition, StateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMapping:
    """A mapping whose source is an SQS queue.

    `filters` are the patterns as JSON text, empty for none; a message must match one of them.
    `maximum_concurrency` is None where only the function's own limit holds.
    """

    name: MappingName
    event_source_arn: Arn
    function_name: FunctionName
    is_enabled: bool = True
    batch_size: int = 10
    maximum_batching_window_in_seconds: int = 0
    filters: tuple[str, ...] = ()
    report_batch_item_failures: bool = False
    maximum_concurrency: int | None = None
    role_arn: str | None = None
    region: str
    uuid: str | None = None

    @property
    def is_fifo(self) -> bool:
        """SQS tells the two kinds of queue apart by the name's ending."""
        return self.event_source_arn.resource.endswith(".fifo")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFailure:
    """Where discarded records are reported, and what a shard does while the destination does not take the report.

    `wait` blocks the shard until the report was taken, so that nothing is lost; `drop` goes on without it.
    """

    destination_arn: Arn
    if_unreachable: Literal["wait", "drop"] = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamMapping:
    """A mapping whose source is a Kinesis stream, one of its consumers, or a DynamoDB stream.

    `filters` are the patterns as JSON text, empty for none; a record must match one of them.
    `maximum_retry_attempts` and `maximum_record_age_in_seconds` are None for no limit: as long as the source keeps it.
    `tumbling_window_in_seconds` is None where there are no windows.
    """

    name: MappingName
    event_source_arn: Arn
    function_name: FunctionName
    is_enabled: bool = True
    batch_size: int = 100
    maximum_batching_window_in_seconds: int = 0
    filters: tuple[str, ...] = ()
    report_batch_item_failures: bool = False
    starting_position: StartingPosition
    parallelization_factor: int = 1
    maximum_retry_attempts: int | None = None
    maximum_record_age_in_seconds: int | None = None
    bisect_batch_on_function_error: bool = False
    tumbling_window_in_seconds: int | None = None
    on_failure: OnFailure | None = None
    role_arn: str | None = None
    region: str
    uuid: str

    @property
    def is_kinesis(self) -> bool:
        return self.event_source_arn.service == "kinesis"

    @property
    def state_key(self) -> StateKey:
        return StateKey(self.name, stream_arn(self.event_source_arn))


AnyMapping = QueueMapping | StreamMapping
