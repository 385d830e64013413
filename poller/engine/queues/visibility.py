"""How do messages in hand stay hidden in the queue?

From the moment it is received until it is deleted or left to the queue, a message belongs to a `Delivery`.
Once half of its visibility timeout is over, the keeper hides it again for a whole one, ten messages to a call:

    asked ──(long poll, answer)── received ────── half ──────── timeout
      └ visible_until is counted from here: SQS            └ hidden again from here: a fresh timeout
        may have taken the message as early as that

So `visible_until` errs on the safe side.  Before an invocation, `hide_for` hides those messages again whose time may be
too short; a message that the queue refuses to hide is lost.  A call that fails is tried again at the next tick, as long
as time is left, and delays no other.  SQS hides a message for twelve hours in all; the last call asks for the rest of
them, and then SQS shows the message again, even if its function still runs: the log says so.

Source: Amazon SQS API Reference, "ChangeMessageVisibility".
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from poller.core.queues.delivery import Delivery
from poller.core.queues.in_hand import MessageInHand
from poller.engine.queues.chunks import in_chunks_of_ten
from poller.engine.source_health import SourceHealth
from poller.errors import AccessDenied, ServiceError
from poller.facts import Emit, VisibilityChangeFailed, VisibilityExtended
from poller.model.ids import MappingName
from poller.ports import QueueSource

TIMEOUT_BEFORE_LOOKUP_IN_SECONDS = 30
"""SQS's default; nothing is in hand before the queue has been looked up."""

TICKS_PER_TIMEOUT = 8
SHORTEST_TICK_IN_SECONDS = 0.1
LONGEST_TICK_IN_SECONDS = 15.0
CALL_IN_SECONDS = 1.0
"""What a call may take: so much less than a whole visibility timeout can be asked for in advance."""

HELD_TOO_LONG = "HeldForTwelveHours"
"""The error code for messages that SQS hides no longer after twelve hours; ours, because no call is made then."""


class VisibilityKeeper:
    """Keeps the messages of one mapping hidden while they are in hand."""

    def __init__(self, *, mapping: MappingName, source: QueueSource, health: SourceHealth, emit: Emit) -> None:
        self.timeout_in_seconds = self.queue_timeout_in_seconds = TIMEOUT_BEFORE_LOOKUP_IN_SECONDS
        self.deliveries: dict[Delivery, None] = {}
        self._mapping = mapping
        self._source = source
        self._health = health
        self._emit = emit
        self._is_denied = False

    @property
    def messages_held(self) -> int:
        return sum(delivery.message_count for delivery in self.deliveries)

    def take(self, delivery: Delivery) -> None:
        self.deliveries[delivery] = None

    def drop(self, delivery: Delivery) -> None:
        """Nothing of this is ours any more."""
        self.deliveries.pop(delivery, None)

    async def run(self) -> None:
        """Tick for ever; a call that hangs holds up its own messages only."""
        async with anyio.create_task_group() as calls:
            while True:
                tick = self.timeout_in_seconds / TICKS_PER_TIMEOUT
                await anyio.sleep(min(LONGEST_TICK_IN_SECONDS, max(SHORTEST_TICK_IN_SECONDS, tick)))
                if due := self._due():
                    calls.start_soon(in_chunks_of_ten, due, self._extend)

    def is_hidden_for(self, messages: Sequence[MessageInHand], seconds: float) -> bool:
        """Whether all of them are sure to stay hidden for so long, as nearly every batch is."""
        until = self._until(seconds)
        return all(held.visible_until > until and not held.is_lost for held in messages)

    async def hide_for(self, messages: Sequence[MessageInHand], seconds: float) -> bool:
        """Ask the queue to hide them for so long; false when that is left open.

        Messages that the queue refuses to hide are lost then, the others are sure.
        Where we may not change visibilities at all, what is hidden now has to do.
        """
        until = self._until(seconds)
        due = [held for held in messages if held.visible_until <= until and not held.is_lost]
        await in_chunks_of_ten(due, self._extend)
        if self._is_denied:
            return True
        return all(held.is_lost or held.visible_until > until for held in due)

    def can_be_hidden_for(self, messages: Sequence[MessageInHand], seconds: float) -> bool:
        """False if the twelve hours of a message end before `seconds` have passed."""
        until = self._until(seconds)
        return all(held.longest_until - CALL_IN_SECONDS > until for held in messages)

    def _due(self) -> list[MessageInHand]:
        """The messages to hide again: half of their time is over. Those that SQS hides no longer become lost."""
        now = anyio.current_time()
        half = now + self.timeout_in_seconds / 2
        due = []
        over = 0
        for delivery in self.deliveries:
            for held in delivery.hidden():
                if held.is_lost or held.is_asked_for or held.visible_until >= half:
                    continue
                if _is_worth_more(held):
                    held.is_asked_for = True
                    due.append(held)
                elif held.visible_until <= now:
                    held.is_lost = True
                    over += 1
        if over:
            self._emit(VisibilityChangeFailed(self._mapping, over, HELD_TOO_LONG, True))
        return due

    def _until(self, seconds: float) -> float:
        timeout = self.timeout_in_seconds
        return anyio.current_time() + min(seconds, timeout - min(CALL_IN_SECONDS, timeout / 10))

    async def _extend(self, due: Sequence[MessageInHand]) -> None:
        """Hide these again, for as long as the one may be that may least."""
        asked_at = anyio.current_time()
        longest = min(held.longest_until for held in due) - asked_at - CALL_IN_SECONDS
        timeout = max(0, min(self.timeout_in_seconds, int(longest)))
        for held in due:
            held.returns_by_itself = False
        try:
            rejected = await self._source.change_visibility([held.message for held in due], timeout_in_seconds=timeout)
        except ServiceError as error:
            self._is_denied = isinstance(error, AccessDenied)
            self._health.background_failure("ChangeMessageVisibilityBatch", error, retry_in=0.0)
            self._emit(VisibilityChangeFailed(self._mapping, len(due), error.code, False))
            return
        finally:
            for held in due:
                held.is_asked_for = False
        self._is_denied = False
        self._health.succeeded("ChangeMessageVisibilityBatch")
        by_receipt = {entry.message.receipt_handle: entry for entry in rejected}
        for held in due:
            entry = by_receipt.get(held.message.receipt_handle)
            if entry is None:
                held.visible_until = asked_at + timeout
            elif entry.is_final:
                held.is_lost = True
        for entry in rejected:
            self._emit(VisibilityChangeFailed(self._mapping, 1, entry.code, entry.is_final))
        if len(due) > len(rejected):
            self._emit(VisibilityExtended(self._mapping, len(due) - len(rejected)))


def _is_worth_more(held: MessageInHand) -> bool:
    """Whether a call can hide it for longer, within the twelve hours."""
    return held.longest_until - held.visible_until >= 2 * CALL_IN_SECONDS
