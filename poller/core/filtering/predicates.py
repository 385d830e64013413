"""How are several tests of one value combined into one test?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Predicate = Callable[[Any], bool]

Tests = Mapping[type, Predicate]
"""The test for each type of value. A type without a test is not accepted."""


def always(_: object) -> bool:
    return True


def never(_: object) -> bool:
    return False


def constant(answer: bool) -> Predicate:
    return always if answer else never


def negation(predicate: Predicate) -> Predicate:
    return lambda value: not predicate(value)


def any_of(predicates: list[Predicate]) -> Predicate:
    if not predicates:
        return never
    if len(predicates) == 1:
        return predicates[0]

    def accepts(value: Any) -> bool:
        for predicate in predicates:  # noqa: SIM110  a generator would cost more than the predicates
            if predicate(value):
                return True
        return False

    return accepts
