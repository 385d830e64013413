from __future__ import annotations

import hashlib
import json
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.envelope import encode, event, md5_of_attributes, sqs_record

QUEUE = "arn:aws:sqs:us-east-2:123456789012:my-queue"

PLAIN: dict[str, Any] = {
    "MessageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
    "ReceiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
    "MD5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
    "Body": "Test message.",
    "Attributes": {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": "1545082649183",
        "SenderId": "AIDAIENQZJOLO23YVJ4VO",
        "ApproximateFirstReceiveTimestamp": "1545082649185",
    },
}

ATTRIBUTES: dict[str, dict[str, Any]] = {
    "WeeksOn": {"StringValue": "6", "DataType": "Number"},
    "Blob": {"BinaryValue": "AAF/gP8=", "DataType": "Binary.png", "StringListValues": [], "BinaryListValues": []},
}


def record_of(wire: dict[str, Any], *, null_md5_when_absent: bool = False) -> dict[str, Any]:
    return sqs_record(wire, arn=QUEUE, region="us-east-2", null_md5_when_absent=null_md5_when_absent)


def test_a_message_without_attributes_has_exactly_these_keys() -> None:
    assert record_of(PLAIN) == {
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": "Test message.",
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1545082649183",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": QUEUE,
        "awsRegion": "us-east-2",
    }


def test_with_a_batching_window_the_digest_of_no_attributes_is_null() -> None:
    record = record_of(PLAIN, null_md5_when_absent=True)
    assert record["md5OfMessageAttributes"] is None
    assert record == record_of(PLAIN) | {"md5OfMessageAttributes": None}


@pytest.mark.parametrize("null_md5_when_absent", [False, True])
def test_every_attribute_has_one_value_and_two_empty_lists(null_md5_when_absent: bool) -> None:
    wire = PLAIN | {"MessageAttributes": ATTRIBUTES, "MD5OfMessageAttributes": "d25a6aea97eb8f585bfa92d314504a92"}
    record = record_of(wire, null_md5_when_absent=null_md5_when_absent)
    lists: dict[str, Any] = {"stringListValues": [], "binaryListValues": []}
    assert record["messageAttributes"] == {
        "WeeksOn": {"stringValue": "6", "dataType": "Number"} | lists,
        "Blob": {"binaryValue": "AAF/gP8=", "dataType": "Binary.png"} | lists,
    }
    assert record["md5OfMessageAttributes"] == "d25a6aea97eb8f585bfa92d314504a92"


def test_a_digest_from_the_source_is_passed_on_unchanged() -> None:
    wire = PLAIN | {"MD5OfBody": "of the body", "MessageAttributes": ATTRIBUTES, "MD5OfMessageAttributes": "of these"}
    record = record_of(wire)
    assert (record["md5OfBody"], record["md5OfMessageAttributes"]) == ("of the body", "of these")


def test_the_digest_of_attributes_is_computed_if_the_source_gave_none() -> None:
    attributes = {"b": {"DataType": "Binary", "BinaryValue": "AAE="}, "ä": {"DataType": "String.x", "StringValue": "é"}}
    spelled_out = (
        b"\x00\x00\x00\x01b" + b"\x00\x00\x00\x06Binary" + b"\x02" + b"\x00\x00\x00\x02\x00\x01"
        b"\x00\x00\x00\x02\xc3\xa4" + b"\x00\x00\x00\x08String.x" + b"\x01" + b"\x00\x00\x00\x02\xc3\xa9"
    )  # fmt: skip
    record = record_of(PLAIN | {"MessageAttributes": attributes})
    assert record["md5OfMessageAttributes"] == hashlib.md5(spelled_out).hexdigest()


def test_the_digest_does_not_depend_on_the_order_of_attributes() -> None:
    assert md5_of_attributes(ATTRIBUTES) == md5_of_attributes(dict(reversed(ATTRIBUTES.items())))


def test_the_digest_of_the_body_is_computed_if_the_source_gave_none() -> None:
    wire = {name: value for name, value in PLAIN.items() if name != "MD5OfBody"} | {"Body": "é"}
    assert record_of(wire)["md5OfBody"] == hashlib.md5("é".encode()).hexdigest()


def test_the_encryption_attribute_of_sqs_is_left_out() -> None:
    attributes = PLAIN["Attributes"] | {"SqsManagedSseEnabled": "true"}
    assert record_of(PLAIN | {"Attributes": attributes}) == record_of(PLAIN)
    assert "SqsManagedSseEnabled" in attributes


def test_other_system_attributes_are_passed_on_unchanged() -> None:
    attributes = {"MessageGroupId": "g", "SequenceNumber": "18850000000000000001", "AWSTraceHeader": "Root=1"}
    assert record_of(PLAIN | {"Attributes": attributes})["attributes"] == attributes


def test_an_event_holds_the_records_in_their_order() -> None:
    records = [{"messageId": str(number)} for number in range(3)]
    assert orjson.loads(event([encode(record) for record in records])) == {"Records": records}
    assert event([]) == b'{"Records":[]}'


def test_a_record_in_hand_uses_no_more_memory_than_its_length() -> None:
    record = record_of(PLAIN)
    tracemalloc.start()
    try:
        held = [encode(record) for _ in range(100)]
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 1.5 * sum(map(len, held))


@given(st.text(st.characters(codec="utf-8")))
def test_any_body_is_the_same_in_the_event(body: str) -> None:
    assert json.loads(event([encode(record_of(PLAIN | {"Body": body}))]))["Records"][0]["body"] == body


@given(st.text(st.characters()))
def test_half_a_surrogate_pair_does_not_lose_a_message(body: str) -> None:
    wire = {name: value for name, value in PLAIN.items() if name != "MD5OfBody"} | {"Body": body + "\ud83d"}
    encoded = encode(record_of(wire))
    # Two halves beside one another are read back as the one character that they make.
    assert json.loads(event([encoded]))["Records"][0]["body"] == json.loads(json.dumps(body + "\ud83d"))
