"""How do messages in hand stay hidden in the queue?

A message in hand belongs to a `Delivery`, from its receive until it is deleted or given back to the queue.
When half of a message's visibility timeout is over, the keeper hides the message again for a whole timeout, with calls
for ten messages each:

    asked ──(long poll, answer)── received ────── half ──────── timeout
      └ visible_until is counted from here: SQS     └ hidden again: a new timeout begins
        may have taken the message as early as that

So `visible_until` is never later than the time at which SQS shows the message.
Before an invocation, `hide_for` hides the messages again whose time may be too short.
A message that SQS refuses to hide is lost: it is not invoked.
A call that fails is made again at the next tick, and delays no other call.
SQS hides a message for twelve hours in all.  Then SQS shows it again, even if its function still runs; the log says so.

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
"""SQS's default timeout, used until the lookup has found the queue's own. No message is in hand before that."""

TICKS_PER_TIMEOUT = 8
SHORTEST_TICK_IN_SECONDS = 0.1
LONGEST_TICK_IN_SECONDS = 15.0
CALL_IN_SECONDS = 1.0
"""The time allowed for a call to SQS. The keeper subtracts it from a whole timeout and from the twelve hours."""

HELD_TOO_LONG = "HeldForTwelveHours"
"""The daemon's error code for a message that SQS cannot hide longer. SQS sends none, because no call is made."""


class VisibilityKeeper:
    """Keeps the messages of one mapping hidden while they are in hand."""

    def __init__(self, *, mapping: MappingName, source: QueueSource, health: SourceHealth, emit: Emit) -> None:
        self.timeout_in_seconds = self.queue_timeout_in_seconds = TIMEOUT_BEFORE_LOOKUP_IN_SECONDS
        self.deliveries: dict[Delivery, None] = {}
        self._mapping = mapping
        self._source = source
        self._health = health
        self._emit = emit

    @property
    def messages_held(self) -> int:
        return sum(delivery.message_count for delivery in self.deliveries)

    def take(self, delivery: Delivery) -> None:
        self.deliveries[delivery] = None

    def drop(self, delivery: Delivery) -> None:
        """Stop hiding the messages of this delivery."""
        self.deliveries.pop(delivery, None)

    async def run(self) -> None:
        """Hide messages again at each tick, until cancelled. A call that hangs delays only its own messages."""
        async with anyio.create_task_group() as calls:
            while True:
                tick = self.timeout_in_seconds / TICKS_PER_TIMEOUT
                await anyio.sleep(min(LONGEST_TICK_IN_SECONDS, max(SHORTEST_TICK_IN_SECONDS, tick)))
                if due := self._due():
                    calls.start_soon(in_chunks_of_ten, due, self._extend)

    def is_hidden_for(self, messages: Sequence[MessageInHand], seconds: float) -> bool:
        """Return whether all these messages certainly stay hidden for `seconds`.

        Nearly a whole visibility timeout is enough if `seconds` is longer. Nearly every batch passes without a call.
        """
        until = self._until(seconds)
        return all(held.visible_until > until and not held.is_lost for held in messages)

    async def hide_for(self, messages: Sequence[MessageInHand], seconds: float) -> bool:
        """Hide messages again if they may not stay hidden for `seconds`. Return False if that remains uncertain.

        A message that SQS refuses to hide becomes lost; it is not uncertain any more.
        A message is not uncertain either if its call was denied: the daemon has no permission to change visibilities,
        so the present timeout must be enough.
        """
        until = self._until(seconds)
        due = [held for held in messages if held.visible_until <= until and not held.is_lost]
        for held in due:
            held.calls_to_hide += 1
        denied: set[MessageInHand] = set()

        async def extend(some: Sequence[MessageInHand]) -> None:
            if await self._extend(some):
                denied.update(some)

        await in_chunks_of_ten(due, extend)
        return all(held.is_lost or held.visible_until > until or held in denied for held in due)

    def can_be_hidden_for(self, messages: Sequence[MessageInHand], seconds: float) -> bool:
        """Return False if the twelve hours of a message end before `seconds` have passed."""
        until = self._until(seconds)
        return all(held.longest_until - CALL_IN_SECONDS > until for held in messages)

    def _due(self) -> list[MessageInHand]:
        """Return the messages to hide again, because half of their timeout is over.

        A message whose twelve hours are over becomes lost.
        """
        now = anyio.current_time()
        half = now + self.timeout_in_seconds / 2
        due = []
        over = 0
        for delivery in self.deliveries:
            for held in delivery.hidden():
                if held.is_lost or held.calls_to_hide or held.visible_until >= half:
                    continue
                if _is_worth_more(held):
                    held.calls_to_hide += 1
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

    async def _extend(self, asked_for: Sequence[MessageInHand]) -> bool:
        """Hide these messages again, except those that were left to the queue while this call stood in line.

        Return whether the call was denied.
        """
        try:
            due = [held for held in asked_for if not held.is_left]
            return bool(due) and await self._hide(due)
        finally:
            for held in asked_for:
                held.calls_to_hide -= 1

    async def _hide(self, due: Sequence[MessageInHand]) -> bool:
        """Hide these messages again, all for one visibility timeout, or less if the twelve hours of one end before.

        Return whether the call was denied.
        """
        asked_at = anyio.current_time()
        longest = min(held.longest_until for held in due) - asked_at - CALL_IN_SECONDS
        timeout = max(0, min(self.timeout_in_seconds, int(longest)))
        for held in due:
            held.returns_by_itself = False
        try:
            rejected = await self._source.change_visibility([held.message for held in due], timeout_in_seconds=timeout)
        except ServiceError as error:
            self._health.background_failure("ChangeMessageVisibilityBatch", error, retry_in=0.0)
            self._emit(VisibilityChangeFailed(self._mapping, len(due), error.code, False))
            return isinstance(error, AccessDenied)
        self._health.succeeded("ChangeMessageVisibilityBatch")
        by_receipt = {entry.message.receipt_handle: entry for entry in rejected}
        for held in due:
            entry = by_receipt.get(held.message.receipt_handle)
            if entry is None:
                held.visible_until = asked_at + timeout
            elif entry.is_final:
                held.is_lost = True
        left = {held.message.receipt_handle for held in due if held.is_left}
        for entry in rejected:
            if entry.message.receipt_handle not in left:  # a message that was deleted meanwhile need not be hidden
                self._emit(VisibilityChangeFailed(self._mapping, 1, entry.code, entry.is_final))
        if len(due) > len(rejected):
            self._emit(VisibilityExtended(self._mapping, len(due) - len(rejected)))
        return False


def _is_worth_more(held: MessageInHand) -> bool:
    """Return whether the twelve hours leave time to hide the message again."""
    return held.longest_until - held.visible_until >= 2 * CALL_IN_SECONDS
