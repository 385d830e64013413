from __future__ import annotations

import json
from typing import Any

import botocore.session
import orjson
import pytest

from poller.core.envelope import KinesisEnvelope, dynamodb_record, encode, item_key, window_event
from poller.model.stream import Window

KINESIS_EVENT = """
{
  "kinesis": {
    "kinesisSchemaVersion": "1.0",
    "partitionKey": "1",
    "sequenceNumber": "49590338271490256608559692538361571095921575989136588898",
    "data": "SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg==",
    "approximateArrivalTimestamp": 1545084650.987
  },
  "eventSource": "aws:kinesis",
  "eventVersion": "1.0",
  "eventID": "shardId-000000000006:49590338271490256608559692538361571095921575989136588898",
  "eventName": "aws:kinesis:record",
  "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
  "awsRegion": "us-east-2",
  "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"
}
"""

DYNAMODB_EVENT = """
{
  "eventID": "f07f8ca4b0b26cb9c4e5e77e69f274ee",
  "eventName": "MODIFY",
  "eventVersion": "1.1",
  "eventSource": "aws:dynamodb",
  "awsRegion": "us-east-1",
  "dynamodb": {
    "ApproximateCreationDateTime": 1480642020.0,
    "Keys": {"id": {"S": "a"}},
    "NewImage": {"id": {"S": "a"}, "n": {"N": "42"}, "b": {"B": "AAEqQQ=="}},
    "OldImage": {"id": {"S": "a"}, "n": {"N": "41"}},
    "SequenceNumber": "1405400000000002063282832",
    "SizeBytes": 54,
    "StreamViewType": "NEW_AND_OLD_IMAGES"
  },
  "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/T/stream/2016-12-01T00:00:00.000"
}
"""

STREAM = "arn:aws:dynamodb:us-east-1:123456789012:table/T/stream/2016-12-01T00:00:00.000"

WIRE: dict[str, Any] = {
    "awsRegion": "us-east-1",
    "dynamodb": {
        "ApproximateCreationDateTime": 1480642020,
        "Keys": {"id": {"S": "a"}},
        "NewImage": {"id": {"S": "a"}, "n": {"N": "42"}, "b": {"B": "AAEqQQ=="}},
        "OldImage": {"id": {"S": "a"}, "n": {"N": "41"}},
        "SequenceNumber": "1405400000000002063282832",
        "SizeBytes": 54,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    },
    "eventID": "f07f8ca4b0b26cb9c4e5e77e69f274ee",
    "eventName": "MODIFY",
    "eventSource": "aws:dynamodb",
    "eventVersion": "1.1",
}


def test_the_record_of_these_tests_has_the_fields_that_the_service_names() -> None:
    """The names come from the service's own model, because no test would notice a name that is wrong here and in the
    code.
    """
    model = botocore.session.get_session().get_service_model("dynamodbstreams")
    assert WIRE.keys() <= model.shape_for("Record").members.keys()
    assert WIRE["dynamodb"].keys() == model.shape_for("StreamRecord").members.keys()


def compact(text: str) -> bytes:
    """Return the same JSON without spaces, with its keys in the same order."""
    return json.dumps(json.loads(text), separators=(",", ":")).encode()


def test_a_kinesis_record_is_the_documented_one_to_the_letter() -> None:
    wire = {
        "SequenceNumber": "49590338271490256608559692538361571095921575989136588898",
        "ApproximateArrivalTimestamp": 1545084650.987,
        "Data": "SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg==",
        "PartitionKey": "1",
        "EncryptionType": "KMS",
    }
    envelope = KinesisEnvelope(
        arn="arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream",
        region="us-east-2",
        role_arn="arn:aws:iam::123456789012:role/lambda-role",
    )
    assert envelope.of_shard("shardId-000000000006")(wire) == compact(KINESIS_EVENT)


def test_a_record_without_a_partition_key_has_an_empty_one() -> None:
    wire = {"SequenceNumber": "1", "ApproximateArrivalTimestamp": 1545084650.987, "Data": ""}
    for absent in (wire, wire | {"PartitionKey": None}):
        record = KinesisEnvelope(arn="a", region="r", role_arn="i").of_shard("shardId-000000000006")(absent)
        assert orjson.loads(record)["kinesis"]["partitionKey"] == ""


