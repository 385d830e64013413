"""Which texts does an operator on strings accept?

Each function checks an operator's operand and returns a predicate for strings. It raises InvalidPattern if the operand
is wrong.
The predicates take linear time in the length of the tested string, because the records' values are not trusted.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from poller.core.filtering.invalid import InvalidPattern, Place
from poller.core.filtering.notation import Members, only_member, text_of
from poller.core.filtering.predicates import Predicate


def exactly(operand: Any, place: Place) -> Predicate:
    return frozenset({text_of(operand, place)}).__contains__


def prefix(operand: Any, place: Place) -> Predicate:
    folded = _operand_ignoring_case(operand, place)
    if folded is not None:
        return lambda value: value.casefold().startswith(folded)
    start = text_of(operand, place)
    return lambda value: value.startswith(start)


def suffix(operand: Any, place: Place) -> Predicate:
    folded = _operand_ignoring_case(operand, place)
    if folded is not None:
        return lambda value: value.casefold().endswith(folded)
    end = text_of(operand, place)
    return lambda value: value.endswith(end)


def equals_ignore_case(operand: Any, place: Place) -> Predicate:
    folded = text_of(operand, place).casefold()
    return lambda value: value.casefold() == folded


def wildcard(operand: Any, place: Place) -> Predicate:
    """Return a predicate for a pattern with `*`.

    For each literal between two stars, the predicate uses the leftmost match. Another match is never better, so the
    predicate never has to try a second one.
    """
    first, *rest = _literals(text_of(operand, place), place)
    if not rest:
        return lambda value: value == first
    *middle, last = rest

    def accepts(value: str) -> bool:
        at, end = len(first), len(value) - len(last)
        if at > end or not value.startswith(first) or not value.endswith(last):
            return False
        for literal in middle:
            at = value.find(literal, at, end)
            if at < 0:
                return False
            at += len(literal)
        return True

    return accepts


def cidr(operand: Any, place: Place) -> Predicate:
    _, slash, bits = text_of(operand, place).partition("/")
    if not slash or not bits.isdecimal():
        raise InvalidPattern(f'Malformed CIDR "{operand}": it takes an address, a slash and a number of bits', place)
    try:
        network = ipaddress.ip_network(operand, strict=False)
    except ValueError as error:
        raise InvalidPattern(f'Malformed CIDR "{operand}": {error}', place) from error

    def accepts(value: str) -> bool:
        try:
            return ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return accepts


def _operand_ignoring_case(operand: Any, place: Place) -> str | None:
    """Return the case-folded text of an operand `{"equals-ignore-case": text}`, or None for a string."""
    if type(operand) is not Members:
        return None
    name, text = only_member(operand, place)
    if name != "equals-ignore-case":
        raise InvalidPattern(f'Unsupported {place[-1]} pattern "{name}"', place)
    return text_of(text, (*place, name)).casefold()


def _literals(text: str, place: Place) -> list[str]:
    """Return the texts before, between and after the stars of a wildcard pattern."""
    literals, characters = [""], iter(text)
    is_after_star = False
    for character in characters:
        is_star = character == "*"
        if is_star and is_after_star:
            raise InvalidPattern("Consecutive wildcard characters are not allowed", place)
        is_after_star = is_star
        if is_star:
            literals.append("")
        elif character == "\\":
            literals[-1] += _escaped(next(characters, ""), place)
        else:
            literals[-1] += character
    return literals


def _escaped(character: str, place: Place) -> str:
    if character not in ("*", "\\"):
        raise InvalidPattern("Invalid escape character in a wildcard", place)
    return character
