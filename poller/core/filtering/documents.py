"""What is the document under a record's data key?

The data key is `body` for SQS (text), `data` for Kinesis (base64) and `dynamodb` for DynamoDB Streams (parsed JSON).
The document is a dict or a list if the data are JSON. It is the text itself for an SQS body that is not JSON.
Otherwise it is ABSENT, which only `{"body": [{"exists": false}]}` matches ("Properly filtering Amazon SQS messages" and
the same pages for Kinesis and DynamoDB have the tables).

AWS's pages say nothing about these points, so poller decides:
- Only objects and arrays count as JSON. A body such as `123` or `"x"` is a plain string.
- If an object has a key twice, the last value counts.
- Data that are not UTF-8, or are nested deeper than the parsers accept (about 1,000 levels), are not JSON.

orjson parses the text. It refuses two kinds of valid JSON (numbers too large for a double, half surrogate pairs) and
rounds integers of more than 64 bits. So the standard library parses every text that orjson refuses, and all texts if a
pattern contains such an integer.
"""

from __future__ import annotations

import json
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn

import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError

from poller.core.envelope import kinesis_data
from poller.model.arn import Arn

DataKey = Literal["body", "data", "dynamodb"]
Document = Any
"""A dict or a list (JSON), a str (an SQS body that is a plain string), or ABSENT."""

_BASE64 = TypeAdapter(bytes, config=ConfigDict(val_json_bytes="base64"))
_SPACE = " \t\r\n"
_MAX_DIGITS = 4_000
"""An integer with this number of digits or more is parsed as a float, because Python refuses more than 4,300 digits."""


class Absent:
    """The type of ABSENT, which stands for a field that a record does not have."""

    __slots__ = ()


ABSENT = Absent()


def data_key_of(source: Arn) -> DataKey:
    """Return the key that has the data in the records of this source."""
    match source.service:
        case "kinesis":
            return "data"
        case "dynamodb":
            return "dynamodb"
        case _:
            return "body"


def has_document(record: Mapping[str, Any], data_key: DataKey) -> bool:
    """Return whether the record's data are an object or an array, in which a pattern can find keys."""
    return type(document_reader(data_key, exact_integers=False)(record)) in (dict, list)


def document_reader(data_key: DataKey, *, exact_integers: bool) -> Callable[[Mapping[str, Any]], Document]:
    """Return a function that takes a record in the event's shape and returns its document. The function never raises.

    With `exact_integers`, long integers keep their exact value, and parsing takes about five times as long.
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


def encoded_data_reader(*, exact_integers: bool) -> Callable[[bytes], Document]:
    """Return a function that takes an encoded Kinesis record and returns its document. The function never raises.

    It needs half the time that `document_reader` and the parsing of the record need.
    """
    decode = _decode_exactly if exact_integers else _decode

    def read_encoded(encoded: bytes) -> Document:
        try:
            return decode(str(_from_base64(kinesis_data(encoded)), "utf-8"))
        except ValueError:
            return ABSENT

    return read_encoded


def _from_base64(text: bytes) -> bytes:
    """Decode a JSON string in base64. Python's own decoder takes two to four times as long, but skips line breaks."""
    try:
        return _BASE64.validate_json(text)
    except ValidationError:
        return a2b_base64(orjson.loads(text))


def _decode(text: str) -> Document:
    """Return the JSON object or array in the text, or ABSENT if the text is anything else."""
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
