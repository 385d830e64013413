"""What becomes of a batch?  invoke ── interpret ── delete what succeeded, show what failed again.

A failed message is not invoked again from memory: the queue shows it again when its visibility timeout is over.
A batch that is too large for the function goes on as two halves, one after the other, and spends no attempt.
On a FIFO queue no group is in two batches at once, and a message that is not done takes the rest of its group out of
the batches after it.  If the function may still be running, the groups of its batch are shown only after its timeout.

Source: AWS Lambda Developer Guide, "Handling errors for an SQS event source in Lambda".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import assert_never

from poller.core.queues.ordering import groups_of
from poller.core.queues.scaling import Concurrency
from poller.engine.queues.deleting import Deleter
from poller.engine.queues.groups import GroupTurns
from poller.engine.queues.in_hand import BatchInHand, MessageInHand
from poller.engine.queues.invoking import Invoker
from poller.engine.queues.permits import Permits
from poller.engine.queues.redelivering import Redeliverer
from poller.engine.queues.releasing import Releaser
from poller.engine.queues.visibility import VisibilityKeeper
from poller.engine.stop import Stop
from poller.model.outcome import Failed, Outcome, Oversized, PartlyFailed, Postponed, Succeeded


class Deliverer:
    """Delivers the batches of one mapping."""

    def __init__(
        self,
        *,
        invoker: Invoker,
        deleter: Deleter,
        redeliverer: Redeliverer,
        keeper: VisibilityKeeper,
        releaser: Releaser,
        permits: Permits,
        concurrency: Concurrency,
        groups: GroupTurns | None,
        stop: Stop,
    ) -> None:
        """`groups` is None for a standard queue."""
        self._invoker = invoker
        self._deleter = deleter
        self._redeliverer = redeliverer
        self._keeper = keeper
        self._releaser = releaser
        self._permits = permits
        self._concurrency = concurrency
        self._groups = groups
        self._stop = stop

    async def deliver(self, batches: Sequence[BatchInHand]) -> None:
        """Deliver batches that were cut from one receive, one after another."""
        for index, batch in enumerate(batches):
            later = batches[index + 1 :]
            if self._groups is None:
                await self._deliver(batch, later)
            else:
                await self._deliver_in_turn(batch, later, self._groups)

    async def _deliver_in_turn(self, batch: BatchInHand, later: Sequence[BatchInHand], turns: GroupTurns) -> None:
        groups = batch.groups
        if not await turns.take(groups, stop=self._stop):
            await self._releaser.release([batch])
            return
        try:
            await self._deliver(batch, later)
        finally:
            turns.free(groups)

    async def _deliver(self, batch: BatchInHand, later: Sequence[BatchInHand]) -> None:
        """Deliver the batch; the later ones lose the messages that must not overtake a failed one of this batch."""
        received = batch.messages
        if received:
            outcome = await self._invoke(batch)
            left = _left(batch.messages, outcome)
            if len(left) < len(received):
                batch.undone += _undone(received, left, later)
            batch.messages = left
            if isinstance(outcome, Oversized):
                await self._deliver_halves(batch, later)
                return
            if outcome is None:
                batch.messages, batch.undone = batch.undone, []
                await self._releaser.release([batch])
                return
            if self._groups is not None and isinstance(outcome, Failed) and outcome.may_still_run:
                for held in batch.undone:
                    held.return_at(max(held.returns_at, batch.running_until))
        batch.phase = "done"
        if batch.messages or batch.filtered_out:
            await self._deleter.delete([*batch.everything()] if batch.filtered_out else batch.messages)
        if batch.undone:
            await self._redeliverer.redeliver(batch.undone)
        self._keeper.drop(batch)

    async def _deliver_halves(self, batch: BatchInHand, later: Sequence[BatchInHand]) -> None:
        """Deliver the first half, then the second; meanwhile no other batch gets the message groups of either."""
        second = batch.cut()
        self._keeper.take(second)
        await self._deliver(batch, [second, *later])
        await self._deliver(second, later)

    async def _invoke(self, batch: BatchInHand) -> Outcome | None:
        """Invoke the batch, and adapt the concurrency to the outcome."""
        begun = self._concurrency.begin()

        def postponed() -> None:
            nonlocal begun
            self._concurrency.failed(begun, in_use=self._permits.batches_in_hand)
            begun = self._concurrency.begin()

        outcome = await self._invoker.invoke(batch, on_postponed=postponed)
        match outcome:
            case Succeeded() | PartlyFailed():
                self._concurrency.succeeded()
            case Failed():
                self._concurrency.failed(begun, in_use=self._permits.batches_in_hand)
            case Oversized() | None:
                pass
            case Postponed():
                raise AssertionError("the invoker itself offers a postponed batch again")
            case _:
                assert_never(outcome)
        return outcome


def _left(invoked: list[MessageInHand], outcome: Outcome | None) -> list[MessageInHand]:
    """The messages that succeeded, or all of them if the batch is to be halved."""
    match outcome:
        case Succeeded() | Oversized():
            return invoked
        case PartlyFailed(failed=failed):
            return [held for held in invoked if held.message.message_id not in failed]
        case Failed() | Postponed() | None:
            return []
    assert_never(outcome)


def _undone(
    received: Sequence[MessageInHand], left: Collection[MessageInHand], later: Sequence[BatchInHand]
) -> list[MessageInHand]:
    """The messages that failed, in order, and those after them in their groups, which the later batches lose."""
    left = set(left)
    undone = [held for held in received if held not in left]
    groups = groups_of(held.message.message_group_id for held in undone)
    for batch in later if groups else ():
        undone += [held for held in (*batch.messages, *batch.undone) if held.message.message_group_id in groups]
        batch.messages = [held for held in batch.messages if held.message.message_group_id not in groups]
        batch.undone = [held for held in batch.undone if held.message.message_group_id not in groups]
    return undone
