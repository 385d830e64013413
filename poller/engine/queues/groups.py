"""Which delivery may invoke its function with messages of a message group? One at a time, among all runs of the queue.

SQS does not deliver later messages of a group while earlier messages of it are hidden. So a batch waits here only if
earlier messages became visible too soon.
All runs of all mappings of a queue share one `GroupTurns`, because an old run may still have batches in hand when the
next run begins.
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
        """Wait until no delivery has one of these groups, then take all of them.

        If the stop comes first, take none and return False.
        """
        while not self._in_hand.take(groups):
            if not await stop.before(self._freed):
                return False
        return True

    def free(self, groups: frozenset[MessageGroupId]) -> None:
        self._in_hand.free(groups)
        self._freed.set()
        self._freed = anyio.Event()
