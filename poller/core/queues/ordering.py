"""Which messages may be in two invocations at the same time?

On a FIFO queue, the function is invoked with the batches of one message group one after another.
SQS keeps this order as long as received messages stay hidden. If a message becomes visible too early, two rules keep
it:

    GroupsInHand      while a message group is in hand, no second batch of it begins
    without_gaps      if a message is lost, the later messages of its group leave the batch: SQS shows the lost
                      message again, and they must not overtake it

On a standard queue, messages have no group (None), so any two may be invoked at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from poller.model.ids import MessageGroupId

T = TypeVar("T")


class GroupsInHand:
    """The message groups that are in hand."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: set[MessageGroupId] = set()

    def take(self, groups: frozenset[MessageGroupId]) -> bool:
        """Note that all these groups are in hand, and return True. If one of them is in hand already, return False."""
        if not self._taken.isdisjoint(groups):
            return False
        self._taken |= groups
        return True

    def free(self, groups: frozenset[MessageGroupId]) -> None:
        assert groups <= self._taken, "only taken groups are freed"
        self._taken -= groups


def without_gaps(
    items: Sequence[T], *, is_lost: Callable[[T], bool], group_of: Callable[[T], MessageGroupId | None]
) -> list[T]:
    """Return the items in order, without the lost ones and without later items of a lost item's group."""
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
