"""Is a payload JSON? A payload is checked once; the function then receives the same bytes."""

from __future__ import annotations

import json
from typing import Any

import orjson


class NotJson(ValueError):
    """The payload is not JSON in UTF-8, or it is nested too deeply."""


def parsed(payload: bytes) -> Any:
    """Return the value that the payload describes. Raises NotJson."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        pass
    try:  # orjson rejects half of a surrogate pair, and JSON allows it
        return json.loads(payload.decode(), parse_constant=_no_constant)
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except ValueError as error:
        raise NotJson("not JSON") from error


def dumped(document: Any) -> bytes:
    """Return a document as JSON text. The document may contain values that `parsed` has returned.

    Raises NotJson if the document is nested too deeply.
    """
    try:
        return orjson.dumps(document)
    except TypeError:  # it has half of a surrogate pair, or is nested too deeply for orjson
        pass
    try:
        return json.dumps(document, separators=(",", ":")).encode()
    except RecursionError:
        raise NotJson("nested too deeply") from None


def as_json(payload: bytes) -> bytes:
    """Return the payload if it is JSON, else a JSON string with its text. Bytes that are not UTF-8 are replaced."""
    try:
        parsed(payload)
    except NotJson:
        return orjson.dumps(payload.decode(errors="replace"))
    return payload


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
