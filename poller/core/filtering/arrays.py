"""Does an array of a record satisfy the part of a rule that lies at it and below?

Arrays are flattened through: a field has the values of all elements, at any depth, and one that fits is enough.
But the fields that a rule asks for below an array must all come from the same element ("Arrays in event patterns" and
"array consistency" of EventBridge's matcher): Anna Smith and Peter Jones are not Anna Jones.

So an element is picked, the other ones vanish, and the rest of the rule is judged; one good pick is enough.  Plain
values of an array are there with every pick.  `exists: false` is judged within the picked element, provided that the
element has something that the rule asks for; where no pick holds anything asked for, nothing may occur in any element.
An array without elements, like an object without members, is no field at all.

The order of keys plays no part.  (EventBridge's matcher goes by the alphabet, and judges an `exists: false` whose key
comes first before an element is settled; a record that matches there matches here.)  Arrays at one path that is
written both nested and with dots count as one array, which keeps the ways to pick as few as the elements.

Nested arrays are unfolded with a stack, not by recursion: a record may nest deeper than Python's stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from poller.core.filtering.tree import Node

_Objects = list[dict[str, Any]]


class Verdict(Enum):
    FAILED = "something asked for is missing or differs"
    EMPTY = "nothing asked for is there, and nothing has to be"
    FOUND = "all that has to be there is, and something is"


def judge(node: Node, values: list[Any]) -> Verdict:
    """Does a record satisfy the rule at this node and below?

    `values` are all values that the record has at the node's path: none, or one, or several if the record has the path
    both nested (`{"a": {"b": 1}}`) and as a key with a dot (`{"a.b": 2}`).
    """
    if values:
        for objects, is_seen, is_accepted in _picks(node, values):
            if _holds(node, objects, is_seen=is_seen, is_accepted=is_accepted):
                return Verdict.FOUND
    if node.accepts_absence and not _occurs(node, values):
        return Verdict.EMPTY
    return Verdict.FAILED


def _picks(node: Node, values: list[Any]) -> Iterator[tuple[_Objects, bool, bool]]:
    """Every way to pick: the objects left, whether plain values came along, whether the leaf accepts one of them."""
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
    """The objects among the values, the elements of the arrays among them (to pick from), and all plain values."""
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
    """Whether this pick satisfies everything, and something of it by being there."""
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
    """Whether any field that the node asks about is there at all, in whatever element."""
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
