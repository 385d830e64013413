"""Which options has `[mappings.*]`? AWS's options under AWS's names, in snake case as in Terraform.

`MappingOptions` serves every source. `mapping_rules.py` has the rules between the options.
Source: AWS Lambda API Reference, "CreateEventSourceMapping".
"""

from __future__ import annotations

import json
import uuid
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import OnFailure, QueueMapping, RedeliveryBackoff, StreamMapping
from poller.model.stream import AtTimestamp, Latest, StartingPosition, TrimHorizon
from poller.settings.arns import DestinationArn, RoleArn, SourceArn, kinds
from poller.settings.fields import (
    FunctionReference,
    Moment,
    Switch,
    Text,
    Uuid,
)
from poller.settings.options import OURS, ApiName, Follows, For, Options, Range, Unstated, built, explained, rule_error
from poller.settings.reading import Entry
from poller.settings.state import TableName

API = 'AWS Lambda API Reference, "CreateEventSourceMapping"'

TWELVE_HOURS = 'Amazon SQS API Reference, "ChangeMessageVisibility"'
"""The source of the longest time for which a message can be hidden."""

QUEUE_BATCH_SIZE = 10
"""The default batch size of a mapping of a queue. Source: the page in `API`."""

STREAM_BATCH_SIZE = 100
"""The default batch size of a mapping of a stream. Source: the page in `API`."""

MAXIMUM_FILTERS = 10
"""AWS allows five filters, and ten on request.

Source: AWS Lambda Developer Guide, "Control which events Lambda sends to your function".
"""

MAXIMUM_PATTERN_CHARACTERS = 4096
"""Source: AWS Lambda API Reference, "Filter"."""

QUEUES = For(("sqs",))
STREAMS = For(("kinesis", "dynamodb"))

INVALID_PATTERN = "Invalid filter pattern definition."


def _pattern(value: object) -> str:
    """Return the pattern as JSON text. A TOML table becomes JSON; text stays as it is, even if it is not JSON."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):  # a date, or a number of thousands of digits
        raise rule_error(f"{INVALID_PATTERN} It has a value that JSON cannot express") from None
    if not isinstance(value, str | dict):
        raise rule_error(f"{INVALID_PATTERN} It must be a table, or a string of JSON")
    if len(text) > MAXIMUM_PATTERN_CHARACTERS:
        raise rule_error(f"a pattern has at most {MAXIMUM_PATTERN_CHARACTERS} characters, not {len(text)}")
    return text


def _few(filters: list[Any]) -> list[Any]:
    if len(filters) > MAXIMUM_FILTERS:
        raise rule_error(f"a mapping has at most {MAXIMUM_FILTERS} filters")
    return filters


def _at_most_one(types: list[str]) -> list[str]:
    if len(types) > 1:
        raise rule_error("FunctionResponseTypes has at most one item")
    return types


_PATTERN_SCHEMA = {"anyOf": [{"type": "object"}, {"type": "string"}]}
Pattern = Annotated[str, BeforeValidator(_pattern), WithJsonSchema(_PATTERN_SCHEMA)]
ResponseTypes = Annotated[list[Literal["ReportBatchItemFailures"]], AfterValidator(_at_most_one)]


class FilterOptions(Options):
    """One filter."""

    pattern: Pattern
    """The pattern that a record must match: a table, or a string of JSON."""


class FilterCriteriaOptions(Options):
    """The filters of a mapping. They select the records that the function gets."""

    filters: Annotated[list[FilterOptions], AfterValidator(_few)] = Field(default_factory=list)
    """The patterns of the records that the function gets: up to 10, each a table or a string of JSON.
    A record must match at least one of them.
    Other records are deleted from a queue, or skipped in a stream.
    Default: none. Then the function gets all records."""


class ScalingConfigOptions(Options):
    """The limit to which a mapping of a queue scales."""

    maximum_concurrency: Annotated[
        int | None,
        Range(1, 1000, "invocations at once", source=f"{API}, ScalingConfig: AWS begins at 2, we at 1"),
        Unstated("the function's reserved_concurrency holds"),
    ] = None
    """How many invocations of this mapping may run at once, from 1 to 1000. It is for queues only.
    All workers that share the state (a file or a table) share this number.
    Default: no limit of its own. The function's reserved_concurrency always holds."""


class RedeliveryBackoffOptions(Options):
    """The time that a failed message of a queue waits until it is received again."""

    initial_in_seconds: Annotated[int, Range(1, 43_200, "seconds", source=TWELVE_HOURS)] = 5
    """How long a failed message of a queue waits until it is received again, from 1 to 43200 seconds.
    The wait doubles with each receive of the message, and a random part of up to half of it is left out.
    Without redelivery_backoff, a failed message waits until the queue's own visibility timeout is over.
    Default: 5."""

    maximum_in_seconds: Annotated[int, Range(1, 43_200, "seconds", source=TWELVE_HOURS)] = 900
    """The longest of these waits, from 1 to 43200 seconds.
    Default: 900."""


