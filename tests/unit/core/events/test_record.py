"""What does a destination receive about an ended event?"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from poller.core.events.record import dead_letter_of, records_of
from poller.model.event import Event, LastAttempt
from poller.model.function import Function
from poller.model.ids import RequestId
from tests.fakes.ended_events import EVENT, FAILED, FUNCTION, NOW, ended
from tests.fakes.functions import TRACEPARENT

SAMPLE = """
{
  "version": "1.0",
  "timestamp": "2023-11-14T22:13:20.568Z",
  "requestContext": {
    "requestId": "e4b46cbf-b738-4880-8880-a18cdf61200e",
    "functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:insert_records:$LATEST",
    "condition": "RetriesExhausted",
    "approximateInvokeCount": 3
  },
  "requestPayload": {"ORDER_IDS": ["9e07af03"]},
  "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
  "responsePayload": {"errorMessage": "no", "errorType": "ValueError"}
}
"""
"""The sample of "Capturing records of Lambda asynchronous invocations", with the names of our function."""

EXHAUSTED = ended(replace(EVENT, attempts=3), at=NOW + 0.568)


def whole(event: Event, function: Function = FUNCTION) -> dict[str, Any]:
    return texts(event, function)[0]


def texts(event: Event, function: Function = FUNCTION) -> list[dict[str, Any]]:
    return [json.loads(document.text) for document in records_of(event, function)]


def test_the_record_has_the_documented_members_in_the_same_order() -> None:
    (text, *_) = [document.text.decode() for document in records_of(EXHAUSTED, FUNCTION)]
    expected = json.dumps(json.loads(SAMPLE), separators=(",", ":"))
    assert text == expected.replace('{"ORDER_IDS":["9e07af03"]}', '{"ORDER_IDS": ["9e07af03"]}'), "as it was sent"


def test_the_record_of_a_success_has_no_function_error() -> None:
    last = LastAttempt(status_code=200, executed_version="7", payload=b"null")
    record = whole(ended(replace(EVENT, attempts=1), condition="Success", last=last))
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "7"}
    assert record["responsePayload"] is None
    assert (record["requestContext"]["condition"], record["requestContext"]["approximateInvokeCount"]) == ("Success", 1)


@pytest.mark.parametrize("status_code", [429, 404, 400])
def test_the_record_has_only_a_status_code_if_the_function_did_not_run(status_code: int) -> None:
    record = whole(ended(last=LastAttempt(status_code=status_code, error_message="x")))
    assert record["responseContext"] == {"statusCode": status_code}
    assert "responsePayload" not in record


def test_the_record_has_no_response_members_if_no_attempt_was_made() -> None:
    record = whole(ended(condition="ZeroReservedConcurrency", last=None))
    assert list(record) == ["version", "timestamp", "requestContext", "requestPayload"]
    assert record["requestContext"]["approximateInvokeCount"] == 0


def test_the_smaller_records_leave_out_the_answer_and_then_the_event_too() -> None:
    record, without_answer, without_both = texts(EXHAUSTED)
    assert without_answer == {name: record[name] for name in record if name != "responsePayload"}
    assert without_both == {name: without_answer[name] for name in without_answer if name != "requestPayload"}


def test_a_record_without_an_answer_has_one_smaller_record() -> None:
    record, smaller = texts(ended(last=None))
    assert smaller == {name: record[name] for name in record if name != "requestPayload"}


@pytest.mark.parametrize(
    ("payload", "shown"), [(b"hello", "hello"), (b"\xff", "\ufffd"), (b'"\\ud800"', "\ud800"), (b"", "")]
)
def test_the_record_shows_a_payload_that_is_not_json_as_a_string(payload: bytes, shown: str) -> None:
    assert whole(ended(replace(EVENT, payload=payload)))["requestPayload"] == shown


@pytest.mark.parametrize(
    ("invoked_arn", "resource"),
    [
        (None, "insert_records:$LATEST"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:insert_records", "insert_records:$LATEST"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:insert_records:live", "insert_records:live"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:other:live", "insert_records:$LATEST"),
        ("no arn", "insert_records:$LATEST"),
    ],
)
def test_the_record_names_the_function_with_its_qualifier(invoked_arn: str | None, resource: str) -> None:
    event = replace(EXHAUSTED, invoked_arn=invoked_arn)
    expected = f"arn:aws:lambda:eu-west-1:123456789012:function:{resource}"
    assert whole(event)["requestContext"]["functionArn"] == expected
    assert next(records_of(event, FUNCTION)).function_arn == expected


def test_the_record_has_the_qualifier_of_the_settings_if_the_client_wrote_none() -> None:
    function = replace(FUNCTION, arn=replace(FUNCTION.arn, resource="function:insert_records:7"))
    assert whole(EXHAUSTED, function)["requestContext"]["functionArn"].endswith(":insert_records:7")
    assert next(records_of(EXHAUSTED, function)).folder == "aws/lambda/async/insert_records"


def test_all_documents_of_an_event_have_the_same_id_folder_and_time() -> None:
    documents = list(records_of(EXHAUSTED, FUNCTION))
    assert {document._replace(text=b"") for document in documents} == {documents[0]._replace(text=b"")}
    one = documents[0]
    assert (one.folder, one.at, one.event) == ("aws/lambda/async/insert_records", NOW + 0.568, None)
    assert one.detail_type == "Lambda Function Invocation Result - Failure"
    assert one.trace.startswith("Root=1-")
    assert one.text_with_event == one.text
    again = next(records_of(EXHAUSTED, FUNCTION))
    assert again.document_id == one.document_id, "an object that is stored again replaces itself"
    other = replace(EXHAUSTED, request_id=RequestId("another"))
    assert next(records_of(other, FUNCTION)).document_id != one.document_id


def test_a_w3c_trace_goes_on_with_the_records_but_not_with_the_dead_letter() -> None:
    event = replace(EXHAUSTED, traceparent=TRACEPARENT)
    assert {document.traceparent for document in records_of(event, FUNCTION)} == {TRACEPARENT}
    assert dead_letter_of(event, FUNCTION).traceparent == ""


def test_an_event_bus_gets_the_detail_type_of_a_success() -> None:
    event = ended(condition="Success", last=FAILED)
    assert next(records_of(event, FUNCTION)).detail_type == "Lambda Function Invocation Result - Success"
