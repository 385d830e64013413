"""What does a response mean for the records of the batch?

`interpret` turns a response into one of the outcomes of `model/outcome.py`.
If an event is too large, the outcome is Oversized for several records (smaller events can hold them), and Failed for a
single record.
Without `ReportBatchItemFailures`, any answer of the function means success, and its body is not read.
With it, the body should be `{"batchItemFailures": [{"itemIdentifier": "<id>"}, ...]}`. It means:

    succeeded      no body, null, {}, [], "", an object without batchItemFailures, batchItemFailures null or []
    lost           no body, and the answer ended only because the connection ended: the body may be lost
    partly failed  batchItemFailures is a list, and every item names a record of this batch
    failed         everything else: no JSON, another scalar or list, batchItemFailures that is not a list,
                   an item without itemIdentifier, an identifier that is empty, null, no string, or of no record here

If the mapping has `strict_response`, an object that has keys, but no batchItemFailures, means failed, too.

We once saw AWS accept the item `{}` as success, against its own documentation. Here the batch fails, so that no record
is lost.
Source: AWS Lambda Developer Guide, "Handling errors for an SQS event source in Lambda" and "Configuring partial batch
response with Kinesis Data Streams and Lambda".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeGuard, assert_never

from poller.core.envelope import encode
from poller.core.json_text import NotJson, parsed
from poller.model.invocation import Answered, FunctionError, LostAnswer, Response, Throttled, TooLarge, Unreachable
from poller.model.outcome import Failed, Outcome, Oversized, PartlyFailed, Postponed, Succeeded

SUCCEEDED = Succeeded()

GATEWAY_ERRORS = frozenset({"HTTP.502", "HTTP.504"})
"""The errors of a gateway that got no usable answer from the service behind it (RFC 9110).

The service may still be running.
"""

EMPTY_AND_UNFINISHED = "the connection ended before a body, and no header says that the answer has none"

INVALID_RESPONSE = "InvalidResponse"
"""The reason of a failure if the function's answer has a wrong format."""

