from __future__ import annotations

import json
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

import pytest

from poller.core.invocation_record import DiscardedBatch, WindowCall
from poller.core.invocation_record import document_of as rendered
from poller.model.arn import Arn
from poller.model.ids import RequestId
from poller.model.invocation import Answered, FunctionError, LostAnswer, TooLarge
from poller.model.stream import SequenceNumber, ShardId, Window


class Held(NamedTuple):
    sequence_number: SequenceNumber
    arrived_at: float
    encoded: bytes = b"{}"


FIRST = Held(SequenceNumber("49601189658422359378836298521827638475320189012309704722"), 1573691884.835)
LAST = Held(SequenceNumber("49601189658422359378836298522902373528957594348623495186"), 1573691885.58)
BATCH = DiscardedBatch(
    request_id=RequestId("c9b8fa9f-5a7f-xmpl-af9c-0c604cde93a5"),
    function_arn="arn:aws:lambda:us-east-2:123456789012:function:myfunction",
    condition="RetryAttemptsExhausted",
    invoke_count=2,
    response=FunctionError(error_type="ValueError", message="a secret"),
    at=1573691886.021,
    mapping_uuid="14e0db71-xmpl-4eb5-b481-8945cf9d10c2",
    shard_id=ShardId("shardId-000000000001"),
    stream_arn=Arn.parse("arn:aws:kinesis:us-east-2:123456789012:stream/mystream"),
    records=[FIRST] * 499 + [LAST],
)

SAMPLE = """
{
  "requestContext": {
    "requestId": "c9b8fa9f-5a7f-xmpl-af9c-0c604cde93a5",
    "functionArn": "arn:aws:lambda:us-east-2:123456789012:function:myfunction",
    "condition": "RetryAttemptsExhausted",
    "approximateInvokeCount": 2
  },
  "responseContext": {
    "statusCode": 200,
    "executedVersion": "$LATEST",
    "functionError": "Unhandled"
  },
  "version": "1.0",
  "timestamp": "2019-11-14T00:38:06.021Z",
  "KinesisBatchInfo": {
    "shardId": "shardId-000000000001",
    "startSequenceNumber": "49601189658422359378836298521827638475320189012309704722",
    "endSequenceNumber":   "49601189658422359378836298522902373528957594348623495186",
    "approximateArrivalOfFirstRecord": "2019-11-14T00:38:04.835Z",
    "approximateArrivalOfLastRecord":  "2019-11-14T00:38:05.580Z",
    "batchSize": 500,
    "streamArn": "arn:aws:kinesis:us-east-2:123456789012:stream/mystream"
  }
}
"""
"""The sample of "Retaining discarded batch records for a Kinesis Data Streams event source in Lambda"."""


ID = UUID("12345678-1234-5678-1234-567812345678")


def compact(text: str) -> str:
    """Return the same JSON without spaces, with its keys in the same order."""
    return json.dumps(json.loads(text), separators=(",", ":"))


def document_of(batch: DiscardedBatch) -> str:
    return rendered(batch, event=b"{}", document_id=ID).text.decode()


def test_the_record_is_the_documented_one_to_the_letter() -> None:
    assert document_of(BATCH) == compact(SAMPLE)


def test_a_dynamodb_record_has_another_key_and_no_milliseconds() -> None:
    arn = "arn:aws:dynamodb:us-east-2:123456789012:table/mytable/stream/2019-11-14T00:04:06.388"
    batch = replace(BATCH, stream_arn=Arn.parse(arn))
    sample = SAMPLE.replace("KinesisBatchInfo", "DDBStreamBatchInfo").replace(str(BATCH.stream_arn), arn)
    assert document_of(batch) == compact(sample.replace("04.835Z", "04Z").replace("05.580Z", "05Z"))


def test_failures_that_the_answer_named_have_a_null_error() -> None:
    batch = replace(BATCH, response=Answered(b"{}", executed_version="7"))
    assert document_of(batch) == compact(SAMPLE.replace('"Unhandled"', "null").replace("$LATEST", "7"))


def test_a_version_that_failed_is_named() -> None:
    batch = replace(BATCH, response=FunctionError(error_type="x", message="", executed_version="7"))
    assert document_of(batch) == compact(SAMPLE.replace("$LATEST", "7"))


def test_a_lost_answer_is_reported_as_an_error() -> None:
    assert document_of(replace(BATCH, response=LostAnswer(reason="reset"))) == compact(SAMPLE)


@pytest.mark.parametrize(
    "batch",
    [
        replace(BATCH, response=None),
        replace(BATCH, response=TooLarge(error_type="x", message="too large")),
        replace(BATCH, condition="RecordAgeExceeded"),
    ],
    ids=["never delivered", "refused as too large", "too old"],
)
def test_a_batch_without_an_answer_or_too_old_has_no_response_context(batch: DiscardedBatch) -> None:
    expected = json.loads(SAMPLE)
    del expected["responseContext"]
    expected["requestContext"]["condition"] = batch.condition
    assert document_of(batch) == json.dumps(expected, separators=(",", ":"))


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (1573691886.0, "2019-11-14T00:38:06.000Z"),
        (1573691886.999, "2019-11-14T00:38:06.999Z"),
        (1573691886.9999, "2019-11-14T00:38:06.999Z"),
        (0.001, "1970-01-01T00:00:00.001Z"),
    ],
)
def test_a_timestamp_always_has_three_decimals(moment: float, text: str) -> None:
    assert json.loads(document_of(replace(BATCH, at=moment)))["timestamp"] == text


def test_every_millisecond_is_kept() -> None:
    for millisecond in range(1000):
        document = json.loads(document_of(replace(BATCH, at=float(f"1573691886.{millisecond:03}"))))
        assert document["timestamp"] == f"2019-11-14T00:38:06.{millisecond:03}Z"


WINDOW_CALL = WindowCall(window=Window(1607497440, 1607497560, b"{}"), is_final=True, is_terminated_early=False)


def test_a_window_is_named_after_the_batch() -> None:
    sample = SAMPLE.rstrip().removesuffix("}") + (
        ',"timeWindowInfo":{"window":{"start":"2020-12-09T07:04:00Z","end":"2020-12-09T07:06:00Z"},'
        '"isFinalInvokeForWindow":true,"isWindowTerminatedEarly":false}}'
    )
    assert document_of(replace(BATCH, window_call=WINDOW_CALL)) == compact(sample)


def test_a_window_that_could_not_be_closed_names_only_shard_and_stream() -> None:
    document = json.loads(document_of(replace(BATCH, records=[], window_call=WINDOW_CALL)))
    assert document["KinesisBatchInfo"] == {"shardId": BATCH.shard_id, "streamArn": str(BATCH.stream_arn)}


def test_an_s3_object_ends_with_the_event_as_text() -> None:
    event = '{"Records":[{"kinesis":{"partitionKey":"é\\"\\n"}}]}'.encode()
    expected = json.loads(SAMPLE) | {"payload": event.decode()}
    document = rendered(BATCH, event=event, document_id=ID)
    assert document.event == event
    assert document.text_with_event == json.dumps(expected, separators=(",", ":"), ensure_ascii=False).encode()


def test_a_document_names_the_mapping_the_shard_and_the_time() -> None:
    document = rendered(BATCH, event=b"{}", document_id=ID)
    assert document.folder == "aws/lambda/14e0db71-xmpl-4eb5-b481-8945cf9d10c2/shardId-000000000001"
    assert (document.at, document.document_id) == (1573691886.021, ID)


def test_no_message_of_the_function_is_in_the_record() -> None:
    assert "a secret" not in document_of(BATCH)
