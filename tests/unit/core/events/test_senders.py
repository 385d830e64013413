"""Which event does the message of a sender become?"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from poller.core.events.senders import NOT_JSON, of_sender
from poller.model.event import Event
from poller.model.ids import FunctionName, RequestId

S3 = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"object": {"key": "a+b.csv"}}}]}
S3_TEST = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2014-10-13T15:57:02.089Z",
    "Bucket": "uploads",
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR",
}
EVENTBRIDGE = {"version": "0", "id": "1", "detail-type": "Object Created", "source": "aws.s3", "detail": {"a": 1}}
SUBSCRIPTION = "arn:aws:sns:eu-west-1:123456789012:uploads:21be56ed-a058-49f5-8c98-aedd2564c486"
SNS: dict[str, Any] = {
    "Type": "Notification",
    "MessageId": "95df01b4-ee98-5cb9-9903-4c221d41eb5e",
    "TopicArn": "arn:aws:sns:eu-west-1:123456789012:uploads",
    "Subject": "TestInvoke",
    "Message": "Hello – from SNS!",
    "Timestamp": "2019-01-02T12:45:07.000Z",
    "SignatureVersion": "1",
    "Signature": "tcc6faL2yUC6dgZdmrwh1Y4cGa==",
    "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-ac565b8b.pem",
    "UnsubscribeURL": f"https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={SUBSCRIPTION}",
    "MessageAttributes": {"Test": {"Type": "String", "Value": "TestString"}},
}


def text(document: Any) -> bytes:
    return json.dumps(document).encode()


def message(body: bytes, **fields: Any) -> Event:
    ids = {"request_id": RequestId("8f3"), "function": FunctionName("f")}
    return Event(payload=body, accepted_at=1.0, due_at=1.0, **{**ids, **fields})


def sns_event(sns: dict[str, Any]) -> dict[str, Any]:
    event = of_sender(message(text(sns)))
    assert event is not None
    assert event == message(event.payload)
    (record,) = json.loads(event.payload)["Records"]
    assert isinstance(record, dict)
    return record


@pytest.mark.parity("event queue of one's own")
def test_a_senders_message_becomes_an_event_or_no_event_or_an_event_that_ends_at_once() -> None:
    assert sns_event(SNS)["Sns"]["Message"] == SNS["Message"]
    assert of_sender(message(text(S3_TEST))) is None
    assert of_sender(message(b"no JSON")) == replace(message(b"no JSON"), last=NOT_JSON)


@pytest.mark.parametrize(
    "body", [text(S3), text(EVENTBRIDGE), b'{ "a" : 1 }', b"[1]", b'"text"', b"null", b'"\\ud800"', b'{"Type":[]}']
)
def test_a_json_body_becomes_the_payload_unchanged(body: bytes) -> None:
    assert of_sender(message(body)) == message(body)


def test_the_test_message_of_s3_becomes_no_event() -> None:
    assert of_sender(message(text(S3_TEST))) is None
    for key in ("Service", "Event"):
        body = text({name: value for name, value in S3_TEST.items() if name != key})
        assert of_sender(message(body)) == message(body)


def test_an_sns_message_becomes_the_event_that_lambda_passes() -> None:
    """The sample is in "Invoking Lambda functions with Amazon SNS notifications"."""
    record = sns_event(SNS)
    assert list(record) == ["EventSource", "EventVersion", "EventSubscriptionArn", "Sns"]
    assert (record["EventSource"], record["EventVersion"], record["EventSubscriptionArn"]) == (
        "aws:sns",
        "1.0",
        SUBSCRIPTION,
    )
    renamed = {"SigningCertURL": "SigningCertUrl", "UnsubscribeURL": "UnsubscribeUrl"}
    assert record["Sns"] == {renamed.get(name, name): value for name, value in SNS.items()}


def test_an_sns_message_without_subject_and_attributes_gets_empty_values() -> None:
    message = {name: value for name, value in SNS.items() if name not in ("Subject", "MessageAttributes")}
    sns = sns_event(message)["Sns"]
    assert (sns["Subject"], sns["MessageAttributes"]) == (None, {})


@pytest.mark.parametrize("url", [None, 7, "", "https://[", "https://sns/?Action=Unsubscribe"])
def test_the_topic_arn_replaces_a_missing_subscription_arn(url: Any) -> None:
    message = {name: value for name, value in SNS.items() if name != "UnsubscribeURL"}
    if url is not None:
        message["UnsubscribeURL"] = url
    assert sns_event(message)["EventSubscriptionArn"] == SNS["TopicArn"]


@pytest.mark.parametrize("key", ["Type", "MessageId", "TopicArn", "Message", "Timestamp", "Signature"])
def test_a_body_that_only_resembles_an_sns_message_stays_unchanged(key: str) -> None:
    for body in (
        text({name: value for name, value in SNS.items() if name != key}),
        text(SNS | {key: 7}),
        text(SNS | {"Type": "SubscriptionConfirmation"}),
    ):
        assert of_sender(message(body)) == message(body)


def test_the_trace_of_a_record_that_was_published_goes_on_with_the_event() -> None:
    trace, traceparent = "Root=1-2-3;Lineage=a:1", "00-1-2-01"
    attributes = {"AWSTraceHeader": {"Value": trace}, "traceparent": {"Type": "String", "Value": traceparent}}
    event = of_sender(message(text(SNS | {"MessageAttributes": attributes}), trace="Root=1-4-5", traceparent="00-3"))
    assert event is not None
    assert (event.trace, event.traceparent) == (trace, traceparent)


@pytest.mark.parametrize(
    "attributes", [{}, [], None, {"AWSTraceHeader": 7}, {"AWSTraceHeader": {}, "traceparent": {"Value": "a\r\nb: 1"}}]
)
def test_an_sns_message_without_a_usable_trace_keeps_the_trace_of_sqs(attributes: Any) -> None:
    event = of_sender(message(text(SNS | {"MessageAttributes": attributes}), trace="Root=1-4-5", traceparent="00-3"))
    assert event is not None
    assert (event.trace, event.traceparent) == ("Root=1-4-5", "00-3")


def test_half_of_a_surrogate_pair_in_an_sns_message_stays_unchanged() -> None:
    assert sns_event(SNS | {"Message": "\ud800"})["Sns"]["Message"] == "\ud800"


@pytest.mark.parametrize("body", [b"", b"hello", b"{", b"NaN", b"\xff"])
def test_a_body_that_is_not_json_becomes_an_event_that_ends_at_once(body: bytes) -> None:
    assert of_sender(message(body)) == replace(message(body), last=NOT_JSON)


def test_an_sns_message_that_is_nested_too_deeply_becomes_an_event_that_ends_at_once() -> None:
    attributes = b"[" * 1010 + b"]" * 1010
    body = text(SNS | {"MessageAttributes": "here"}).replace(b'"here"', attributes)
    assert of_sender(message(body)) == replace(message(body), last=NOT_JSON)
