"""Does an array in a record match a rule?

If a field is an array, the rule tests the values of all its elements, at any depth. One accepted value is enough.
But if a rule tests several fields below an array, one element must have all of them ("Arrays in event patterns" and
"array consistency" of EventBridge's matcher). For example, an array with the people Anna Smith and Peter Jones does not
match a rule for Anna Jones.

So `judge` tries the elements that are objects or arrays one after another: it picks one of them, removes the others,
and tests the rule. The array matches if one pick matches. Plain values (strings, numbers, …) of the array stay in
every pick.
For a rule with `exists: false`, there are two ways to match:

    a pick has another field that the rule tests    only this pick must lack the field; other elements may have it
    no pick matches in this way                     all fields of the rule may be absent, and no element has any of them

An empty array counts as an absent field, and so does an empty object.

The order of keys does not matter. (EventBridge's matcher tests keys in alphabetical order, so it may test an
`exists: false` before it has picked an element. A record that matches there also matches here.)
If a record has two arrays at one path, one nested and one under a key with dots, they count as one array. So there are
never more picks than elements.

Nested arrays are unfolded with a stack, because a record may be nested deeper than Python's recursion limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from poller.core.filtering.tree import Node

_Objects = list[dict[str, Any]]


class Verdict(Enum):
    FAILED = "a field that the rule requires is missing, or has a value that the rule does not accept"
    EMPTY = "the record has no field of the rule, and the rule requires none"
    FOUND = "the record has all fields that the rule requires, and at least one field of the rule"


def judge(node: Node, values: list[Any]) -> Verdict:
    """Return whether the record's values match the part of the rule at this node and below.

    `values` are all values that the record has at the node's path. There are several if the record has the path both
    nested (`{"a": {"b": 1}}`) and as a key with a dot (`{"a.b": 2}`).
    """
    if values:
        for objects, is_seen, is_accepted in _picks(node, values):
            if _holds(node, objects, is_seen=is_seen, is_accepted=is_accepted):
                return Verdict.FOUND
    if node.accepts_absence and not _occurs(node, values):
        return Verdict.EMPTY
    return Verdict.FAILED


def _picks(node: Node, values: list[Any]) -> Iterator[tuple[_Objects, bool, bool]]:
    """Yield what is left of the array, for each element that `judge` may pick.

    It is a tuple: the objects that are left, whether plain values are left, and whether the leaf accepts one of them.
    """
    pending = [(values, False, False)]
    while pending:
        values, is_seen, is_accepted = pending.pop()
        objects, elements, scalars = _unfold(values)
        if node.leaf is not None and scalars:
            tests = node.leaf.tests
            is_seen = True
            is_accepted = is_accepted or any(tests[type(scalar)](scalar) for scalar in scalars)
        if elements:
            pending += [([*objects, element], is_seen, is_accepted) for element in elements]
        else:
            yield objects, is_seen, is_accepted


def _unfold(values: list[Any]) -> tuple[_Objects, list[Any], list[Any]]:
    """Return three lists: the objects among the values, the array elements that may be picked, and the plain values."""
    objects: _Objects = []
    elements: list[Any] = []
    scalars: list[Any] = []
    for value in values:
        if type(value) is dict:
            objects.append(value)
        elif type(value) is list:
            for item in value:
                (elements if type(item) in (dict, list) else scalars).append(item)
        else:
            scalars.append(value)
    return objects, elements, scalars


def _holds(node: Node, objects: _Objects, *, is_seen: bool, is_accepted: bool) -> bool:
    """Return whether this pick matches the whole rule, and at least one field of the rule is present in it."""
    if node.leaf is not None and not is_accepted and (is_seen or not node.leaf.accepts_absence):
        return False
    is_found = is_accepted
    for branch in node.branches:
        verdict = judge(branch.node, branch.values_in(objects))
        if verdict is Verdict.FAILED:
            return False
        is_found = is_found or verdict is Verdict.FOUND
    return is_found


def _occurs(node: Node, values: list[Any]) -> bool:
    """Return whether any element contains any field that the rule tests at this node or below."""
    objects, pending = [], list(values)
    while pending:
        value = pending.pop()
        if type(value) is dict:
            objects.append(value)
        elif type(value) is list:
            pending += value
        elif node.leaf is not None:
            return True
    return bool(objects) and any(_occurs(branch.node, branch.values_in(objects)) for branch in node.branches)
