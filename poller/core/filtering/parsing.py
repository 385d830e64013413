"""What does the text of a pattern say?

A pattern is written out as its rules, of which a record must satisfy one: each rule is a set of leaves by path.
`{"a": {"b": [1]}, "$or": [{"c": [2]}, {"d": [3]}]}` becomes `{a.b: 1, c: 2}` and `{a.b: 1, d: 3}`.

- A dot in a key is the same as nesting: `{"a.b": [1]}` and `{"a": {"b": [1]}}` are one path.
- Members written twice are merged by path, as in the AND example of "Using event filtering with a DynamoDB event
  source"; of two leaves at one path the last written counts, which holds for a `$or` and its siblings too.
- `$or` stands at any level, holds two objects or more, and multiplies; inside, the names of operators are no field
  names.  Anything else under `$or` is refused, not read as a field of that name.
- Like EventBridge, more than 1,000 combinations of `$or` are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from poller.core.filtering.invalid import InvalidPattern, Place
from poller.core.filtering.leaves import Leaf, compile_leaf
from poller.core.filtering.notation import Members, read_notation
from poller.core.filtering.operators import OPERATOR_WORDS

Path = tuple[str, ...]
Rule = dict[Path, Leaf]

MAX_COMBINATIONS = 1_000
"""Rules that one pattern may stand for; the limit of EventBridge."""

MAX_DEPTH = 100
"""Levels of a pattern; our own, thrice the nesting that DynamoDB allows an item, so that no match runs out of stack."""

LONG_INTEGER = 2**63
"""An integer from here on (or its negative) does not survive every JSON parser; see `documents`."""

RESERVED_INSIDE_OR = OPERATOR_WORDS | {
    *("regex", "not-wildcard", "not-equals-ignore-case", "ip-address-in-range", "ip-address-not-in-range"),
    *("date-after", "date-on-or-after", "date-before", "date-on-or-before", "in-date-range"),
}
"""The operators, and words that EventBridge keeps for operators to come."""


@dataclass(frozen=True, slots=True)
class Pattern:
    rules: list[Rule]
    has_long_integer: bool


def parse_pattern(text: str) -> Pattern:
    """Raises InvalidPattern for whatever is not a pattern."""
    root, integers = read_notation(text)
    if type(root) is not Members:
        raise InvalidPattern("Filter is not an object")
    rules = _write_out(root, [{}], (), (), is_inside_or=False)
    return Pattern(rules, any(abs(integer) >= LONG_INTEGER for integer in integers))


def _write_out(members: Members, rules: list[Rule], path: Path, place: Place, *, is_inside_or: bool) -> list[Rule]:
    """Adds what the object at `path` asks for to every rule written so far."""
    if not members:
        raise InvalidPattern("Empty objects are not allowed", place)
    for key, value in members:
        spot, steps = (*place, key), (*path, *key.split("."))
        if max(len(steps), len(spot)) > MAX_DEPTH:
            raise InvalidPattern(f"The pattern is nested deeper than {MAX_DEPTH} levels", place[:3])
        if key == "$or":
            rules = _write_out_or(value, rules, path, spot)
            continue
        if is_inside_or and key in RESERVED_INSIDE_OR:
            raise InvalidPattern(f'"{key}" is a reserved field name which cannot be used inside $or', place)
        if type(value) is Members:
            rules = _write_out(value, rules, steps, spot, is_inside_or=is_inside_or)
        elif type(value) is list:
            leaf = compile_leaf(value, spot)
            rules = [{**rule, steps: leaf} for rule in rules]
        else:
            raise InvalidPattern(f'"{key}" must be an object or an array', spot)
    return rules


def _write_out_or(choices: Any, rules: list[Rule], path: Path, place: Place) -> list[Rule]:
    if type(choices) is not list or not all(type(choice) is Members for choice in choices):
        raise InvalidPattern("$or takes an array of objects", place)
    if len(choices) < 2:
        raise InvalidPattern("There must be at least 2 objects in $or", place)
    combined: list[Rule] = []
    for number, choice in enumerate(choices):
        combined += _write_out(choice, rules, path, (*place, f"[{number}]"), is_inside_or=True)
        if len(combined) > MAX_COMBINATIONS:
            raise InvalidPattern(f"$or stands for more than {MAX_COMBINATIONS} combinations", place)
    return combined
