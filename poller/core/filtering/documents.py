"""What does a record hold under its data key?

`body` of an SQS message is text, `data` of a Kinesis record is base64, `dynamodb` of a stream record is JSON already.
The answer is a dict or a list for JSON, the raw text for an SQS body that is a plain string, and ABSENT for anything
else, which no pattern for the data key matches ("Properly filtering Amazon SQS messages" and its Kinesis and DynamoDB
counterparts have the tables).

Choices on points where these pages are silent:
- Only objects and arrays are JSON; a body such as `123` or `"x"` is a plain string.
- Of members written twice in one object the last counts.
- What is not UTF-8, or nested deeper than the parsers go (1,000 levels or a little more), is not JSON.

orjson decodes.  It is stricter than the grammar in two points (numbers beyond a double, half surrogate pairs), and it
rounds integers beyond 64 bits: a text that it refuses, and every text if a pattern holds such an integer, goes through
the standard library's parser.
"""

from __future__ import annotations

import json
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn

import orjson

DataKey = Literal["body", "data", "dynamodb"]
Document = Any
"""A dict or a list (JSON), a str (an SQS body that is a plain string), or ABSENT."""

_SPACE = " \t\r\n"
_MAX_DIGITS = 4_000
"""Digits of an integer that Python converts without complaint (its own limit is 4,300)."""


class Absent:
    """The type of ABSENT: what a record does not have."""

    __slots__ = ()


ABSENT = Absent()


def document_reader(data_key: DataKey, *, exact_integers: bool) -> Callable[[Mapping[str, Any]], Document]:
    """A function from an event-shaped record to its document; it never raises.

    With `exact_integers`, integers of any length keep their value, at about five times the cost of decoding.
    """
    decode = _decode_exactly if exact_integers else _decode

    def read_body(record: Mapping[str, Any]) -> Document:
        body = record.get("body", ABSENT)
        if type(body) is not str:
            return ABSENT
        document = decode(body)
        return body if document is ABSENT else document

    def read_data(record: Mapping[str, Any]) -> Document:
        try:
            return decode(str(a2b_base64(record["kinesis"]["data"]), "utf-8"))
        except (ValueError, TypeError, KeyError):
            return ABSENT

    def read_dynamodb(record: Mapping[str, Any]) -> Document:
        image = record.get("dynamodb", ABSENT)
        return image if type(image) is dict else ABSENT

    return {"body": read_body, "data": read_data, "dynamodb": read_dynamodb}[data_key]


def _decode(text: str) -> Document:
    """The object or array that the text is, else ABSENT."""
    if not text.lstrip(_SPACE).startswith(("{", "[")):
        return ABSENT
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _decode_exactly(text)


def _decode_exactly(text: str) -> Document:
    if not text.lstrip(_SPACE).startswith(("{", "[")):
        return ABSENT
    try:
        return json.loads(text, parse_int=_parse_integer, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return ABSENT


def _parse_integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _MAX_DIGITS else float(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
