"""Which JSON does the function receive?

    {"Records": [record, record, …]}     an event of a tumbling window also has the window and its state

A record is built and encoded once, from the source's answer. An event joins the encoded bytes of its records, so a
retry encodes nothing again, and the size of a batch is known. A body is never parsed, and Kinesis data stay base64.
SQS's names become the event's names: `MessageId` becomes `messageId`. Attributes keep their names and are all strings.
A DynamoDB stream record already has the event's shape; only the keys in `userIdentity` change.

Two oddities of AWS are kept:
Every message attribute has an empty `stringListValues` and an empty `binaryListValues`.
For a message without attributes, `md5OfMessageAttributes` is absent if the mapping has no batching window, and null if
it has one.

Sources: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS", "Using Lambda with Kinesis" and "Using Lambda with
DynamoDB"; Amazon SQS API Reference, "Message". The null is not documented; it was seen on AWS.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from poller.model.stream import Window

DATA_KEY = b',"data":"'
"""The text before the data in the JSON of a Kinesis record."""

LEFT_OUT_ATTRIBUTE = "SqsManagedSseEnabled"
"""An attribute that ReceiveMessage returns with each message and that Lambda does not pass to functions."""


def sqs_record(wire: Mapping[str, Any], *, arn: str, region: str, null_md5_when_absent: bool) -> dict[str, Any]:
    """Return the record for one message of ReceiveMessage's answer. `arn` and `region` are those of the queue.

    Raises KeyError if the message lacks an id, a receipt handle or a body.
    """
    body = wire["Body"]
    own = wire.get("MessageAttributes")
    record: dict[str, Any] = {
        "messageId": wire["MessageId"],
        "receiptHandle": wire["ReceiptHandle"],
        "body": body,
        "attributes": _system_attributes(wire.get("Attributes")),
        "messageAttributes": {name: _message_attribute(value) for name, value in own.items()} if own else {},
    }
    if own:
        record["md5OfMessageAttributes"] = wire.get("MD5OfMessageAttributes") or md5_of_attributes(own)
    elif null_md5_when_absent:
        record["md5OfMessageAttributes"] = None
    record["md5OfBody"] = wire.get("MD5OfBody") or _md5(body.encode("utf-8", "surrogatepass"))
    record["eventSource"] = "aws:sqs"
    record["eventSourceARN"] = arn
    record["awsRegion"] = region
    return record


class KinesisEnvelope:
    """Makes the encoded records of a Kinesis stream. `arn` is the ARN of the stream, or of a consumer.

    `role_arn` becomes the records' `invokeIdentityArn`.
    The JSON that is equal in all records is encoded once, and only the different values are encoded for each record.
    This takes half the time of encoding a dict for each record.
    """

    def __init__(self, *, arn: str, region: str, role_arn: str) -> None:
        common = {
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": role_arn,
            "awsRegion": region,
            "eventSourceARN": arn,
        }
        self._end = b"," + encode(common)[1:]

    def of_shard(self, shard_id: str) -> Callable[[Mapping[str, Any]], bytes]:
        """Return a function that turns a record of this shard, from GetRecords' answer, into the event's JSON.

        `Data` stays base64. A record without a partition key gets an empty one.
        The function raises KeyError if the record lacks another key that Kinesis always sends.
        """
        to_number = b',"sequenceNumber":"'
        to_id = b'},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":' + encode(shard_id)[:-1] + b":"
        end = self._end

        def record(wire: Mapping[str, Any], dumps: Callable[[Any], bytes] = orjson.dumps) -> bytes:
            rest_of_number = dumps(wire["SequenceNumber"])[1:]
            try:
                return b"".join(
                    (
                        b'{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":',
                        dumps(wire.get("PartitionKey") or ""),
                        to_number,
                        rest_of_number,
                        b',"data":',
                        dumps(wire["Data"]),
                        b',"approximateArrivalTimestamp":',
                        dumps(wire["ApproximateArrivalTimestamp"]),
                        to_id,
                        rest_of_number,
                        end,
                    )
                )
            except orjson.JSONEncodeError:
                return record(wire, encode)

        return record


def kinesis_data(encoded: bytes) -> bytes:
    """Return a record's data, in base64 and in quotation marks, cut out of the JSON that `KinesisEnvelope` made.

    A quotation mark within a JSON string follows a backslash, so no string before the data contains `DATA_KEY`.
    Raises ValueError if the data are not a string.
    """
    start = encoded.index(DATA_KEY) + len(DATA_KEY)
    return encoded[start - 1 : encoded.index(b'"', start) + 1]


def dynamodb_record(wire: Mapping[str, Any], *, arn: str, region: str) -> dict[str, Any]:
    """Return the event's record for one record of GetRecords' answer. `arn` is the ARN of the stream.

    The keys and images stay unchanged. Raises KeyError if the record lacks a key that DynamoDB always sends.
    """
    change = wire["dynamodb"]
    record = {
        "eventID": wire["eventID"],
        "eventName": wire["eventName"],
        "eventVersion": wire.get("eventVersion", "1.1"),
        "eventSource": "aws:dynamodb",
        "awsRegion": wire.get("awsRegion", region),
    }
    identity = wire.get("userIdentity")
    if identity is not None:
        record["userIdentity"] = {"type": identity["Type"], "principalId": identity["PrincipalId"]}
    record["dynamodb"] = change | {"ApproximateCreationDateTime": float(change["ApproximateCreationDateTime"])}
    record["eventSourceARN"] = arn
    return record


def item_key(wire: Mapping[str, Any]) -> str:
    """Return the key of a DynamoDB record's item as JSON with sorted names, so that equal keys give equal texts."""
    keys = wire["dynamodb"]["Keys"]
    try:
        return orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:  # the text has half of a surrogate pair, see `encode`
        return encode(dict(sorted(keys.items()))).decode()


