"""Which options of a mapping go together, and what must differ between mappings?

    all          strict_response needs ReportBatchItemFailures
    SQS          a batch of more than 10 needs a batching window
    queue        the longest wait of a redelivery_backoff is not shorter than the first one
    FIFO queue   a batch has at most 10 messages, and there is no batching window
    stream       starting_position is required; AT_TIMESTAMP and its timestamp need each other
                 a tumbling window excludes filters and a parallelization_factor above 1
    mappings     two mappings differ in the source, in the function, or in both; no two have the same uuid or kcl_table

The declaration of an option (`mappings.py`) says for which sources it may be used.
AWS allows AT_TIMESTAMP only for Kinesis. Here a DynamoDB stream may begin at a time too.
A message uses AWS's own words if they are known.
Sources: AWS Lambda API Reference, "CreateEventSourceMapping"; AWS Lambda Developer Guide, "Creating and configuring an
Amazon SQS event source mapping" and the pages on Kinesis and DynamoDB.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from poller.model.arn import Arn
from poller.model.lease import TableAddress
from poller.settings.faults import Fault
from poller.settings.filters import filter_rules
from poller.settings.mappings import MappingOptions
from poller.settings.options import Range, api_name, declaration, limited
from poller.settings.reading import Entry
from poller.settings.table import Substituted

FIFO_BATCH_SIZE = Range(
    1,
    10,
    "records",
    source='AWS Lambda Developer Guide, "Creating and configuring an Amazon SQS event source mapping"',
)

UNGATHERED_BATCH_SIZE = 10
"""The largest batch size that a mapping of a queue may have without a batching window.

Source: AWS Lambda API Reference, "CreateEventSourceMapping".
"""

_SERVICES = {"sqs": "an SQS queue", "kinesis": "a Kinesis stream", "dynamodb": "a DynamoDB stream"}


def mapping_rules(mapping: Entry[MappingOptions]) -> Iterator[Fault]:
    """Yield a fault for each rule that the options of one mapping break."""
    for option in ("event_source_arn", "function_name"):
        if not mapping.states(option):
            yield Fault(mapping.at(option), "is required")
    if mapping.options.strict_response and not mapping.options.report_batch_item_failures:
        rule = 'needs function_response_types = ["ReportBatchItemFailures"]'
        yield Fault(mapping.at("strict_response"), rule, needs=(mapping.at("function_response_types"),))
    yield from filter_rules(mapping)
    source = mapping.options.event_source_arn
    if source is None:
        return
    yield from _applicability(mapping, source)
    if source.service == "sqs":
        yield from _queue_rules(mapping, source)
    else:
        yield from _stream_rules(mapping)


@dataclass(slots=True)
class Taken:
    """The values that are in use, which no second mapping may have: pairs of a source and a function, uuids and tables.

    `bindings`, `uuids` and `kcl_tables` map each value to the name of the first mapping that has it. `state` is the
    table that has the daemon's own state, or None.
    """

    bindings: dict[tuple[Arn, str], str] = field(default_factory=dict)
    uuids: dict[str, str] = field(default_factory=dict)
    kcl_tables: dict[str, str] = field(default_factory=dict)
    state: TableAddress | None = None

    def take(self, mapping: Entry[MappingOptions], function: str | None) -> Iterator[Fault]:
        """Add the mapping's source, function and uuid. Yield a fault if an earlier mapping has the same values.

        `function` identifies the function (`Functions.identity`), or is None if the mapping has none.
        """
        source, uuid, name = mapping.options.event_source_arn, mapping.options.uuid, mapping.name
        if source is not None and function is not None:
            first = self.bindings.setdefault((source, function), name)
            if first != name:
                yield Fault(mapping.path, _duplicate(source.service, mapping, first))
        if uuid is not None and (first := self.uuids.setdefault(uuid, name)) != name:
            yield Fault(mapping.at("uuid"), f"is already the uuid of mappings.{first}")
        table = mapping.options.kcl_table
        if table is not None and (first := self.kcl_tables.setdefault(table, name)) != name:
            yield Fault(mapping.at("kcl_table"), f"is already the table of mappings.{first}")
        if self.state is not None and source is not None and _is_same(self.state, mapping.options, source.region):
            yield Fault(mapping.at("kcl_table"), "must not be the table of daemon.state")


def _is_same(state: TableAddress, mapping: MappingOptions, region: str) -> bool:
    """Return whether the mapping's table of KCL is the table of the state, which has no leases of KCL."""
    is_here = state.region in (None, region) and state.role_arn == mapping.role_arn
    return is_here and state.table == mapping.kcl_table