class OnFailureOptions(Options):
    """The destination to which discarded records are reported."""

    destination_arn: Annotated[
        DestinationArn,
        ApiName("Destination"),
        Unstated("discarded records are only logged and counted"),
        explained(f"""
            The receiver of reports about discarded records: {kinds("discarded_batch")}.
            A bucket also gets the records. Any other destination gets only their place in the stream.
            Default: discarded records are only logged and counted.
        """),
    ]

    if_unreachable: Annotated[Literal["wait", "drop"], OURS] = "wait"
    """Whether the shard waits while the destination does not accept an invocation record.
    "wait" blocks the shard. "drop" drops the invocation record after some failed tries, and the shard continues.
    Default: "wait"."""


class DestinationConfigOptions(Options):
    """The destinations of a mapping."""

    on_failure: OnFailureOptions | None = None
    """The destination of records that are discarded because of their retries or their age."""


class MappingOptions(Options):
    """A mapping: one source bound to one function."""

    event_source_arn: SourceArn | None = None
    """The source: an SQS queue, a DynamoDB stream, a Kinesis stream or one of its consumers (also read by polling)."""

    function_name: FunctionReference | None = None
    """The function: a key of [functions], or the name or ARN of a function of AWS Lambda."""

    enabled: Switch = True
    """Whether the mapping is active.
    Default: true."""

    batch_size: Annotated[int | None, Range(1, 10_000, "records", source=API), Follows()] = None
    """The most records in one batch, from 1 to 10000. For a FIFO queue, the most is 10.
    For a standard queue, more than 10 need a batching window.
    Default: 10 for a queue, 100 for a stream."""

    maximum_batching_window_in_seconds: Annotated[int, Range(0, 300, "seconds", source=API)] = 0
    """How long a batch waits for more records, from 0 to 300 seconds. It is not for a FIFO queue.
    Default: 0. Then the function is invoked as soon as there are records."""

    filter_criteria: FilterCriteriaOptions = Field(default_factory=FilterCriteriaOptions)
    """The filters, which select the records that the function gets."""

    function_response_types: ResponseTypes = Field(default_factory=list)
    """["ReportBatchItemFailures"] if the function's answer names the failed records.
    Then only these records are retried.
    Default: []."""

    strict_response: Annotated[Switch, OURS] = False
    """Whether a batch fails if the answer has no batchItemFailures. An empty answer still means success.
    It needs function_response_types. With tumbling windows, the answer must then have both state and batchItemFailures.
    Default: false, as on AWS Lambda. Then such an answer means that every record succeeded."""

    scaling_config: Annotated[ScalingConfigOptions, QUEUES] = Field(default_factory=ScalingConfigOptions)
    """The limit to which the mapping scales. It is for queues only."""

    redelivery_backoff: Annotated[
        RedeliveryBackoffOptions | None,
        OURS,
        QUEUES,
        Unstated("a failed message waits for the queue's own visibility timeout"),
    ] = None
    """The time that a failed message waits until it is received again. It is for queues only."""

    starting_position: Annotated[Literal["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"] | None, STREAMS] = None
    """Where the mapping begins: at the oldest record (TRIM_HORIZON), at the next new one (LATEST), or AT_TIMESTAMP.
    It is required for a stream, and is used only at the first start.
    Later, the mapping continues at its stored positions, which `poller state set` moves."""

    starting_position_timestamp: Annotated[Moment | None, STREAMS] = None
    """The time for AT_TIMESTAMP, in the past: a date-time with an offset, or seconds since 1970.
    AWS Lambda allows it for Kinesis only. poller also allows it for the stream of a table."""

    parallelization_factor: Annotated[int, Range(1, 10, "batches at once", source=API), STREAMS] = 1
    """How many batches of one shard may run at once, from 1 to 10.
    If it is above 1, only records with the same partition key, or of the same item of a table, stay in order.
    A shard has one checkpoint. So after a restart, records that were done after a blocked record are delivered again.
    Default: 1."""

    maximum_retry_attempts: Annotated[int | None, Range(0, 10_000, "attempts", source=API, none=-1), STREAMS] = None
    """How often a failed batch is tried again, from 0 to 10000, or -1 for no limit but the stream's own.
    Default: -1."""

    maximum_record_age_in_seconds: Annotated[
        int | None, Range(60, 604_800, "seconds", source=API, none=-1), STREAMS
    ] = None
    """How old a record may get before it is discarded, from 60 to 604800 seconds, or -1 for no limit.
    Default: -1."""

    bisect_batch_on_function_error: Annotated[Switch, STREAMS] = False
    """Whether a failed batch is tried again in two halves.
    Default: false."""

    tumbling_window_in_seconds: Annotated[int | None, Range(0, 900, "seconds", source=API, none=0), STREAMS] = None
    """The length of the tumbling windows over which the function aggregates records, from 0 to 900 seconds.
    A mapping with windows must have no filters, and its parallelization_factor must be 1.
    Default: 0, which means no windows."""

    destination_config: Annotated[DestinationConfigOptions, STREAMS] = Field(default_factory=DestinationConfigOptions)
    """The destination to which discarded records are reported. It is for streams only."""

    kcl_table: Annotated[
        TableName | None, OURS, STREAMS, Field(examples=["my-application"]), Unstated("the positions are in the state")
    ] = None
    """The DynamoDB table of an application of the Kinesis Client Library (2.x) that has read this stream.
    The mapping goes on where the application has stopped. It keeps its positions in this table, so that the application
    can go on later. Stop the application first: while it runs, or while the table fails, the mapping waits.
    While the table still names the application as the owner of leases, the daemon watches these leases for 60 seconds
    before the mapping begins. So it notices a running application whose failoverTimeMillis is at most 180000.
    This happens mostly at the mapping's first start.
    The table must exist. It is used in the mapping's region and with its role.
    After a change, restart the daemon: a reload refuses a file with this change.
    If the mapping has run before without the option, copy its positions into the table, even if the table is new:
    `poller state copy daemon.state --mapping NAME`.
    Until then the mapping waits, because it would deliver records again.
    If you remove the option, copy the positions into the state: `poller state copy kcl://TABLE --mapping NAME`.
    Until then the mapping waits, because the positions in the state are older, and it would deliver records again.
    Default: none. Then the positions are in the daemon's state."""

    role_arn: Annotated[RoleArn | None, OURS, Unstated("the daemon's own identity")] = None
    """The role with which the mapping reads its source. In Kinesis events, it is the invokeIdentityArn.
    Default: the daemon's own identity. Then the invokeIdentityArn is the execution role of a function on AWS Lambda, if
    the daemon has the permission lambda:GetFunctionConfiguration. Otherwise, it is the daemon's identity."""

    region: Annotated[Text | None, OURS, Unstated("the one in event_source_arn")] = None
    """The region of the source.
    Default: the one in event_source_arn."""

    uuid: Annotated[Uuid | None, OURS, Follows()] = None
    """Names the mapping in the keys of invocation records in S3.
    Default: derived from the mapping's name."""

    @property
    def is_enabled(self) -> bool:
        return self.enabled

    @property
    def filters(self) -> tuple[str, ...]:
        return tuple(one.pattern for one in self.filter_criteria.filters)

    @property
    def report_batch_item_failures(self) -> bool:
        return bool(self.function_response_types)

    @property
    def maximum_concurrency(self) -> int | None:
        return self.scaling_config.maximum_concurrency

    @property
    def on_failure(self) -> OnFailure | None:
        declared = self.destination_config.on_failure
        return None if declared is None else built(OnFailure, declared)


