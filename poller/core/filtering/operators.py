"""Which values does a match expression such as `{"prefix": "us-"}` accept?

An operator is compiled to its tests: one predicate for each type of value that it can accept.
A type without a test is never accepted. So `prefix` never gets a number, and `numeric` never gets a string.

AWS's pages say nothing about these points, so poller decides:
- `anything-but` accepts every present value outside its list, of any type: a list of strings also accepts numbers,
  booleans and null, and a list of numbers also accepts strings.
- `wildcard`, `cidr`, `exactly` and the nested forms of EventBridge's rules are valid.
- "Ignore case" means Unicode case folding.
- `numeric` compares exact values. The result differs from that of doubles only for numbers beyond 2**53.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from poller.core.filtering import texts
from poller.core.filtering.invalid import InvalidPattern, Place
from poller.core.filtering.notation import KINDS, NUMBERS, Members, is_number, only_member
from poller.core.filtering.predicates import Predicate, Tests, always, any_of, negation


def compile_operator(expression: Members, place: Place) -> Tests:
    """Return the tests of a match expression. `exists: false` has no tests, because it accepts no value."""
    name, operand = only_member(expression, place)
    place = (*place, name)
    if name in _ON_TEXTS:
        return {str: _ON_TEXTS[name](operand, place)}
    if name in _ON_VALUES:
        return _ON_VALUES[name](operand, place)
    raise InvalidPattern(f'Unrecognized match type "{name}"', place[:-1])


def is_absence(expression: Members) -> bool:
    """Return whether a valid match expression accepts an absent field."""
    return expression == (("exists", False),)


def _exists(operand: Any, place: Place) -> Tests:
    if type(operand) is not bool:
        raise InvalidPattern("exists must be either true or false", place)
    return dict.fromkeys(KINDS, always) if operand else {}


def _numeric(operand: Any, place: Place) -> Tests:
    """Return the tests of `numeric`: one comparison, or a lower bound followed by an upper bound."""
    if type(operand) is not list:
        raise InvalidPattern("Value of numeric must be an array", place)
    if len(operand) not in (2, 4) or not all(is_number(bound) for bound in operand[1::2]):
        raise InvalidPattern("numeric takes one or two pairs of an operator and a number", place)
    for sign in operand[::2]:
        if type(sign) is not str or sign not in _COMPARISONS:
            raise InvalidPattern(f"Unrecognized numeric range operator {sign!r}", place)
    if len(operand) == 4:
        return dict.fromkeys(NUMBERS, _between(*operand, place=place))
    compare, bound = _COMPARISONS[operand[0]], operand[1]
    return dict.fromkeys(NUMBERS, lambda value: compare(value, bound))


def _between(low_sign: str, low: float, high_sign: str, high: float, *, place: Place) -> Predicate:
    if low_sign not in (">", ">=") or high_sign not in ("<", "<="):
        raise InvalidPattern('A numeric range is written with the lower bound (">", ">=") first, then the upper', place)
    if low >= high:
        raise InvalidPattern("Bottom must be less than top", place)
    above, below = _COMPARISONS[low_sign], _COMPARISONS[high_sign]
    return lambda value: above(value, low) and below(value, high)


def _anything_but(operand: Any, place: Place) -> Tests:
    if type(operand) is Members:
        return _everything_except({str: _refused_texts(operand, place)})
    refused = operand if type(operand) is list else [operand]
    if refused and all(type(value) is str for value in refused):
        return _everything_except({str: frozenset(refused).__contains__})
    if refused and all(is_number(value) for value in refused):
        return _everything_except(dict.fromkeys(NUMBERS, frozenset(refused).__contains__))
    raise InvalidPattern("anything-but takes a string, a number, or a list of only strings or only numbers", place)


def _refused_texts(operand: Members, place: Place) -> Predicate:
    """Return a test that is true for the texts that `anything-but` does not accept.

    `operand` is the object below `anything-but`, such as `{"prefix": …}`. Its operator takes one text or several texts.
    """
    name, refused = only_member(operand, place)
    if name not in ("prefix", "suffix", "equals-ignore-case", "wildcard"):
        raise InvalidPattern(f'Unsupported anything-but pattern "{name}"', place)
    place = (*place, name)
    refused = refused if type(refused) is list else [refused]
    if not refused:
        raise InvalidPattern("Empty arrays are not allowed", place)
    if name in ("prefix", "suffix") and "" in refused:
        raise InvalidPattern("Null prefix/suffix not allowed", place)
    if not all(type(text) is str for text in refused):
        raise InvalidPattern(f"{name} match pattern must be a string", place)
    return any_of([_ON_TEXTS[name](text, place) for text in refused])


def _everything_except(refused: Tests) -> Tests:
    return {kind: negation(refused[kind]) if kind in refused else always for kind in KINDS}


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ON_TEXTS: dict[str, Callable[[Any, Place], Predicate]] = {
    "exactly": texts.exactly,
    "prefix": texts.prefix,
    "suffix": texts.suffix,
    "equals-ignore-case": texts.equals_ignore_case,
    "wildcard": texts.wildcard,
    "cidr": texts.cidr,
}
_ON_VALUES: dict[str, Callable[[Any, Place], Tests]] = {
    "numeric": _numeric,
    "exists": _exists,
    "anything-but": _anything_but,
}
OPERATOR_WORDS = frozenset([*_ON_TEXTS, *_ON_VALUES, *_COMPARISONS])
"""The names of operators and comparisons in match expressions."""
