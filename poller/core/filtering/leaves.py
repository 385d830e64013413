"""Which values does a leaf of a pattern accept?

A leaf is an array of alternatives: strings, numbers, true, false and null mean themselves, an object is an operator.
The alternatives are merged to one test for each kind of JSON scalar, so that a match costs one look at the value's
type; all plain strings of a leaf are one set.

Numbers are the same when their values are: 300, 300.0 and 3.0e2 match each other.  One AWS page says that numbers are
compared as text, but its matcher takes either, and this is the wider reading.  Integers are compared exactly, however
long, so that ids which a double would blur stay apart.  A string is compared as text even where it is an IP address.
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
    """`tests` has a predicate for every kind of scalar; `accepts_absence` is whether the field may be missing."""

    tests: Tests
    accepts_absence: bool


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
    return Leaf({kind: any_of(predicates[kind]) for kind in KINDS}, accepts_absence)


def _kinds_equal_to(value: Any, place: Place) -> tuple[type, ...]:
    """The kinds of scalar among which a value equal to this one may be found."""
    kind = type(value)
    if kind not in KINDS:
        raise InvalidPattern("Match value must be String, number, true, false, or null", place)
    return NUMBERS if kind in NUMBERS else (kind,)