def _applicability(mapping: Entry[MappingOptions], source: Arn) -> Iterator[Fault]:
    for option, services in limited(MappingOptions).items():
        if mapping.states(option) and source.service not in services:
            name = api_name(option, declaration(MappingOptions, (option,))) or option
            unsupported = f"Unsupported {name} parameter for given event source mapping type."
            takers = " and ".join(_SERVICES[service] for service in services)
            rule = f"{unsupported} It is for {takers}, not for {_SERVICES[source.service]}"
            yield Fault(mapping.at(option), rule, is_all=True)


def _queue_rules(mapping: Entry[MappingOptions], source: Arn) -> Iterator[Fault]:
    options = mapping.options
    backoff = options.redelivery_backoff
    if backoff is not None and backoff.maximum_in_seconds < backoff.initial_in_seconds:
        shortest = mapping.at("redelivery_backoff", "initial_in_seconds")
        rule = f"must not be less than initial_in_seconds ({backoff.initial_in_seconds})"
        yield Fault(mapping.at("redelivery_backoff", "maximum_in_seconds"), rule, needs=(shortest,))
    size, window = mapping.at("batch_size"), mapping.at("maximum_batching_window_in_seconds")
    if source.resource.endswith(".fifo"):
        if options.batch_size is not None and options.batch_size > FIFO_BATCH_SIZE.highest:
            yield Fault(size, f"{FIFO_BATCH_SIZE} for a FIFO queue")
        if options.maximum_batching_window_in_seconds > 0:
            yield Fault(window, "MaximumBatchingWindowInSeconds cannot be used with a FIFO queue")
    elif (options.batch_size or 0) > UNGATHERED_BATCH_SIZE and options.maximum_batching_window_in_seconds == 0:
        rule = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        yield Fault(size, rule, needs=(size, window))


def _stream_rules(mapping: Entry[MappingOptions]) -> Iterator[Fault]:
    options = mapping.options
    yield from _position_rules(mapping)
    if options.tumbling_window_in_seconds is not None:
        if options.parallelization_factor > 1:
            yield Fault(mapping.at("parallelization_factor"), "ParallelizationFactor must be 1 with a tumbling window")
        if options.filters:
            yield Fault(mapping.at("tumbling_window_in_seconds"), "a tumbling window cannot be used with filters")


def _position_rules(mapping: Entry[MappingOptions]) -> Iterator[Fault]:
    options = mapping.options
    position, timestamp = mapping.at("starting_position"), mapping.at("starting_position_timestamp")
    if not mapping.states("starting_position"):
        null = "Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."
        yield Fault(position, f"{null} A stream needs TRIM_HORIZON, LATEST or AT_TIMESTAMP")
    is_at_timestamp = options.starting_position == "AT_TIMESTAMP"
    if is_at_timestamp and not mapping.states("starting_position_timestamp"):
        yield Fault(timestamp, "is required with AT_TIMESTAMP")
    elif not is_at_timestamp and mapping.states("starting_position_timestamp"):
        yield Fault(timestamp, "can only be used with AT_TIMESTAMP as the starting position", needs=(position,))
    if options.starting_position_timestamp is not None and options.starting_position_timestamp > time.time():
        yield Fault(timestamp, "must not be in the future")


def _duplicate(service: str, mapping: Entry[MappingOptions], first: str) -> str:
    """Return AWS's message for a second mapping of the same source and function, with the name of the first."""
    arn, function = (_in_the_file(mapping.written(option)) for option in ("event_source_arn", "function_name"))
    if service == "sqs":
        begin = f'An event source mapping with SQS arn (" {arn} ") and function (" {function} ") already exists.'
    else:
        begin = f'The event source arn (" {arn} ") and function (" {function} ") provided mapping already exists.'
    return f"{begin} It is mappings.{first}"


def _in_the_file(text: str) -> str:
    return text.written if isinstance(text, Substituted) else text
