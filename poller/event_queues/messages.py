"""How is an event written as an SQS message? The payload is the body; attributes have the rest.

    body              the payload
    poller.event      the mark of poller's messages: JSON with the request id, the times, attempts and last answer
    traceparent       the W3C header of that name
    AWSTraceHeader    the header X-Amzn-Trace-Id; AWS's services use the same system attribute, and a record that comes
                      through SNS has it as a message attribute

A message without the mark comes from a sender: S3, SNS or EventBridge.
Anyone who may send to the queue can write attributes. So they are limited and checked, and a message with an unreadable
mark counts as a message from a sender. A mark cannot make an event younger than its message, and cannot let it wait
for more than twelve hours.

Source: Amazon SQS API Reference, "SendMessage", "MessageAttributeValue".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any, NamedTuple

import orjson

from poller.core.events.trace import TRACE_HEADER, TRACEPARENT, usable
from poller.core.message_text import json_text
from poller.errors import Rejected
from poller.event_queues.notation import last_attempt, parse_last_attempt, whole_number
from poller.model.event import Event
from poller.model.ids import FunctionName, RequestId
from poller.model.message import Message

MARK = "poller.event"

LONGEST_DELAY_IN_SECONDS = 900
"""The longest DelaySeconds of a message. If an event has to wait longer, its message is received and hidden again."""

LONGEST_WAIT_IN_SECONDS = 43_200
"""The longest time for which SQS hides a message, and the longest wait that a mark may ask for."""

MAXIMUM_MARK_CHARACTERS = 8192
MAXIMUM_ERROR_CHARACTERS = 1024
"""Longer marks are not read, and longer errors are cut. The second limit is that of a dead-letter message."""

REQUEST_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


class Entry(NamedTuple):
    """The parameters of SendMessage for one event, and the size of the message as SQS counts it."""

    parameters: dict[str, Any]
    size_in_bytes: int


def entry_of(event: Event, *, now: float) -> Entry:
    """Return the message of an event that has not ended. Raises Rejected if the payload is not UTF-8."""
    assert event.ending is None, "an ended event is not put into SQS"
    assert not event.stuck, "a stuck event is not put into SQS"
    try:
        body = json_text(event.payload.decode())
    except UnicodeDecodeError as error:
        raise Rejected("the payload is not UTF-8", code="InvalidMessageContents") from error
    attributes = {MARK: _mark(event)}
    if event.traceparent:
        attributes[TRACEPARENT] = event.traceparent
    parameters: dict[str, Any] = {
        "MessageBody": body,
        "MessageAttributes": {name: _text_attribute(value) for name, value in attributes.items()},
    }
    if event.trace:  # SQS does not count the size of this attribute
        parameters["MessageSystemAttributes"] = {TRACE_HEADER: _text_attribute(event.trace)}
    delay_in_seconds = ceil(event.due_at - now)
    if delay_in_seconds > 0:
        parameters["DelaySeconds"] = min(delay_in_seconds, LONGEST_DELAY_IN_SECONDS)
    size = len(body.encode()) + sum(len(f"{name}String{value}".encode()) for name, value in attributes.items())
    return Entry(parameters, size)


def event_of(message: Message, function: FunctionName) -> tuple[Event, bool]:
    """Return the event, and True if poller wrote the message. The message must have no defect.

    If a sender wrote the message, the body is the event's payload, and the message's id is its request id.
    """
    record = message.record
    system, own = record["attributes"], record["messageAttributes"]
    plain = Event(
        request_id=RequestId(message.message_id),
        function=function,
        payload=record["body"].encode("utf-8", "surrogatepass"),
        accepted_at=message.sent_at,
        due_at=message.sent_at,
        trace=_usable(own, TRACE_HEADER) or usable(system.get(TRACE_HEADER)),
        traceparent=_usable(own, TRACEPARENT),
        postponements=_receives_before(system),
    )
    mark = own.get(MARK, {}).get("stringValue")
    if mark is None or len(mark) > MAXIMUM_MARK_CHARACTERS:
        return plain, False
    try:
        return _marked(plain, mark), True
    except (ValueError, RecursionError):
        return plain, False


def _mark(event: Event) -> str:
    last = event.last
    document: dict[str, Any] = {
        "request_id": event.request_id,
        "accepted_at": round(event.accepted_at, 6),
        "due_at": round(event.due_at, 6),
    }
    for name in ("invoked_arn", "attempts", "postponements"):
        if value := getattr(event, name):
            document[name] = value
    if last is not None:
        message = last.error_message[:MAXIMUM_ERROR_CHARACTERS]
        document["last"] = last_attempt(replace(last, payload=None, error_message=message))
    return json_text(orjson.dumps(document).decode())


def _marked(plain: Event, mark: str) -> Event:
    """Return the event with the values of its mark. Raises ValueError for a mark that poller cannot have written."""
    document = orjson.loads(mark)
    if not isinstance(document, dict):
        raise ValueError("the mark is not an object")
    request_id, invoked_arn, last = (document.get(name) for name in ("request_id", "invoked_arn", "last"))
    if not isinstance(request_id, str) or not REQUEST_ID.fullmatch(request_id):
        raise ValueError("the request id has other characters than ours")
    if not (invoked_arn is None or (isinstance(invoked_arn, str) and usable(invoked_arn))):
        raise ValueError("the ARN is not an ARN")
    sent_at = plain.accepted_at
    return replace(
        plain,
        request_id=RequestId(request_id),
        accepted_at=min(_time(document, "accepted_at"), sent_at),
        due_at=min(_time(document, "due_at"), sent_at + LONGEST_WAIT_IN_SECONDS),
        invoked_arn=invoked_arn,
        attempts=whole_number(document.get("attempts", 0)),
        postponements=whole_number(document.get("postponements", 0)) + plain.postponements,
        last=None if last is None else parse_last_attempt(last),
    )


def _time(document: Mapping[str, Any], name: str) -> float:
    value = document.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e12:
        raise ValueError("a value is not a time")
    return value


def _receives_before(system: Mapping[str, str]) -> int:
    """Return how often SQS has returned the message before, because of a throttle or a lost claim."""
    count = system.get("ApproximateReceiveCount", "1")
    return max(0, int(count) - 1) if re.fullmatch(r"[0-9]{1,9}", count) else 0


def _usable(attributes: Mapping[str, Any], name: str) -> str:
    return usable(attributes.get(name, {}).get("stringValue"))


def _text_attribute(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}
