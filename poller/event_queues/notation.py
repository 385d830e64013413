"""How are the rarely used parts of an event written as JSON?

    {}                                                      most events
    {"attempts": 1, "last": {"status_code": 200, …}}        an event that waits for a retry, on SQS
    {"ending": {"condition": "Success", "last": {"payload": "base64", …}, "deliveries": ["on_success"], …}}

A member with its default value is left out. A payload is written in base64, so that its bytes do not change.
Anyone who may send to an SQS queue can write such JSON. So the type of every value is checked.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, get_args

import orjson

from poller.model.event import Condition, Delivery, Ending, Event, LastAttempt

Json = dict[str, Any]

TEXTS = ("invoked_arn", "trace", "traceparent")


def rest_of(event: Event) -> str:
    """Return a JSON object with the fields of the event that have no column of their own in the file."""
    rest: Json = {name: value for name in TEXTS if (value := getattr(event, name))}
    if event.last is not None:
        rest["last"] = last_attempt(event.last)
    if event.ending is not None:
        rest["ending"] = _ending(event.ending)
    return orjson.dumps(rest).decode()


def parse_rest(text: str) -> Json:
    """Return the fields of an event by name. Raises ValueError for a text that poller cannot have written."""
    rest = _object(orjson.loads(text))
    parts: Json = {name: _text(rest[name]) for name in TEXTS if name in rest}
    if "last" in rest:
        parts["last"] = parse_last_attempt(rest["last"])
    if "ending" in rest:
        parts["ending"] = _parse_ending(_object(rest["ending"]))
    return parts


def last_attempt(last: LastAttempt) -> Json:
    document: Json = {"status_code": last.status_code}
    for name in ("executed_version", "function_error", "error_message"):
        if value := getattr(last, name):
            document[name] = value
    if last.payload is not None:
        document["payload"] = b64encode(last.payload).decode()
    return document


def parse_last_attempt(value: object) -> LastAttempt:
    """Parse the JSON of a last attempt that poller has written. Raises ValueError for any other value."""
    document = _object(value)
    payload = document.get("payload")
    return LastAttempt(
        status_code=whole_number(document.get("status_code")),
        executed_version=_text_if_any(document, "executed_version"),
        function_error=_text_if_any(document, "function_error"),
        payload=None if payload is None else b64decode(_text(payload), validate=True),
        error_message=_text_if_any(document, "error_message") or "",
    )


def whole_number(value: object) -> int:
    """Return the value if it can be a count. Raises ValueError otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise ValueError("a value is not a count")
    return value


def _ending(ending: Ending) -> Json:
    document: Json = {"condition": ending.condition, "at": ending.at, "deliveries": ending.deliveries}
    if ending.last is not None:
        document["last"] = last_attempt(ending.last)
    if ending.rejections:
        document["rejections"] = ending.rejections
    if ending.rejected_since is not None:
        document["rejected_since"] = ending.rejected_since
    return document


def _parse_ending(document: Json) -> Ending:
    since = document.get("rejected_since")
    return Ending(
        condition=_one_of(get_args(Condition), document.get("condition")),
        at=_time(document.get("at")),
        last=parse_last_attempt(document["last"]) if "last" in document else None,
        deliveries=tuple(_one_of(get_args(Delivery), each) for each in _list(document.get("deliveries"))),
        rejections=whole_number(document.get("rejections", 0)),
        rejected_since=None if since is None else _time(since),
    )


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        raise ValueError("a value is not an object")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a value is not a list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a value is not text")
    return value


def _text_if_any(document: Mapping[str, Any], name: str) -> str | None:
    return _text(document[name]) if name in document else None


def _time(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError("a value is not a time")
    return value


def _one_of(allowed: tuple[Any, ...], value: object) -> Any:
    if value not in allowed:
        raise ValueError("a value is not one of the known words")
    return value
