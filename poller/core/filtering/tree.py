"""How does a rule become a tree?

A rule has one leaf for each path. The tree has one branch for each step of a path.
A record may contain a path as one key with dots. So a branch also knows the keys with dots that stand for several steps
of a path. For example, the branch `a` with a leaf at `a.b.c` looks for the keys `a`, `a.b` and `a.b.c`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poller.core.filtering.leaves import Leaf
from poller.core.filtering.parsing import Path


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the tree. `accepts_absence` is true if everything at and below it may be missing."""

    leaf: Leaf | None
    branches: tuple[Branch, ...]
    accepts_absence: bool


@dataclass(frozen=True, slots=True)
class Branch:
    """One step of a path. `dotted` has the keys with dots that begin with this step.

    For the step `a` and the key `a.b.c`, its entry is `{"a.b.c": "b.c"}`.
    """

    key: str
    node: Node
    dotted: Mapping[str, str]

    def values_in(self, objects: list[dict[str, Any]]) -> list[Any]:
        """Return the values that the objects have at this branch, under its key or under keys with dots."""
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