def encode(record: Any) -> bytes:
    """Return the value as compact JSON.

    orjson refuses text with half of a surrogate pair, which an emulator may send. Such text is written with JSON
    escapes, so that the message is not lost.
    """
    try:
        return b"%b" % orjson.dumps(record)  # a copy, because orjson's result occupies its whole buffer of 8 KB
    except orjson.JSONEncodeError:
        return json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def event(records: Sequence[bytes]) -> bytes:
    """Return the event that contains these encoded records, in their order."""
    if len(records) < 2:
        return b'{"Records":[%b]}' % b"".join(records)
    # The brackets join the first and the last record, so that the join copies the other records only once.
    return b",".join([b'{"Records":[' + records[0], *records[1:-1], records[-1] + b"]}"])


def window_event(
    records: Sequence[bytes], *, shard_id: str, arn: str, window: Window, is_final: bool, is_terminated_early: bool
) -> bytes:
    """Return the event of one invocation in a tumbling window. `window.state` is JSON."""
    return (
        b'{"Records":[%b],"shardId":%b,"eventSourceARN":%b,"window":{"start":"%b","end":"%b"},"state":%b,'
        b'"isFinalInvokeForWindow":%b,"isWindowTerminatedEarly":%b}'
    ) % (
        b",".join(records),
        orjson.dumps(shard_id),
        orjson.dumps(arn),
        iso_seconds(window.start).encode(),
        iso_seconds(window.end).encode(),
        window.state,
        orjson.dumps(is_final),
        orjson.dumps(is_terminated_early),
    )


def iso_seconds(moment: float) -> str:
    """Return epoch seconds in the format of events, without fractions: 2020-12-09T07:04:00Z."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


def iso_milliseconds(moment: float) -> str:
    """Return epoch seconds in the format of invocation records: 2020-12-09T07:04:00.123Z."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def md5_of_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the MD5 digest of message attributes, as SQS computes it. It is used if the source sends no digest.

    Source: Amazon SQS Developer Guide, "Amazon SQS message metadata", calculating the MD5 message digest.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        value = attributes[name]
        is_binary = _is_binary(value)
        content = b64decode(value["BinaryValue"]) if is_binary else value["StringValue"].encode()
        digest.update(_with_length(name.encode()) + _with_length(value["DataType"].encode()))
        digest.update((b"\x02" if is_binary else b"\x01") + _with_length(content))
    return digest.hexdigest()


def _system_attributes(attributes: Mapping[str, str] | None) -> Mapping[str, str]:
    if attributes is None:
        return {}
    if LEFT_OUT_ATTRIBUTE in attributes:
        return {name: value for name, value in attributes.items() if name != LEFT_OUT_ATTRIBUTE}
    return attributes


def _message_attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    if _is_binary(value):
        name, content = "binaryValue", value["BinaryValue"]
    else:
        name, content = "stringValue", value["StringValue"]
    return {name: content, "stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}


def _is_binary(value: Mapping[str, Any]) -> bool:
    """Return whether the data type is Binary, with or without a suffix of the producer (`Binary.png`)."""
    return bool(value["DataType"].startswith("Binary"))


def _with_length(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
