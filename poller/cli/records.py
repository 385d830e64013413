"""Which records does a file hold that a person gives to `poller explain` or `poller try`?

    an event of Lambda, {"Records": [...]}, or one of its records     as the function sees them
    the answer of `aws sqs receive-message`, or one of its messages   they become records of the mapping's queue
    the answer of `aws kinesis get-records`, or one of its records    they become records of the mapping's stream
    the answer of `aws dynamodbstreams get-records`, or one record    the same
    any other text, for a queue                                       the body of one message, such as what S3 sends
    any other text, for a Kinesis stream                              the data of one record

A line break at the end of such a text is left out, because editors and shells add it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from poller.core.envelope import KinesisEnvelope, dynamodb_record, sqs_record
from poller.model.mapping import QueueMapping, StreamMapping

AnyRecord = dict[str, Any]


class UnusableRecord(ValueError):
    """The text is not a record of the mapping's source. The error's text says what is wrong with it."""


def records_in(text: str, mapping: QueueMapping | StreamMapping) -> list[AnyRecord]:
    """Return the records in the text, in the shape of the event. Raises UnusableRecord."""
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError:
        given = None
    listed, text = _listed(given), text.removesuffix("\n")
    if isinstance(given, dict) and [] in (given.get("Records"), given.get("Messages")):
        raise UnusableRecord("its list of records is empty")
    try:
        if isinstance(mapping, QueueMapping):
            if not text:  # the AWS CLI prints nothing if it receives no message
                raise UnusableRecord("it is empty, and SQS has no empty messages")
            return [_of_queue(one, mapping) for one in listed] if listed else [_of_queue({"Body": text}, mapping)]
        if mapping.is_kinesis:
            data = {"Data": base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()}
            return [_of_kinesis(one, mapping) for one in listed] if listed else [_of_kinesis(data, mapping)]
        if not listed:
            raise UnusableRecord("it is not a record of a DynamoDB stream: an object with eventName and dynamodb")
        return [_of_table(one, mapping) for one in listed]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UnusableRecord):
            raise
        what = f"has no {error}" if isinstance(error, KeyError) else "has a value of the wrong type"
        raise UnusableRecord(f"a record {what}") from error


SQS = "aws:sqs"
SOURCES = (SQS, "aws:kinesis", "aws:dynamodb")
"""A record of any other source, such as `aws:s3`, is what a message contains."""

_MARKS: tuple[set[str], ...] = ({"eventSource"}, {"messageId", "body"}, {"Body"}, {"Data"}, {"dynamodb"}, {"kinesis"})
"""Each object that is a message or a record has all keys of one of these sets."""


def _listed(given: Any) -> list[AnyRecord]:
    """Return the messages or records in the JSON, or none if it has none."""
    if not isinstance(given, dict):
        return []
    inner = next((given[key] for key in ("Records", "Messages") if isinstance(given.get(key), list)), [given])
    are_records = all(
        isinstance(one, dict) and any(mark <= one.keys() for mark in _MARKS) and one.get("eventSource", SQS) in SOURCES
        for one in inner
    )
    return inner if are_records else []


def _of_queue(one: AnyRecord, mapping: QueueMapping) -> AnyRecord:
    if "Body" not in one:
        return _checked(one, "body", SQS)
    wire = {"MessageId": "00000000-0000-0000-0000-000000000000", "ReceiptHandle": "none"} | one
    return sqs_record(
        wire,
        arn=str(mapping.event_source_arn),
        region=mapping.region,
        null_md5_when_absent=mapping.maximum_batching_window_in_seconds > 0,
    )


def _of_kinesis(one: AnyRecord, mapping: StreamMapping) -> AnyRecord:
    if "Data" not in one:
        return _checked(one, "kinesis", "aws:kinesis")
    role = mapping.role_arn or f"arn:aws:iam::{mapping.event_source_arn.account}:role/unknown"
    envelope = KinesisEnvelope(arn=str(mapping.event_source_arn), region=mapping.region, role_arn=role)
    arrived_at = _epoch_seconds(one.get("ApproximateArrivalTimestamp", 0.0))
    wire = {"SequenceNumber": "0", "PartitionKey": "none"} | one | {"ApproximateArrivalTimestamp": arrived_at}
    record: AnyRecord = orjson.loads(envelope.of_shard("shardId-000000000000")(wire))
    return record


def _of_table(one: AnyRecord, mapping: StreamMapping) -> AnyRecord:
    if "eventSourceARN" in one:
        return _checked(one, "dynamodb", "aws:dynamodb")
    change = one["dynamodb"]
    created_at = _epoch_seconds(change.get("ApproximateCreationDateTime", 0.0))
    wire = {"eventID": "none"} | one | {"dynamodb": change | {"ApproximateCreationDateTime": created_at}}
    return dynamodb_record(wire, arn=str(mapping.event_source_arn), region=mapping.region)


def _checked(record: AnyRecord, data_key: str, source: str) -> AnyRecord:
    found = record.get("eventSource", source)
    if found != source:
        raise UnusableRecord(f"a record of this mapping's source has {data_key}, and eventSource {source}, not {found}")
    if not isinstance(record[data_key], str if data_key == "body" else dict):
        raise UnusableRecord(f"a record has {data_key} of the wrong type")
    return record


def _epoch_seconds(moment: Any) -> float:
    """Return the time as a number. Version 2 of the AWS CLI prints a text in place of a number."""
    return datetime.fromisoformat(moment).timestamp() if isinstance(moment, str) else float(moment)


def shown(record: Mapping[str, Any]) -> str:
    """Return the record as indented JSON."""
    return orjson.dumps(record, option=orjson.OPT_INDENT_2).decode()
