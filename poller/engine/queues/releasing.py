"""What happens at a stop to the messages in hand? They go back to the queue, shielded and bounded.

done                  deleted: it succeeded
filtered out          deleted
gathering, waiting    shown at once: nobody invoked it
running, cut          shown at once; on a FIFO queue once its function has had its whole timeout, for it may still be
                      at work, and its group must not begin again beside it; so is what waits in the same group
undone                shown when the queue's own visibility timeout is over
"""

from __future__ import annotations

from collections.abc import Iterable

import anyio

from poller.engine.queues.chunks import in_chunks_of_ten
from poller.engine.queues.deleting import Deleter
from poller.engine.queues.in_hand import BatchInHand, MessageInHand
from poller.engine.queues.redelivering import Redeliverer
from poller.engine.queues.visibility import VisibilityKeeper

RELEASE_IN_SECONDS = 10.0
CALLS_AT_ONCE = 50


class Releaser:
    """Gives the batches of one mapping back."""

    def __init__(
        self,
        *,
        deleter: Deleter,
        redeliverer: Redeliverer,
        keeper: VisibilityKeeper,
    ) -> None:
        self._deleter = deleter
        self._redeliverer = redeliverer
        self._keeper = keeper

    async def release_all(self) -> None:
        await self.release(list(self._keeper.batches))

    async def release(self, batches: Iterable[BatchInHand]) -> None:
        """Give these back, in at most RELEASE_IN_SECONDS, come what may; they are not ours any more."""
        batches = list(batches)
        busy_until = {
            group: batch.running_until for batch in batches if batch.phase == "running" for group in batch.groups
        }
        deleted: list[MessageInHand] = []
        undone: list[MessageInHand] = []
        for batch in batches:
            deleted += batch.filtered_out
            undone += batch.undone
            if batch.phase == "done":
                deleted += batch.messages
            else:
                for held in batch.messages:
                    group = held.message.message_group_id
                    held.return_at(0.0 if group is None else busy_until.get(group, 0.0))
                undone += batch.messages
            self._keeper.drop(batch)
        with anyio.move_on_after(RELEASE_IN_SECONDS, shield=True):
            async with anyio.create_task_group() as calls:
                calls.start_soon(in_chunks_of_ten, deleted, self._deleter.delete_once, CALLS_AT_ONCE)
                calls.start_soon(self._redeliverer.redeliver_once, undone, CALLS_AT_ONCE)
