"""Which rules does the text of a pattern stand for?

A pattern stands for one or more rules, and a record must match one of them. A rule has one leaf for each path.
`{"a": {"b": [1]}, "$or": [{"c": [2]}, {"d": [3]}]}` becomes `{a.b: 1, c: 2}` and `{a.b: 1, d: 3}`.

- A dot in a key means nesting: `{"a.b": [1]}` and `{"a": {"b": [1]}}` have the same path.
- Members with equal keys are merged by path, as in the AND example of "Using event filtering with a DynamoDB event
  source". If two leaves have the same path, the last one in the text counts, also between a `$or` and its siblings.
- `$or` may be at any level. Its value is an array of at least two objects, and anything else is invalid. Each object
  multiplies the rules. Inside `$or`, the names of operators cannot be field names.
- A pattern with more than 1,000 combinations of `$or` is invalid, as in EventBridge.
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
"""The largest number of rules that a pattern may stand for; the limit of EventBridge."""

MAX_DEPTH = 100
"""The deepest nesting of a pattern. The number is ours: three times DynamoDB's limit, and within Python's stack."""

LONG_INTEGER = 2**63
"""An integer whose absolute value is at least this may be rounded by orjson (`documents`)."""

RESERVED_INSIDE_OR = OPERATOR_WORDS | {
    *("regex", "not-wildcard", "not-equals-ignore-case", "ip-address-in-range", "ip-address-not-in-range"),
    *("date-after", "date-on-or-after", "date-before", "date-on-or-before", "in-date-range"),
}
"""The names of operators, and names that EventBridge reserves for future operators."""


@dataclass(frozen=True, slots=True)
class Pattern:
    rules: list[Rule]
    has_long_integer: bool


def parse_pattern(text: str) -> Pattern:
    """Return the rules of a pattern. Raises InvalidPattern if the text is not a valid pattern."""
    root, integers = read_notation(text)
    if type(root) is not Members:
        raise InvalidPattern("Filter is not an object")
    rules = _write_out(root, [{}], (), (), is_inside_or=False)
    return Pattern(rules, any(abs(integer) >= LONG_INTEGER for integer in integers))


def _write_out(members: Members, rules: list[Rule], path: Path, place: Place, *, is_inside_or: bool) -> list[Rule]:
    """Return the rules with the leaves of the object at `path` added to each of them."""
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
