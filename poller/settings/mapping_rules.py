"""Which options go together? The rules between the options of one mapping, and between mappings.

    option                                      SQS   FIFO   Kinesis   DynamoDB
    scaling_config                              yes   yes
    maximum_batching_window_in_seconds          yes   0      yes       yes
    starting_position, starting_position_timestamp           yes       yes
    parallelization_factor, destination_config,
    maximum_…, bisect_…, tumbling_…                          yes       yes
    all others                                  yes   yes    yes       yes

AWS's own mappings take AT_TIMESTAMP for Kinesis only; DynamoDB Streams itself has it for both.
Where AWS's own wording is known, it is used.  Sources: AWS Lambda API Reference, "CreateEventSourceMapping"; AWS Lambda
Developer Guide, "Creating and configuring an Amazon SQS event source mapping" and the pages on Kinesis and DynamoDB.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from poller.model.arn import Arn
from poller.settings.faults import Fault
from poller.settings.file import File
from poller.settings.filters import filter_rules
from poller.settings.limits import FIFO_BATCH_SIZE, UNGATHERED_BATCH_SIZE
from poller.settings.mappings import MappingTable
from poller.settings.references import References
from poller.settings.tree import Path, Substituted, find

_STREAMS = frozenset({"kinesis", "dynamodb"})
_SOURCES = {
    "scaling_config": frozenset({"sqs"}),
    "starting_position": _STREAMS,
    "starting_position_timestamp": _STREAMS,
    "parallelization_factor": _STREAMS,
    "maximum_retry_attempts": _STREAMS,
    "maximum_record_age_in_seconds": _STREAMS,
    "bisect_batch_on_function_error": _STREAMS,
    "tumbling_window_in_seconds": _STREAMS,
    "destination_config": _STREAMS,
}
"""The services of the sources that take an option; what is not named here goes with every source."""

_SERVICES = {"sqs": "an SQS queue", "kinesis": "a Kinesis stream", "dynamodb": "a DynamoDB stream"}


def applies(option: str, source: Arn) -> bool:
    return source.service in _SOURCES.get(option, _SERVICES)


def mapping_rules(name: str, table: MappingTable, written: Mapping[str, Any]) -> Iterator[Fault]:
    """The rules within one mapping; `written` is its table as it stands in the file."""
    path: Path = ("mappings", name)
    for option in ("event_source_arn", "function_name"):
        if option not in written:
            yield Fault((*path, option), "is required")
    yield from filter_rules(path, table, written)
    source = table.event_source_arn
    if source is None:
        return
    yield from _applicability(path, source, written)
    if source.service == "sqs":
        yield from _queue_rules(path, source, table)
    else:
        yield from _stream_rules(path, table, written)


def duplicate_rules(file: File, references: References, tree: dict[str, Any]) -> Iterator[Fault]:
    """No two mappings with the same source and function, and no two with the same uuid."""
    pairs: dict[tuple[Arn, str], str] = {}
    uuids: dict[str, str] = {}
    for name, table in file.mappings.items():
        path: Path = ("mappings", name)
        function = references.identity(name)
        if table.event_source_arn is not None and function is not None:
            first = pairs.setdefault((table.event_source_arn, function), name)
            if first != name:
                yield Fault(path, _duplicate(table.event_source_arn.service, find(tree, path), first))
        if table.uuid is not None and (first := uuids.setdefault(table.uuid, name)) != name:
            yield Fault((*path, "uuid"), f"is the uuid of mappings.{first} already")


def _applicability(path: Path, source: Arn, written: Mapping[str, Any]) -> Iterator[Fault]:
    for option in written:
        if not applies(option, source):
            takers = " and ".join(_SERVICES[service] for service in _SERVICES if service in _SOURCES[option])
            unsupported = f"Unsupported {_aws_name(option)} parameter for given event source mapping type."
            rule = f"{unsupported} It goes with {takers}, not with {_SERVICES[source.service]}"
            yield Fault((*path, option), rule, is_all=True)


def _queue_rules(path: Path, source: Arn, table: MappingTable) -> Iterator[Fault]:
    size, window = (*path, "batch_size"), (*path, "maximum_batching_window_in_seconds")
    if source.resource.endswith(".fifo"):
        if table.batch_size is not None and table.batch_size > FIFO_BATCH_SIZE.highest:
            yield Fault(size, str(FIFO_BATCH_SIZE))
        if table.maximum_batching_window_in_seconds > 0:
            yield Fault(window, "MaximumBatchingWindowInSeconds does not go with a FIFO queue")
    elif (table.batch_size or 0) > UNGATHERED_BATCH_SIZE and table.maximum_batching_window_in_seconds == 0:
        rule = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        yield Fault(size, rule, needs=(size, window))


def _stream_rules(path: Path, table: MappingTable, written: Mapping[str, Any]) -> Iterator[Fault]:
    yield from _position_rules(path, table, written)
    factor, window = (*path, "parallelization_factor"), (*path, "tumbling_window_in_seconds")
    if table.tumbling_window_in_seconds > 0:
        if table.parallelization_factor > 1:
            yield Fault(factor, "ParallelizationFactor must be 1 with a tumbling window")
        if table.patterns:
            yield Fault(window, "a tumbling window does not go with filters")
    destination = (*path, "destination_config", "on_failure", "destination_arn")
    on_failure = find(written, ("destination_config", "on_failure"))
    if isinstance(on_failure, dict) and table.destination_config.on_failure.destination_arn is None:
        yield Fault(destination, "is required in on_failure", needs=(destination,))


def _position_rules(path: Path, table: MappingTable, written: Mapping[str, Any]) -> Iterator[Fault]:
    position, timestamp = (*path, "starting_position"), (*path, "starting_position_timestamp")
    if "starting_position" not in written:
        null = "Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."
        yield Fault(position, f"{null} A stream needs TRIM_HORIZON, LATEST or AT_TIMESTAMP")
    is_at_timestamp = table.starting_position == "AT_TIMESTAMP"
    if is_at_timestamp and "starting_position_timestamp" not in written:
        yield Fault(timestamp, "is required with AT_TIMESTAMP")
    elif not is_at_timestamp and "starting_position_timestamp" in written:
        yield Fault(timestamp, "goes only with a starting_position of AT_TIMESTAMP", needs=(position,))
    if table.starting_position_timestamp is not None and table.starting_position_timestamp > time.time():
        yield Fault(timestamp, "must not be in the future")


def _duplicate(service: str, written: Mapping[str, Any], first: str) -> str:
    arn, function = _as_written(written["event_source_arn"]), _as_written(written["function_name"])
    if service == "sqs":
        begin = f'An event source mapping with SQS arn (" {arn} ") and function (" {function} ") already exists.'
    else:
        begin = f'The event source arn (" {arn} ") and function (" {function} ") provided mapping already exists.'
    return f"{begin} It is mappings.{first}"


def _as_written(text: str) -> str:
    return text.written if isinstance(text, Substituted) else text


def _aws_name(option: str) -> str:
    return "".join(word.capitalize() for word in option.split("_"))
