"""Which messages may be invoked side by side?

On a FIFO queue, the messages of one group are invoked one batch after another.
SQS keeps this order as long as messages in flight stay hidden; these rules keep it where hiding failed:

    GroupsInHand      a group that is in hand is not begun a second time
    without_gaps      a message whose receipt is lost takes the later messages of its group out of the batch: the queue
                      shows the message again, and they must not overtake it

On a standard queue every message is free: its group is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from poller.model.ids import MessageGroupId

T = TypeVar("T")


class GroupsInHand:
    """The groups that are in hand."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: set[MessageGroupId] = set()

    def take(self, groups: frozenset[MessageGroupId]) -> bool:
        """Take all of them, or none: false when one of them is taken."""
        if not self._taken.isdisjoint(groups):
            return False
        self._taken |= groups
        return True

    def free(self, groups: frozenset[MessageGroupId]) -> None:
        assert groups <= self._taken, "a group is freed by whoever took it"
        self._taken -= groups


def without_gaps(
    items: Sequence[T], *, is_lost: Callable[[T], bool], group_of: Callable[[T], MessageGroupId | None]
) -> list[T]:
    """The items, in order, less the lost ones and less what follows a lost one in its group."""
    kept = []
    blocked: set[MessageGroupId] = set()
    for item in items:
        group = group_of(item)
        if group is not None and group in blocked:
            continue
        if not is_lost(item):
            kept.append(item)
        elif group is not None:
            blocked.add(group)
    return kept


def groups_of(groups: Iterable[MessageGroupId | None]) -> frozenset[MessageGroupId]:
    return frozenset(group for group in groups if group is not None)