ODD_TEXTS = ['"', "%b", "\\", "\n", "é ✓", "\ud800"]


@pytest.mark.parametrize("odd", ODD_TEXTS)
def test_no_text_breaks_a_kinesis_record(odd: str) -> None:
    wire = {"SequenceNumber": "1", "ApproximateArrivalTimestamp": 1, "Data": odd, "PartitionKey": odd}
    record = json.loads(KinesisEnvelope(arn=odd, region="r", role_arn="50%").of_shard(odd)(wire))
    assert record["kinesis"] == {
        "kinesisSchemaVersion": "1.0",
        "partitionKey": odd,
        "sequenceNumber": "1",
        "data": odd,
        "approximateArrivalTimestamp": 1,
    }
    assert (record["eventID"], record["eventSourceARN"], record["invokeIdentityArn"]) == (f"{odd}:1", odd, "50%")


def test_a_dynamodb_record_is_the_documented_one_to_the_letter() -> None:
    assert encode(dynamodb_record(WIRE, arn=STREAM, region="us-east-1")) == compact(DYNAMODB_EVENT)


def test_the_json_of_the_wire_is_passed_on_unchanged() -> None:
    before = orjson.dumps(WIRE)
    dynamodb_record(WIRE, arn=STREAM, region="us-east-1")
    assert orjson.dumps(WIRE) == before


def test_a_deletion_by_time_to_live_names_the_service_after_the_region() -> None:
    wire = WIRE | {"userIdentity": {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}}
    record = dynamodb_record(wire, arn=STREAM, region="us-east-1")
    assert record["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert list(record)[4:7] == ["awsRegion", "userIdentity", "dynamodb"]


def test_a_record_has_its_own_version_and_region() -> None:
    record = dynamodb_record(WIRE | {"eventVersion": "1.0", "awsRegion": "eu-north-1"}, arn=STREAM, region="us-east-1")
    assert (record["eventVersion"], record["awsRegion"]) == ("1.0", "eu-north-1")


def test_an_image_that_the_view_type_leaves_out_is_absent() -> None:
    change = {name: value for name, value in WIRE["dynamodb"].items() if not name.endswith("Image")}
    record = dynamodb_record(WIRE | {"dynamodb": change}, arn=STREAM, region="us-east-1")
    assert record["dynamodb"].keys() == change.keys()


def test_an_item_has_the_same_key_in_any_spelling() -> None:
    one = {"dynamodb": {"Keys": {"a": {"S": "x"}, "b": {"N": "1"}}}}
    other = {"dynamodb": {"Keys": {"b": {"N": "1"}, "a": {"S": "x"}}}}
    assert item_key(one) == item_key(other) == '{"a":{"S":"x"},"b":{"N":"1"}}'
    half_a_pair = {"dynamodb": {"Keys": {"b": {"S": "\ud800"}, "a": {"S": "x"}}}}
    assert item_key(half_a_pair) == '{"a":{"S":"x"},"b":{"S":"\\ud800"}}'
    assert item_key({"dynamodb": {"Keys": {"a": {"N": "1"}}}}) != item_key({"dynamodb": {"Keys": {"a": {"S": "1"}}}})


WINDOW_EVENT = """
{
  "Records": [ ],
  "shardId": "shardId-000000000006",
  "eventSourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream",
  "window": {"start": "2020-12-09T07:04:00Z", "end": "2020-12-09T07:06:00Z"},
  "state": {"1": "value"},
  "isFinalInvokeForWindow": false,
  "isWindowTerminatedEarly": true
}
"""


def test_the_event_of_a_window_is_the_documented_one_to_the_letter() -> None:
    event = window_event(
        [],
        shard_id="shardId-000000000006",
        arn="arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream",
        window=Window(1607497440, 1607497560, b'{"1":"value"}'),
        is_final=False,
        is_terminated_early=True,
    )
    assert event == compact(WINDOW_EVENT)


def test_the_event_of_a_window_holds_the_records_in_their_order() -> None:
    event = window_event(
        [b'{"n":1}', b'{"n":2}'],
        shard_id="s",
        arn="a",
        window=Window(0, 1, b"{}"),
        is_final=True,
        is_terminated_early=False,
    )
    assert orjson.loads(event)["Records"] == [{"n": 1}, {"n": 2}]
    assert orjson.loads(event)["isFinalInvokeForWindow"] is True