def mapping_value(mapping: Entry[MappingOptions], function: FunctionName) -> QueueMapping | StreamMapping:
    """Return the mapping as the value of model/ that the program uses. Its options must obey every rule."""
    name, options = mapping.name, mapping.options
    source = options.event_source_arn
    assert source is not None
    others: dict[str, Any] = {
        "name": MappingName(name),
        "function_name": function,
        "region": options.region or source.region,
        "uuid": options.uuid or str(uuid.uuid5(uuid.NAMESPACE_URL, f"poller:mapping:{name}")),
    }
    if source.service == "sqs":
        backoff = options.redelivery_backoff
        return built(
            QueueMapping,
            options,
            batch_size=options.batch_size or QUEUE_BATCH_SIZE,
            redelivery_backoff=backoff and built(RedeliveryBackoff, backoff),
            **others,
        )
    return built(
        StreamMapping,
        options,
        batch_size=options.batch_size or STREAM_BATCH_SIZE,
        starting_position=_starting_position(options),
        **others,
    )


def _starting_position(options: MappingOptions) -> StartingPosition:
    match options.starting_position:
        case "TRIM_HORIZON":
            return TrimHorizon()
        case "LATEST":
            return Latest()
        case "AT_TIMESTAMP":
            assert options.starting_position_timestamp is not None
            return AtTimestamp(options.starting_position_timestamp)
        case None:
            raise AssertionError("a stream has a starting position")
