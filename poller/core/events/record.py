"""What does a destination receive about an ended event? One invocation record, as JSON:

    {"version": "1.0", "timestamp": …,
     "requestContext": {"requestId": …, "functionArn": …, "condition": …, "approximateInvokeCount": …},
     "requestPayload": …, "responseContext": {"statusCode": …, …}, "responsePayload": …}

    requestPayload         the payload of the event; a payload that is not JSON is a JSON string here
    responseContext        absent if no attempt was made
                           only `statusCode` if the function did not run; `functionError` only if the function failed
    responsePayload        the function's answer or error document; absent if the function did not run
    approximateInvokeCount the number of attempts in which the function may have run

If the whole record is too large for a destination, the record is sent without `responsePayload`. If the record is
still too large, it is sent without `requestPayload`, too.

Source: AWS Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations". The order of the members
was seen on AWS.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import orjson

from poller.core.document import Document
from poller.core.envelope import iso_milliseconds
from poller.core.events.dead_letter import attributes_of
from poller.core.events.trace import passed_on
from poller.core.json_text import as_json
from poller.model.arn import Arn, qualified, unqualified
from poller.model.event import Ending, Event, LastAttempt
from poller.model.function import Function


def records_of(event: Event, function: Function) -> Iterator[Document]:
    """Yield the documents for a destination, the whole record first, then the smaller ones.

    The engine sends the first one that the destination does not reject as too large.
    """
    ending = _ending(event)
    context = _response_context(ending.last)
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": iso_milliseconds(ending.at),
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": _function_arn(event, function),
            "condition": ending.condition,
            "approximateInvokeCount": event.attempts,
        },
        "requestPayload": orjson.Fragment(as_json(event.payload)),
        **({"responseContext": context} if context else {}),
    }
    if ending.last is not None and ending.last.payload is not None:
        yield _document(event, function, record | {"responsePayload": orjson.Fragment(ending.last.payload)})
    yield _document(event, function, record)
    del record["requestPayload"]
    yield _document(event, function, record)


def dead_letter_of(event: Event, function: Function) -> Document:
    """Return the document for the dead-letter queue: the event as it was sent."""
    return _whole(event, function, event.payload)._replace(attributes=attributes_of(event))


def _document(event: Event, function: Function, record: dict[str, Any]) -> Document:
    return _whole(event, function, orjson.dumps(record))._replace(traceparent=event.traceparent)


def _whole(event: Event, function: Function, text: bytes) -> Document:
    ending = _ending(event)
    result = "Success" if ending.condition == "Success" else "Failure"
    return Document(
        text=text,
        event=None,
        folder=f"aws/lambda/async/{unqualified(function.arn).resource.removeprefix('function:')}",
        at=ending.at,
        document_id=uuid.uuid5(uuid.NAMESPACE_OID, event.request_id),
        detail_type=f"Lambda Function Invocation Result - {result}",
        function_arn=_function_arn(event, function),
        trace=passed_on(event, function.arn),
    )


def _ending(event: Event) -> Ending:
    assert event.ending is not None, "only an ended event has a record"
    return event.ending


def _response_context(last: LastAttempt | None) -> dict[str, Any]:
    if last is None:
        return {}
    context: dict[str, Any] = {"statusCode": last.status_code}
    if last.executed_version is not None:
        context["executedVersion"] = last.executed_version
    if last.function_error is not None:
        context["functionError"] = last.function_error
    return context


def _function_arn(event: Event, function: Function) -> str:
    """Return the function's ARN with a qualifier: that of the request, else that of the settings' ARN, else `$LATEST`.

    Anyone who may write to the SQS queue can choose the event's `invoked_arn`. So it is ignored if it is the ARN of
    another function.
    """
    try:
        asked_for = Arn.parse(event.invoked_arn or "")
    except ValueError:
        asked_for = function.arn
    return str(qualified(asked_for if unqualified(asked_for) == unqualified(function.arn) else function.arn))
