"""Which delivery may have a message group? One at a time, over all runs that read the queue.

SQS hides a group's later messages as long as the earlier ones stay hidden, so a batch rarely waits here: only where
hiding failed.  All runs of all mappings of a queue share one object, because an old run may still have batches in hand
when the next one begins.
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
        """Wait until all of them are free, and take them; false, with none of them, if the stop begins first."""
        while not self._in_hand.take(groups):
            if not await stop.before(self._freed):
                return False
        return True

    def free(self, groups: frozenset[MessageGroupId]) -> None:
        self._in_hand.free(groups)
        self._freed.set()
        self._freed = anyio.Event()
