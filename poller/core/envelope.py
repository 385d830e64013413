"""What JSON does the function receive?

    {"Records": [record, record, …]}     and in a tumbling window, the window and its state besides

A record is made once from what the source's JSON protocol sends, encoded once, and the encoded bytes are joined into
the event; so a retry and the size of a batch cost nothing more, and neither a body nor Kinesis data is ever decoded.
The names change from SQS's (`MessageId`) to the event's (`messageId`); attributes go through as they came, all strings.
A DynamoDB stream record has the event's shape on the wire; only `userIdentity` is spelled otherwise.

Two oddities of AWS are kept.
Every message attribute carries an empty `stringListValues` and `binaryListValues`.
`md5OfMessageAttributes` of a message without attributes is left out by a mapping without a batching window, and is null
with one.

Sources: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS", "Using Lambda with Kinesis" and "Using Lambda with
DynamoDB"; Amazon SQS API Reference, "Message"; the null was seen on AWS, not read.
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

LEFT_OUT_ATTRIBUTE = "SqsManagedSseEnabled"
"""A property of the queue that ReceiveMessage returns with each message; Lambda does not hand it to functions."""


def sqs_record(wire: Mapping[str, Any], *, arn: str, region: str, null_md5_when_absent: bool) -> dict[str, Any]:
    """One message of ReceiveMessage's answer, as the function will see it. `arn` and `region` are the queue's.

    Raises KeyError when the message lacks an id, a receipt handle or a body.
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
    """Records of a stream. `arn` is the stream's, or its consumer's; `role_arn` is the reader's.

    All that is the same for a stream's records is written once, and each record's own texts are put between: half the
    time that it takes to build a record and encode it.
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
        """What makes a record of this shard, as GetRecords answers it, into JSON; `Data` stays base64.

        A stream that spreads records by itself may have none with a partition key; the event then has an empty one.
        Raises KeyError when the record lacks a key that Kinesis always sends.
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


def dynamodb_record(wire: Mapping[str, Any], *, arn: str, region: str) -> dict[str, Any]:
    """One record of GetRecords' answer. `arn` is the stream's; the images go through as they came.

    Raises KeyError when the record lacks a key that DynamoDB always sends.
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
    """What tells a DynamoDB record's item from others: its keys as JSON, in one spelling."""
    keys = wire["dynamodb"]["Keys"]
    try:
        return orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:  # see encode
        return encode(dict(sorted(keys.items()))).decode()


def encode(record: Any) -> bytes:
    """The record, or a part of one, as JSON, in no more memory than it is long: many are held.

    Text that is no valid Unicode (half of a surrogate pair) is refused by the fast encoder, but an emulator may let it
    through; it is then written as JSON's own escape, so that no message is lost over it.
    """
    try:
        return b"%b" % orjson.dumps(record)  # what orjson returns keeps the 8 KB that it was written into
    except orjson.JSONEncodeError:
        return json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def event(records: Sequence[bytes]) -> bytes:
    """The event, from encoded records in their order; all but the first and the last are copied once."""
    if len(records) < 2:
        return b'{"Records":[%b]}' % b"".join(records)
    return b",".join([b'{"Records":[' + records[0], *records[1:-1], records[-1] + b"]}"])


def window_event(
    records: Sequence[bytes], *, shard_id: str, arn: str, window: Window, is_final: bool, is_terminated_early: bool
) -> bytes:
    """The event of a tumbling window. `window.state` is what the function last returned there, as JSON."""
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
    """Epoch seconds in the events' spelling: 2020-12-09T07:04:00Z."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


def md5_of_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """The digest that SQS sends with message attributes, for a source that leaves it out.

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
    """The data type is String, Number or Binary, perhaps with a suffix of the producer's own."""
    return bool(value["DataType"].startswith("Binary"))


def _with_length(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
