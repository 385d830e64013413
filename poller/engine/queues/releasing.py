"""What becomes of what is in hand when we stop? It goes back to the queue, shielded and bounded.

done                  deleted: it succeeded
filtered out          deleted
gathering, waiting    shown at once: nobody invoked it
running, cut          shown at once; on a FIFO queue left to its timeout, for its function may still be at work, and
                      its group must not begin again beside it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import anyio

from poller.engine.queues.deleting import Deleter
from poller.engine.queues.in_hand import BatchInHand, MessageInHand
from poller.engine.queues.tens import in_tens
from poller.engine.queues.visibility import VisibilityKeeper
from poller.errors import ServiceError
from poller.model.ids import MappingName
from poller.ports import QueueSource
from poller.telemetry.facts import MessagesReleased, Record, VisibilityRefused

RELEASE_IN_SECONDS = 10.0
CALLS_AT_ONCE = 50


class Releaser:
    """Gives the batches of one mapping back."""

    def __init__(
        self,
        *,
        mapping: MappingName,
        source: QueueSource,
        deleter: Deleter,
        keeper: VisibilityKeeper,
        record: Record,
        is_fifo: bool,
    ) -> None:
        self._mapping = mapping
        self._source = source
        self._deleter = deleter
        self._keeper = keeper
        self._record = record
        self._is_fifo = is_fifo

    async def release_all(self) -> None:
        await self.release(list(self._keeper.batches))

    async def release(self, batches: Iterable[BatchInHand]) -> None:
        """Give these back, in at most RELEASE_IN_SECONDS, come what may; they are not ours any more."""
        deleted: list[MessageInHand] = []
        shown: list[MessageInHand] = []
        for batch in batches:
            deleted += batch.filtered_out
            if batch.phase == "done":
                deleted += batch.messages
            elif batch.phase != "running" or not self._is_fifo:
                shown += [held for held in batch.messages if not held.is_lost]
            self._keeper.drop(batch)
        with anyio.move_on_after(RELEASE_IN_SECONDS, shield=True):
            async with anyio.create_task_group() as calls:
                calls.start_soon(in_tens, deleted, self._deleter.delete_once, CALLS_AT_ONCE)
                calls.start_soon(in_tens, shown, self._show, CALLS_AT_ONCE)

    async def _show(self, held: Sequence[MessageInHand]) -> None:
        try:
            refusals = await self._source.change_visibility([one.message for one in held], timeout_in_seconds=0)
        except ServiceError as error:
            self._record(VisibilityRefused(self._mapping, len(held), error.code, True))
            return
        if len(held) > len(refusals):
            self._record(MessagesReleased(self._mapping, len(held) - len(refusals)))
