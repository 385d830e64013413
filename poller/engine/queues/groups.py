"""Which delivery may invoke a message group? Only one delivery at a time, over all runs that read the queue.

SQS hides a group's later messages while its earlier ones are hidden, so a batch waits here only if hiding has failed.
All runs of all mappings of a queue share one object, because an old run may still have batches in hand when the next
run begins.
"""

from __future__ import annotations

import anyio

from poller.core.queues.ordering import GroupsInHand
from poller.engine.stop import Stop
from poller.model.ids import MessageGroupId


class GroupTurns:
    """The message groups of one queue."""

    def __init__(self) -> None:
        self._in_hand = GroupsInHand()
        self._freed = anyio.Event()

    async def take(self, groups: frozenset[MessageGroupId], *, stop: Stop) -> bool:
        """Wait until all these groups are free, and take all. Return False, and take none, if the stop comes first."""
        while not self._in_hand.take(groups):
            if not await stop.before(self._freed):
                return False
        return True

    def free(self, groups: frozenset[MessageGroupId]) -> None:
        self._in_hand.free(groups)
        self._freed.set()
        self._freed = anyio.Event()
