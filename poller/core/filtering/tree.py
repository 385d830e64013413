"""How do the paths of a rule lie under one another?

The leaves of a rule, given by path, become a tree whose branches are the steps of the paths.
A key of a record that holds dots is a way of writing the same path, so each branch also knows the dotted keys that
would lead below it: the branch `a` with a leaf at `a.b.c` looks for `a`, and for `a.b` and `a.b.c`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poller.core.filtering.leaves import Leaf
from poller.core.filtering.parsing import Path


@dataclass(frozen=True, slots=True)
class Node:
    """A spot of the tree; `accepts_absence` is whether everything at and below it may be missing."""

    leaf: Leaf | None
    branches: tuple[Branch, ...]
    accepts_absence: bool


@dataclass(frozen=True, slots=True)
class Branch:
    """`dotted` maps each dotted key that leads below this branch to what remains of it behind the first step."""

    key: str
    node: Node
    dotted: Mapping[str, str]

    def values_in(self, objects: list[dict[str, Any]]) -> list[Any]:
        """Whatever the objects hold at this branch, however written."""
        found = [each[self.key] for each in objects if self.key in each]
        for dotted, rest in self.dotted.items():
            found += [{rest: each[dotted]} for each in objects if dotted in each]
        return found


def grow(leaves: Mapping[Path, Leaf]) -> Node:
    by_step: dict[str, dict[Path, Leaf]] = {}
    for path, leaf in leaves.items():
        if path:
            by_step.setdefault(path[0], {})[path[1:]] = leaf
    branches = tuple(_branch(step, below) for step, below in by_step.items())
    own = leaves.get(())
    accepts_absence = all(branch.node.accepts_absence for branch in branches)
    return Node(own, branches, accepts_absence and (own is None or own.accepts_absence))


def _branch(step: str, below: Mapping[Path, Leaf]) -> Branch:
    rests = {".".join(path[:length]) for path in below for length in range(1, len(path) + 1)}
    return Branch(step, grow(below), {f"{step}.{rest}": rest for rest in sorted(rests)})
