"""How is a function invoked with one batch?  wait ── hide the messages again ── build the event ── invoke ── outcome.

The function does not get a message that may have become visible in the queue again.
It gets messages of a FIFO queue only if they certainly stay hidden until the function has ended or timed out.
Otherwise, after a crash of the daemon, two invocations could have the same message group at once.
SQS hides a message for twelve hours at most. If the function may run for so long, nearly a whole visibility timeout is
enough.
A batch that waits for the function's concurrency does not use it up, and stops waiting at a stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import anyio

from poller.core import envelope
from poller.core.batching import EMPTY_EVENT_BYTES
from poller.core.queues.delivery import Delivery, Invoke
from poller.core.queues.scaling import Concurrency
from poller.core.queues.visibility import SECONDS_TO_BEGIN
from poller.engine.queues.permits import Permits
from poller.engine.queues.visibility import HELD_TOO_LONG, VisibilityKeeper
from poller.engine.stop import Stop
from poller.facts import Emit, ReceiptsExpired, VisibilityChangeFailed
from poller.functions.opened import Contents, Invoked, OpenFunction
from poller.functions.telling import Invocations
from poller.functions.units import Units
from poller.model.invocation import Invocation
from poller.model.mapping import QueueMapping
from poller.model.outcome import Failed, Outcome, Oversized, PartlyFailed, Postponed, Succeeded
from poller.ports import SourceClock


class Feedback:
    """Raises or lowers the mapping's concurrency, depending on how the batches of one delivery end."""

    def __init__(self, concurrency: Concurrency, permits: Permits) -> None:
        self._concurrency = concurrency
        self._permits = permits
        self._begun = concurrency.begin()

    def ended(self, outcome: Outcome) -> None:
        match outcome:
            case Succeeded() | PartlyFailed():
                self._concurrency.succeeded()
            case Failed() | Postponed():
                self.overloaded()
            case Oversized():
                pass
            case _:
                assert_never(outcome)

    def overloaded(self) -> None:
        """Lower the concurrency, unless a batch that ran at the same time has lowered it already."""
        self._concurrency.failed(self._begun, in_use=self._permits.batches_in_hand)
        self._begun = self._concurrency.begin()


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoker:
    """Invokes one mapping's function.

    `units` are those of the mapping's `maximum_concurrency`; None if no other worker shares it.
    """

    mapping: QueueMapping
    function: OpenFunction
    invocations: Invocations
    concurrency: Concurrency
    permits: Permits
    units: Units | None
    keeper: VisibilityKeeper
    source_clock: SourceClock
    emit: Emit
    stop: Stop

    def feedback(self) -> Feedback:
        """Return the `Feedback` for a delivery that begins now."""
        return Feedback(self.concurrency, self.permits)

    async def invoke(self, delivery: Delivery, step: Invoke, feedback: Feedback) -> bool:
        """Invoke the function with the delivery's next batch, and tell the delivery the outcome.

        Return False if the stop began before the invocation.
        If the messages may not stay hidden for long enough, the function is not invoked. The delivery decides what
        follows.
        """
        async with self.function.gate.slot(unless=self.stop.draining) as has_slot:
            if not has_slot:
                return False
            if not self.keeper.is_hidden_for(delivery.messages, self._seconds_to_hide):
                is_hidden = await self._hide(delivery, feedback)
                if self.stop.has_begun:
                    return False
                if not is_hidden:
                    return True
            invoked = await self._call_function(delivery, step)
        now = anyio.current_time()
        delivery.answered(invoked.outcome, now=now, may_run_until=now + self._timeout_in_seconds)
        self.invocations.ended(invoked, retry_in=delivery.pause)
        feedback.ended(invoked.outcome)
        return True

    @property
    def _seconds_to_hide(self) -> float:
        """Return how many seconds a batch must stay hidden from the start of its invocation."""
        return SECONDS_TO_BEGIN + self._timeout_in_seconds if self.mapping.is_fifo else 0.0

    @property
    def _timeout_in_seconds(self) -> float:
        return self.function.definition.timeout_in_seconds

    async def _hide(self, delivery: Delivery, feedback: Feedback) -> bool:
        """Hide the batch again.

        Return False if the function must not be invoked with it now; the delivery decides what follows.
        """
        seconds = self._seconds_to_hide
        is_hidden = await self.keeper.hide_for(delivery.messages, seconds)
        now = anyio.current_time()
        if expired := delivery.drop_lost(now):
            waited = now - min(held.asked_at for held in expired)
            self.emit(ReceiptsExpired(self.mapping.name, self.mapping.function_name, len(expired), waited))
            feedback.overloaded()
        messages = delivery.messages
        if is_hidden or not messages:
            return bool(messages)
        if self.keeper.can_be_hidden_for(messages, seconds):
            delivery.doubt()
        else:
            self.emit(VisibilityChangeFailed(self.mapping.name, len(messages), HELD_TOO_LONG, True))
            delivery.withdraw()
        return False

    async def _call_function(self, delivery: Delivery, step: Invoke) -> Invoked:
        messages = delivery.messages
        payload = envelope.event([held.encoded for held in messages])
        contents = Contents(
            records=len(messages),
            identifiers=(held.message.message_id for held in messages),
            reports_item_failures=self.mapping.report_batch_item_failures,
            is_strict=self.mapping.strict_response,
            oldest_age_in_seconds=max(0.0, self.source_clock.now() - min(held.message.sent_at for held in messages)),
            empty_event_bytes=EMPTY_EVENT_BYTES,
        )
        invocation = Invocation(step.request_id, payload, self.mapping.name, step.attempt)
        delivery.begin()
        return await self.function.invoke(
            invocation, contents, began_at=anyio.current_time(), units_of_mapping=self.units
        )
