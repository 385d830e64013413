"""What becomes of a batch?  invoke ── interpret ── delete what succeeded, leave what failed.

What failed is not invoked again from memory: it is left to its visibility timeout, and the queue shows it again.
A batch that is too large for the function goes on as two halves, one after the other, and spends no attempt.
On a FIFO queue no group is in two batches at once, and what an earlier batch left undone holds back the rest of its
group in the batches after it.

Source: AWS Lambda Developer Guide, "Handling errors for an SQS event source in Lambda".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import anyio

from poller.core.ordering import GroupsInHand, groups_of
from poller.core.scaling import Concurrency
from poller.engine.permits import Permits
from poller.engine.queues.deleting import Deleter
from poller.engine.queues.in_hand import BatchInHand, MessageInHand
from poller.engine.queues.invoking import Invoker
from poller.engine.queues.releasing import Releaser
from poller.engine.queues.visibility import VisibilityKeeper
from poller.model.ids import MessageGroupId
from poller.model.outcome import Failed, Oversized, PartlyFailed, Postponed, Succeeded


class Deliverer:
    """Delivers the batches of one mapping."""

    def __init__(
        self,
        *,
        invoker: Invoker,
        deleter: Deleter,
        keeper: VisibilityKeeper,
        releaser: Releaser,
        permits: Permits,
        concurrency: Concurrency,
        is_fifo: bool,
    ) -> None:
        self._invoker = invoker
        self._deleter = deleter
        self._keeper = keeper
        self._releaser = releaser
        self._permits = permits
        self._concurrency = concurrency
        self._is_fifo = is_fifo
        self._groups = GroupsInHand()
        self._group_freed = anyio.Event()

    async def deliver(self, batches: Sequence[BatchInHand]) -> None:
        """One after another, as they were cut from one receive."""
        undone: frozenset[MessageGroupId] = frozenset()
        for batch in batches:
            batch.leave_out(undone)
            if self._is_fifo:
                undone |= await self._deliver_groups(batch)
            else:
                await self._deliver(batch)

    async def _deliver_groups(self, batch: BatchInHand) -> frozenset[MessageGroupId]:
        """Returns the message groups that are not done with."""
        messages, groups = batch.messages, batch.groups
        while not self._groups.take(groups):
            await self._group_freed.wait()
        try:
            done = await self._deliver(batch)
        finally:
            self._groups.free(groups)
            self._group_freed.set()
            self._group_freed = anyio.Event()
        return _groups_undone(messages, done)

    async def _deliver(self, batch: BatchInHand) -> list[MessageInHand]:
        """Returns the messages that are done."""
        done = await self._invoke(batch) if batch.messages else []
        if done is None:
            return await self._deliver_halves(batch)
        batch.messages = done
        batch.phase = "done"
        if done or batch.filtered_out:
            await self._deleter.delete([*batch.everything()] if batch.filtered_out else done)
        self._keeper.drop(batch)
        return done

    async def _deliver_halves(self, batch: BatchInHand) -> list[MessageInHand]:
        """One after the other; the message groups that the batch has taken stay taken."""
        later = batch.cut()
        self._keeper.take(later)
        messages = batch.messages
        done = await self._deliver(batch)
        if self._is_fifo:
            later.leave_out(_groups_undone(messages, done))
        return done + await self._deliver(later)

    async def _invoke(self, batch: BatchInHand) -> list[MessageInHand] | None:
        """Returns the messages that are done, None if the batch is too large; concurrency follows the outcome."""
        begun = self._concurrency.begin()

        def postponed() -> None:
            nonlocal begun
            self._concurrency.failed(begun, in_use=self._permits.batches_in_hand)
            begun = self._concurrency.begin()

        outcome = await self._invoker.invoke(batch, on_postponed=postponed)
        match outcome:
            case None:
                await self._releaser.release([batch])
                return []
            case Succeeded():
                self._concurrency.succeeded()
                return batch.messages
            case PartlyFailed(failed=failed):
                self._concurrency.succeeded()
                return [held for held in batch.messages if held.message.message_id not in failed]
            case Failed():
                self._concurrency.failed(begun, in_use=self._permits.batches_in_hand)
                return []
            case Oversized():
                return None
            case Postponed():
                raise AssertionError("the invoker itself offers a postponed batch again")
        assert_never(outcome)


def _groups_undone(messages: Sequence[MessageInHand], done: Sequence[MessageInHand]) -> frozenset[MessageGroupId]:
    ids = {held.message.message_id for held in done}
    return groups_of(held.message.message_group_id for held in messages if held.message.message_id not in ids)
