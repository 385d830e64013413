"""How is the JSON text of a pattern parsed?

An object becomes a `Members` value, which keeps all members in their order, also members with equal keys.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from poller.core.filtering.invalid import InvalidPattern, Place

NUMBERS: tuple[type, ...] = (int, float)
KINDS: tuple[type, ...] = (str, *NUMBERS, bool, type(None))
"""The types of JSON values other than objects and arrays. Only the exact type counts: `True` is not an int here."""


class Members(tuple[tuple[str, Any], ...]):
    """A JSON object of a pattern: its keys and values, in their order."""

    __slots__ = ()


def read_notation(text: str) -> tuple[Any, list[int]]:
    """Return the parsed JSON, in which objects are `Members`, and a list of its integers. Raises InvalidPattern."""
    integers: list[int] = []

    def parse_integer(digits: str) -> int:
        integers.append(int(digits))
        return integers[-1]

    decoder = json.JSONDecoder(
        object_pairs_hook=Members, parse_int=parse_integer, parse_float=_finite, parse_constant=_refuse_constant
    )
    try:
        root = decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise InvalidPattern(f"The pattern is not valid JSON: {error}") from error
    return root, integers


def only_member(expression: Members, place: Place) -> tuple[str, Any]:
    if len(expression) != 1:
        raise InvalidPattern("Only one key allowed in match expression", place)
    return expression[0]


def text_of(operand: Any, place: Place) -> str:
    if type(operand) is not str:
        raise InvalidPattern(f"{place[-1]} match pattern must be a string", place)
    return operand


def is_number(value: object) -> bool:
    return type(value) in NUMBERS


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is out of range")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
