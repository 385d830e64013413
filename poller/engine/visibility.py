"""How does what is in hand stay hidden in the queue?

From the moment it is received until it is deleted or left to the queue, a message belongs to a `BatchInHand`.
Once half of its visibility timeout is over, the keeper hides it again for a whole one, ten messages to a call:

    asked ──(long poll, answer)── received ────── half ──────── timeout
      └ visible_until is counted from here: SQS            └ hidden again from here: a fresh timeout
        may have taken the message as early as that

So `visible_until` errs on the safe side, and a message that seems to be at its end may well be hidden still.
Before an invocation, `hide_for` asks the queue where it is not sure; what the queue refuses to hide is lost to us.
A call that does not go through is tried again at the next tick, as long as time is left.
At a stop, `release` gives everything back: done messages are deleted, the others shown at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import anyio

from poller.engine.deleting import Deleter
from poller.engine.in_hand import BatchInHand, MessageInHand
from poller.engine.tens import in_tens
from poller.errors import ServiceError
from poller.model.ids import MappingName
from poller.ports import QueueSource
from poller.telemetry.facts import MessagesReleased, Record, VisibilityExtended, VisibilityRefused

TIMEOUT_BEFORE_LOOKUP_IN_SECONDS = 30
"""SQS's default; nothing is in hand before the queue has been looked up."""

TICKS_PER_TIMEOUT = 8
SHORTEST_TICK_IN_SECONDS = 0.1
LONGEST_TICK_IN_SECONDS = 15.0
RELEASE_IN_SECONDS = 5.0
LONGEST_CERTAINTY = 0.9
"""The part of a visibility timeout that can be asked for: a call takes its time too."""


class VisibilityKeeper:
    """Keeps the messages of one mapping hidden while they are in hand."""

    def __init__(self, *, mapping: MappingName, source: QueueSource, deleter: Deleter, record: Record) -> None:
        self.timeout_in_seconds = TIMEOUT_BEFORE_LOOKUP_IN_SECONDS
        self._mapping = mapping
        self._source = source
        self._deleter = deleter
        self._record = record
        self._batches: dict[BatchInHand, None] = {}

    @property
    def messages_held(self) -> int:
        return sum(len(batch.messages) for batch in self._batches)

    def take(self, batch: BatchInHand) -> None:
        self._batches[batch] = None

    def drop(self, batch: BatchInHand) -> None:
        """Nothing of this batch is ours any more."""
        self._batches.pop(batch, None)

    async def run(self) -> None:
        while True:
            tick = self.timeout_in_seconds / TICKS_PER_TIMEOUT
            await anyio.sleep(min(LONGEST_TICK_IN_SECONDS, max(SHORTEST_TICK_IN_SECONDS, tick)))
            await self.run_once()

    async def run_once(self) -> None:
        """Hide again whatever has used up half of its time."""
        now = anyio.current_time()
        half = now + self.timeout_in_seconds / 2
        due = [
            held for batch in self._batches for held in batch.messages if held.visible_until < half and not held.is_lost
        ]
        if due:
            await in_tens(due, self._extend)

    def is_hidden_for(self, batch: BatchInHand, seconds: float) -> bool:
        """Whether the whole batch is sure to stay hidden for so long, as nearly every batch is."""
        until = self._until(seconds)
        return all(held.visible_until > until and not held.is_lost for held in batch.messages)

    async def hide_for(self, batch: BatchInHand, seconds: float) -> bool:
        """Make sure that the batch stays hidden for so long, or as near as the timeout allows; false when it may not.

        Messages that the queue refuses to hide are lost then, the batch's others are sure.
        """
        until = self._until(seconds)
        due = [held for held in batch.messages if held.visible_until <= until and not held.is_lost]
        if due:
            await in_tens(due, self._extend)
        return all(held.is_lost or held.visible_until > until for held in due)

    def _until(self, seconds: float) -> float:
        return anyio.current_time() + min(seconds, self.timeout_in_seconds * LONGEST_CERTAINTY)

    async def _extend(self, due: Sequence[MessageInHand]) -> None:
        timeout = self.timeout_in_seconds
        asked_at = anyio.current_time()
        try:
            refusals = await self._source.change_visibility([held.message for held in due], timeout_in_seconds=timeout)
        except ServiceError as error:
            self._record(VisibilityRefused(self._mapping, len(due), error.code, False))
            return
        refused = {refusal.message.receipt_handle: refusal for refusal in refusals}
        for held in due:
            refusal = refused.get(held.message.receipt_handle)
            if refusal is None:
                held.visible_until = asked_at + timeout
            elif refusal.is_final:
                held.is_lost = True
        for refusal in refusals:
            self._record(VisibilityRefused(self._mapping, 1, refusal.code, refusal.is_final))
        if len(due) > len(refusals):
            self._record(VisibilityExtended(self._mapping, len(due) - len(refusals)))

    async def release(self, batches: Iterable[BatchInHand] | None = None, *, is_fifo: bool) -> None:
        """Give batches back to the queue (all of them by default), in at most RELEASE_IN_SECONDS, come what may.

        What has succeeded is deleted.  What was not invoked is shown at once.
        What was cut while it ran is shown at once too, except on a FIFO queue: its function may still be at it, and
        its group must not start again beside it before the visibility timeout has passed.
        """
        mine = [batch for batch in (self._batches if batches is None else batches) if batch in self._batches]
        done = [held for batch in mine if batch.phase == "done" for held in batch.messages]
        shown = [
            held
            for batch in mine
            if batch.phase in ("gathering", "waiting") or (batch.phase == "running" and not is_fifo)
            for held in batch.messages
            if not held.is_lost
        ]
        for batch in mine:
            self.drop(batch)
        with anyio.move_on_after(RELEASE_IN_SECONDS, shield=True):
            await in_tens(done, self._deleter.delete_once)
            await in_tens(shown, self._show)

    async def _show(self, held: Sequence[MessageInHand]) -> None:
        try:
            refusals = await self._source.change_visibility([one.message for one in held], timeout_in_seconds=0)
        except ServiceError as error:
            self._record(VisibilityRefused(self._mapping, len(held), error.code, True))
            return
        self._record(MessagesReleased(self._mapping, len(held) - len(refusals)))
