"""What may `[mappings.*]` say? AWS's options under AWS's names, in snake case, as Terraform has them.

Source: AWS Lambda API Reference, "CreateEventSourceMapping".
One table serves every source; `mapping_rules.py` says which option goes with which.
"""

from __future__ import annotations

import json
import uuid
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import OnFailure, QueueMapping, StreamMapping
from poller.model.stream import AtTimestamp, Latest, StartingPosition, TrimHorizon
from poller.settings.faults import rule_error
from poller.settings.fields import (
    DestinationArn,
    FunctionReference,
    Moment,
    Options,
    RoleArn,
    SourceArn,
    Switch,
    Text,
    Uuid,
)
from poller.settings.limits import (
    BATCH_SIZE,
    BATCHING_WINDOW,
    MAXIMUM_CONCURRENCY,
    MAXIMUM_FILTERS,
    MAXIMUM_PATTERN_CHARACTERS,
    PARALLELIZATION_FACTOR,
    QUEUE_BATCH_SIZE,
    RECORD_AGE,
    RETRY_ATTEMPTS,
    STREAM_BATCH_SIZE,
    TUMBLING_WINDOW,
)
from poller.settings.reading import Entry

INVALID_PATTERN = "Invalid filter pattern definition."


def _pattern(value: object) -> str:
    """The pattern as JSON text; a table is written out, JSON text stays as it is."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):  # a date, or a number of thousands of digits
        raise rule_error(f"{INVALID_PATTERN} It holds something that JSON does not have") from None
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
    """What a record must look like: a table, or a string of JSON."""


class FilterCriteriaOptions(Options):
    """Which records are for the function; the others are deleted or passed over."""

    filters: Annotated[list[FilterOptions], AfterValidator(_few)] = Field(default_factory=list)
    """A record must match one of them."""


class ScalingConfigOptions(Options):
    """How far a queue's mapping scales."""

    maximum_concurrency: Annotated[int | None, MAXIMUM_CONCURRENCY] = None
    """How many invocations this mapping may have running at once."""


class OnFailureOptions(Options):
    """Where discarded records are reported."""

    destination_arn: DestinationArn
    """A standard SQS queue, a standard SNS topic or an S3 bucket."""

    if_unreachable: Literal["wait", "drop"] = "wait"
    """What to do while the destination takes no report: block the shard, or go on without the report."""


class DestinationConfigOptions(Options):
    """Where discarded records are reported."""

    on_failure: OnFailureOptions | None = None
    """For records whose retries or age are used up."""


class MappingOptions(Options):
    """A mapping: one source bound to one function."""

    event_source_arn: SourceArn | None = None
    """The SQS queue, the Kinesis stream or consumer, or the DynamoDB stream."""

    function_name: FunctionReference | None = None
    """A key of [functions], or a Lambda function's name or ARN."""

    enabled: Switch = True
    """Whether the mapping is active."""

    batch_size: Annotated[int | None, BATCH_SIZE] = None
    """The most records of one invocation; 10 for a queue, 100 for a stream."""

    maximum_batching_window_in_seconds: Annotated[int, BATCHING_WINDOW] = 0
    """How long to gather records for a batch."""

    filter_criteria: FilterCriteriaOptions = Field(default_factory=FilterCriteriaOptions)
    """Which records are for the function."""

    function_response_types: ResponseTypes = Field(default_factory=list)
    """["ReportBatchItemFailures"] if the function names the records that failed."""

    scaling_config: ScalingConfigOptions = Field(default_factory=ScalingConfigOptions)
    """How far to scale; queues only."""

    starting_position: Literal["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"] | None = None
    """Where to begin to read a stream; required for streams."""

    starting_position_timestamp: Moment | None = None
    """The time of AT_TIMESTAMP: a date-time, or seconds since 1970."""

    parallelization_factor: Annotated[int, PARALLELIZATION_FACTOR] = 1
    """How many batches of one shard may run at once; streams only."""

    maximum_retry_attempts: Annotated[int, RETRY_ATTEMPTS] = -1
    """How often a failed batch is tried again, -1 for as long as its records live; streams only."""

    maximum_record_age_in_seconds: Annotated[int, RECORD_AGE] = -1
    """How old a record may get before it is discarded, -1 for any age; streams only."""

    bisect_batch_on_function_error: Switch = False
    """Whether a failed batch is tried again in two halves; streams only."""

    tumbling_window_in_seconds: Annotated[int, TUMBLING_WINDOW] = 0
    """The length of the windows over which the function aggregates, 0 for none; streams only."""

    destination_config: DestinationConfigOptions = Field(default_factory=DestinationConfigOptions)
    """Where discarded records are reported; streams only."""

    role_arn: RoleArn | None = None
    """The role to read the source with; without it the daemon's own identity."""

    region: Text | None = None
    """The source's region, if not the one in its ARN."""

    uuid: Uuid | None = None
    """Names the mapping in the keys of failure records in S3; derived from the mapping's name if not given."""

    @property
    def patterns(self) -> tuple[str, ...]:
        return tuple(one.pattern for one in self.filter_criteria.filters)


def mapping_value(mapping: Entry[MappingOptions], function: FunctionName) -> QueueMapping | StreamMapping:
    """The mapping that the rest of the program gets. Its options have passed every rule."""
    name, options = mapping.name, mapping.options
    source = options.event_source_arn
    assert source is not None
    if source.service == "sqs":
        return QueueMapping(
            name=MappingName(name),
            event_source_arn=source,
            function_name=function,
            is_enabled=options.enabled,
            batch_size=options.batch_size or QUEUE_BATCH_SIZE,
            maximum_batching_window_in_seconds=options.maximum_batching_window_in_seconds,
            filters=options.patterns,
            report_batch_item_failures=bool(options.function_response_types),
            maximum_concurrency=options.scaling_config.maximum_concurrency,
            role_arn=options.role_arn,
            region=options.region or source.region,
            uuid=options.uuid or _derived_uuid(name),
        )
    on_failure = options.destination_config.on_failure
    return StreamMapping(
        name=MappingName(name),
        event_source_arn=source,
        function_name=function,
        is_enabled=options.enabled,
        batch_size=options.batch_size or STREAM_BATCH_SIZE,
        maximum_batching_window_in_seconds=options.maximum_batching_window_in_seconds,
        filters=options.patterns,
        report_batch_item_failures=bool(options.function_response_types),
        starting_position=_starting_position(options),
        parallelization_factor=options.parallelization_factor,
        maximum_retry_attempts=_limit(options.maximum_retry_attempts),
        maximum_record_age_in_seconds=_limit(options.maximum_record_age_in_seconds),
        bisect_batch_on_function_error=options.bisect_batch_on_function_error,
        tumbling_window_in_seconds=options.tumbling_window_in_seconds or None,
        on_failure=OnFailure(
            destination_arn=on_failure.destination_arn,
            if_unreachable=on_failure.if_unreachable,
        )
        if on_failure
        else None,
        role_arn=options.role_arn,
        region=options.region or source.region,
        uuid=options.uuid or _derived_uuid(name),
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


def _limit(number: int) -> int | None:
    return None if number == -1 else number


def _derived_uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"poller:mapping:{name}"))