_INIT_ERROR_TYPES = frozenset(
    {
        "Runtime.HandlerNotFound",
        "Runtime.ImportModuleError",
        "Runtime.InvalidEntrypoint",
        "Runtime.MalformedHandlerName",
        "Runtime.UserCodeSyntaxError",
    }
)
"""The error types of Lambda's runtimes for a handler that cannot be loaded."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9:/._-]{1,128}")
"""The form of identifiers that an error message may show: message ids, sequence numbers, ARNs."""

ITEM_FAILURES = "batchItemFailures"

_NAMED_FAILURES = re.compile(rb'"(batch[ _-]?items?[ _-]?failures?)"\s*:\s*\[\s*[^\]\s]', re.IGNORECASE)
"""Finds a list with items under `batchItemFailures`, or under a similar key that is probably misspelt."""

SEARCHED_BYTES = 4096
"""The bytes at the beginning of an answer that are searched for such a list. They bound the cost of a long answer."""

_PLAIN_SUCCESSES = frozenset(
    {b"", b"null", b"{}", b"[]", b'""', b'{"batchItemFailures":[]}', b'{"batchItemFailures": []}'}
)


def interpret(
    response: Response,
    *,
    identifiers: Iterable[str],
    reports_item_failures: bool,
    is_strict: bool = False,
    event: bytes,
) -> Outcome:
    """Return the outcome of a response for the batch whose records have these identifiers.

    `identifiers` may be a generator, because most responses do not need them. `event` is the event that was sent.
    `is_strict` is the mapping's `strict_response`; it has no effect without `reports_item_failures`.
    """
    match response:
        case Answered(payload=payload, is_whole=is_whole):
            if reports_item_failures and not is_whole:
                return Failed("LostAnswer", EMPTY_AND_UNFINISHED, may_still_run=True)
            if not reports_item_failures or payload in _PLAIN_SUCCESSES:
                return SUCCEEDED
            return _item_failures(payload, identifiers, event, is_strict=is_strict)
        case FunctionError(error_type=error_type, message=message):
            return Failed(error_type, message, may_still_run=error_type in GATEWAY_ERRORS)
        case LostAnswer(reason=reason):
            return Failed("LostAnswer", reason, may_still_run=True)
        case Throttled(reason=reason, retry_after=retry_after, detail=detail):
            return Postponed(reason, retry_after, True, detail)
        case Unreachable(reason=reason, detail=detail):
            return Postponed(reason, None, False, detail)
        case TooLarge(error_type=error_type, message=message):
            return Oversized(error_type) if len(list(identifiers)) > 1 else Failed(error_type, message)
    assert_never(response)


def cannot_start(response: Response) -> TypeGuard[FunctionError]:
    """Return whether the function failed before its handler could run. Every other batch would then fail, too."""
    return isinstance(response, FunctionError) and (
        response.is_init_failure or response.error_type in _INIT_ERROR_TYPES
    )


def unheeded_failures(response: Response, *, reports_item_failures: bool) -> str | None:
    """Return a warning if the answer names failed records and all records count as done; otherwise None.

    All records count as done, as on AWS, if the mapping has no `ReportBatchItemFailures`, or if the answer's key is
    misspelt.
    """
    if not isinstance(response, Answered):
        return None
    keys = {found[1].decode() for found in _NAMED_FAILURES.finditer(response.payload, 0, SEARCHED_BYTES)}
    if not keys or (reports_item_failures and ITEM_FAILURES in keys):
        return None
    key = min(keys - {ITEM_FAILURES}, default=ITEM_FAILURES)
    advice = [] if key == ITEM_FAILURES else [f"the key must be {ITEM_FAILURES}"]
    if not reports_item_failures:
        advice.append('the mapping needs function_response_types = ["ReportBatchItemFailures"]')
    return f"the answer names failed records in {key}, and they count as done: {' and '.join(advice)}"


def from_the_first(outcome: PartlyFailed, identifiers: Sequence[str]) -> PartlyFailed:
    """Return the outcome for an ordered batch: the first failed record and all records after it have failed.

    `identifiers` has the identifiers of the whole batch, in order.
    """
    first = next(index for index, each in enumerate(identifiers) if each in outcome.failed)
    return PartlyFailed(frozenset(identifiers[first:]))


def _item_failures(payload: bytes, identifiers: Iterable[str], event: bytes, *, is_strict: bool) -> Outcome:
    try:
        body = parsed(payload)
    except NotJson:
        return _invalid("the response is not JSON")
    if body is None or body == "" or body == []:
        return SUCCEEDED
    if not isinstance(body, dict):
        return _invalid(f"the response is {_kind(body)}, not an object")
    if is_strict and body and ITEM_FAILURES not in body:
        return _invalid(f"the response has no {ITEM_FAILURES}, which strict_response requires")
    items = body.get(ITEM_FAILURES)
    if items is None or items == []:
        return SUCCEEDED
    if not isinstance(items, list):
        return _invalid(f"batchItemFailures is {_kind(items)}, not a list")
    return _named(items, frozenset(identifiers), event)


def _named(items: list[Any], identifiers: Collection[str], event: bytes) -> Outcome:
    failed = set()
    for item in items:
        if not isinstance(item, dict) or "itemIdentifier" not in item:
            return _invalid("an item of batchItemFailures has no itemIdentifier")
        identifier = item["itemIdentifier"]
        if not isinstance(identifier, str) or not identifier:
            return _invalid("an itemIdentifier is empty or not a string")
        if identifier not in identifiers:
            return _invalid(_names_no_record(identifier, event))
        failed.add(identifier)
    return PartlyFailed(frozenset(failed))


def _names_no_record(identifier: str, event: bytes) -> str:
    """Return the error's text for an identifier that no record of the batch has.

    The text shows the identifier only if the identifier cannot be a part of a record's body.
    """
    if encode(identifier)[1:-1] in event:
        return "an itemIdentifier is a part of the event, but not the identifier of one of its records"
    shown = f"the itemIdentifier {identifier}" if _IDENTIFIER.fullmatch(identifier) else "an itemIdentifier"
    return f"{shown} names no record of the batch"


def _invalid(detail: str) -> Failed:
    return Failed(INVALID_RESPONSE, detail)


def _kind(value: object) -> str:
    return {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}.get(type(value), "a number")
