"""Which values does a leaf of a pattern accept?

A leaf is an array of alternatives. A string, a number, true, false or null accepts an equal value. An object is an
operator, such as `{"prefix": "us-"}`.
The alternatives are combined to one test for each type of value, so a match looks up one test. All plain strings of a
leaf are one set.

Numbers are equal if their values are equal: 300, 300.0 and 3.0e2 match each other. One AWS page says that numbers are
compared as text, but AWS's matcher accepts both, and so more records match.
Integers of any length are compared exactly, so that long ids do not match their neighbours. A string is compared as
text even if it is an IP address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from poller.core.filtering.invalid import InvalidPattern, Place
from poller.core.filtering.notation import KINDS, NUMBERS, Members
from poller.core.filtering.operators import compile_operator, is_absence
from poller.core.filtering.predicates import Predicate, Tests, any_of


@dataclass(frozen=True, slots=True)
class Leaf:
    """`tests` has a predicate for every type of value. `accepts_absence` is true if the field may be missing.

    `alternatives` are the elements of the leaf's array. Objects are `Members`.
    """

    tests: Tests
    accepts_absence: bool
    alternatives: tuple[Any, ...]


def compile_leaf(alternatives: list[Any], place: Place) -> Leaf:
    if not alternatives:
        raise InvalidPattern("Empty arrays are not allowed", place)
    predicates: dict[type, list[Predicate]] = {kind: [] for kind in KINDS}
    exact: dict[type, set[Any]] = {kind: set() for kind in KINDS}
    accepts_absence = False
    for number, alternative in enumerate(alternatives):
        spot = (*place, f"[{number}]")
        if type(alternative) is Members:
            for kind, predicate in compile_operator(alternative, spot).items():
                predicates[kind].append(predicate)
            accepts_absence = accepts_absence or is_absence(alternative)
        else:
            for kind in _kinds_equal_to(alternative, spot):
                exact[kind].add(alternative)
    for kind, values in exact.items():
        if values:
            predicates[kind].insert(0, frozenset(values).__contains__)
    return Leaf({kind: any_of(predicates[kind]) for kind in KINDS}, accepts_absence, tuple(alternatives))


def _kinds_equal_to(value: Any, place: Place) -> tuple[type, ...]:
    """Return the types of values that can be equal to this value: a number equals an int or a float."""
    kind = type(value)
    if kind not in KINDS:
        raise InvalidPattern("Match value must be String, number, true, false, or null", place)
    return NUMBERS if kind in NUMBERS else (kind,)
