"""Which event does a message from S3, SNS or EventBridge become? The event that Lambda would pass to the function.

S3, SNS and EventBridge can send messages to the SQS event queue of a function. poller marks its own messages, and this
module gets only messages without the mark. So a client's payload that looks like an SNS message does not change.

    S3 notification        the body, as it is
    S3's test message      no event: S3 sends it when a person configures the notification
    SNS message            {"Records": [{"EventSource": "aws:sns", …, "Sns": {…}}]}
    SNS, raw delivery      the body, which is the message that was published
    EventBridge            the body, as it is
    any other JSON         the body, as it is
    not JSON               an event that ends at once; the function is not invoked

Source: AWS Lambda Developer Guide, "Process Amazon S3 event notifications" and "Invoking Lambda functions with Amazon
SNS notifications"; Amazon SNS Developer Guide, "Parsing message formats".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from poller.core.events.attempts import INVALID_REQUEST
from poller.core.events.trace import TRACE_HEADER, TRACEPARENT, usable
from poller.core.json_text import NotJson, dumped, parsed
from poller.model.event import Event, LastAttempt

NOT_JSON = LastAttempt(status_code=INVALID_REQUEST, error_message="Could not parse request body into json.")
"""`Event.last` of an event whose payload is not JSON. `attempts.before_attempt` ends such an event."""

_TEST_KEYS = {"Service": "Amazon S3", "Event": "s3:TestEvent"}

_SNS_KEYS = ("MessageId", "TopicArn", "Message", "Timestamp", "Signature", "SignatureVersion")
"""The members of every SNS message, besides `Type`."""


def of_sender(message: Event) -> Event | None:
    """Return the event for a sender's message, or None for S3's test message.

    The payload of `message` is the body of the sender's message.
    """
    try:
        document = parsed(message.payload)
        if not isinstance(document, dict):
            return message
        if _TEST_KEYS.items() <= {key: document.get(key) for key in _TEST_KEYS}.items():
            return None
        if document.get("Type") == "Notification" and all(isinstance(document.get(key), str) for key in _SNS_KEYS):
            return _of_sns(message, document)
    except NotJson:
        return replace(message, last=NOT_JSON)
    return message


def _of_sns(message: Event, document: dict[str, Any]) -> Event:
    """Return the event of an SNS message. If poller published the message, its attributes have the trace."""
    return replace(
        message,
        payload=dumped({"Records": [_sns_record(document)]}),
        trace=_attribute(document, TRACE_HEADER) or message.trace,
        traceparent=_attribute(document, TRACEPARENT) or message.traceparent,
    )


def _attribute(document: dict[str, Any], name: str) -> str:
    """Return a trace header among the message attributes of an SNS message; empty if it is missing or unusable."""
    attributes = document.get("MessageAttributes")
    attribute = attributes.get(name) if isinstance(attributes, dict) else None
    return usable(attribute.get("Value")) if isinstance(attribute, dict) else ""


def _sns_record(message: dict[str, Any]) -> dict[str, Any]:
    unsubscribe = message.get("UnsubscribeURL", "")
    return {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": _subscription(unsubscribe) or message["TopicArn"],
        "Sns": {
            "Type": message["Type"],
            "MessageId": message["MessageId"],
            "TopicArn": message["TopicArn"],
            "Subject": message.get("Subject"),
            "Message": message["Message"],
            "Timestamp": message["Timestamp"],
            "SignatureVersion": message["SignatureVersion"],
            "Signature": message["Signature"],
            "SigningCertUrl": message.get("SigningCertURL", ""),
            "UnsubscribeUrl": unsubscribe,
            "MessageAttributes": message.get("MessageAttributes", {}),
        },
    }


def _subscription(unsubscribe_url: object) -> str:
    """Return the ARN of the subscription in the unsubscribe URL; an empty text if the URL has none."""
    try:
        query = parse_qs(urlsplit(unsubscribe_url).query) if isinstance(unsubscribe_url, str) else {}
    except ValueError:
        return ""
    return query.get("SubscriptionArn", [""])[0]
