"""How do messages in hand stay hidden in the queue?

A message in hand belongs to a `Delivery`, from its receive until it is deleted or returned to the queue.
When half of a message's visibility timeout is over, the keeper extends it by ChangeMessageVisibility for a whole
timeout. One call extends ten messages:

    asked ──(long poll, answer)── received ────── half ──────── timeout
      └ hidden_until is counted from here: SQS      └ hidden again: a new timeout begins
        may have taken the message as early as that

So `hidden_until` is never later than the time at which SQS makes the message visible.
Before an invocation, `hide_for` extends the timeouts that may be too short.
If SQS rejects the extension of a message, the message is lost: the function is not invoked with it.
A call that fails is repeated at the next tick, and delays no other call.
SQS hides a message for at most twelve hours in all. Then the message becomes visible, even if its function still runs,
and the log says so.

Source: Amazon SQS API Reference, "ChangeMessageVisibility".
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from poller.core.queues.delivery import Delivery
from poller.core.queues.in_hand import MessageInHand
from poller.core.queues.visibility import CALL_IN_SECONDS
from poller.engine.queues.chunks import in_chunks_of_ten
from poller.engine.source_health import SourceHealth
from poller.errors import AccessDenied, ServiceError
from poller.facts import Emit, VisibilityChangeFailed, VisibilityExtended
from poller.model.ids import MappingName
from poller.ports import QueueSource

TIMEOUT_BEFORE_LOOKUP_IN_SECONDS = 30
"""SQS's default visibility timeout. The lookup replaces it by the queue's own before the first receive."""

TICKS_PER_TIMEOUT = 8
SHORTEST_TICK_IN_SECONDS = 0.1
LONGEST_TICK_IN_SECONDS = 15.0
HELD_TOO_LONG = "HeldForTwelveHours"
"""The error code in the log for a message whose twelve hours are over.

SQS has no such code. The daemon makes no call in this case.
"""


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

    def oldest_age(self, now: float) -> float | None:
        """Return the age of the oldest message that is kept hidden, in seconds, or None without one.

        `now` is in epoch seconds of the source's clock.
        """
        sent_at = min((held.message.sent_at for each in self.deliveries for held in each.hidden()), default=None)
        return None if sent_at is None else max(0.0, now - sent_at)

    def take(self, delivery: Delivery) -> None:
        self.deliveries[delivery] = None

    def drop(self, delivery: Delivery) -> None:
        """Do not extend the timeouts of this delivery's messages any more."""
        self.deliveries.pop(delivery, None)

    async def run(self) -> None:
        """Extend the timeouts that are half over, at each tick, until cancelled.

        A call that hangs delays only its own messages.
        """
        async with anyio.create_task_group() as calls:
            while True:
                tick = self.timeout_in_seconds / TICKS_PER_TIMEOUT
                await anyio.sleep(min(LONGEST_TICK_IN_SECONDS, max(SHORTEST_TICK_IN_SECONDS, tick)))
                if due := self._due():
                    calls.start_soon(in_chunks_of_ten, due, self._extend)

    def is_hidden_for(self, messages: Sequence[MessageInHand], seconds: float) -> bool:
        """Return whether all these messages certainly stay hidden for `seconds`.

        If `seconds` is longer than a visibility timeout, nearly a whole timeout is enough. Most batches need no call.
        """
        until = self._until(seconds)
        return all(held.hidden_until > until and not held.is_lost for held in messages)

    async def hide_for(self, messages: Sequence[MessageInHand], seconds: float) -> bool:
        """Extend the timeouts of messages that may not stay hidden for `seconds`. Return False if a call has failed.

        If SQS rejects a message, the message becomes lost, and does not count as a failure.
        If the daemon has no permission for the call, this does not count as a failure either: the present timeout must
        be enough.
        """
        until = self._until(seconds)
        due = [held for held in messages if held.hidden_until <= until and not held.is_lost]
        for held in due:
            held.calls_to_hide += 1
        denied: set[MessageInHand] = set()

        async def extend(some: Sequence[MessageInHand]) -> None:
            if await self._extend(some):
                denied.update(some)

        await in_chunks_of_ten(due, extend)
        return all(held.is_lost or held.hidden_until > until or held in denied for held in due)

    def can_be_hidden_for(self, messages: Sequence[MessageInHand], seconds: float) -> bool:
        """Return whether SQS's limit of twelve hours allows all these messages to stay hidden for `seconds`."""
        until = self._until(seconds)
        return all(held.longest_until - CALL_IN_SECONDS > until for held in messages)

    def _due(self) -> list[MessageInHand]:
        """Return the messages whose timeout must be extended, because half of it is over.

        A message that SQS has hidden for twelve hours becomes lost.
        """
        now = anyio.current_time()
        half = now + self.timeout_in_seconds / 2
        due = []
        over = 0
        for delivery in self.deliveries:
            for held in delivery.hidden():
                if held.is_lost or held.calls_to_hide or held.hidden_until >= half:
                    continue
                if _is_worth_more(held):
                    held.calls_to_hide += 1
                    due.append(held)
                elif held.hidden_until <= now:
                    held.is_lost = True
                    over += 1
        if over:
            self._emit(VisibilityChangeFailed(self._mapping, over, HELD_TOO_LONG, True))
        return due

    def _until(self, seconds: float) -> float:
        timeout = self.timeout_in_seconds
        return anyio.current_time() + min(seconds, timeout - min(CALL_IN_SECONDS, timeout / 10))

    async def _extend(self, asked_for: Sequence[MessageInHand]) -> bool:
        """Extend the timeouts of those messages that still have to stay hidden. Return whether AWS denied the call."""
        try:
            due = [held for held in asked_for if not held.is_left]
            return bool(due) and await self._hide(due)
        finally:
            for held in asked_for:
                held.calls_to_hide -= 1

    async def _hide(self, due: Sequence[MessageInHand]) -> bool:
        """Hide these messages for one visibility timeout from now. Return whether AWS denied the call.

        The time is shorter for a message that SQS cannot hide for so long, because it hides a message for at most
        twelve hours in all.
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
                held.hidden_until = asked_at + timeout
            elif entry.is_final:
                held.is_lost = True
        left = {held.message.receipt_handle for held in due if held.is_left}
        for entry in rejected:
            if entry.message.receipt_handle not in left:  # a deleted message need not be hidden
                self._emit(VisibilityChangeFailed(self._mapping, 1, entry.code, entry.is_final))
        if len(due) > len(rejected):
            self._emit(VisibilityExtended(self._mapping, len(due) - len(rejected)))
        return False


def _is_worth_more(held: MessageInHand) -> bool:
    """Return whether SQS's limit of twelve hours allows the message to be hidden for longer."""
    return held.longest_until - held.hidden_until >= 2 * CALL_IN_SECONDS
