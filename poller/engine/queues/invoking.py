"""How is a batch invoked? Once; while the function refuses it, again, unchanged.

    in line at the gate -> still hidden? -> invoke -> interpret -+-> outcome
         ^                      └ not sure                       |
         └─────────────────────────┴── wait <────────────────────┴ postponed

A batch that is too large for the function comes back at once, to be delivered as two halves (`delivering.py`).
A batch that is postponed stays in hand: its messages are kept hidden, and their receive count does not grow.
Message groups are invoked only while they stay hidden for as long as the function may run, as near as the visibility
timeout allows: so a crash cannot make one message group run twice at once.
A waiting batch does not use up concurrency.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from poller.core import envelope
from poller.core.backoff import POSTPONED, at_least
from poller.core.batching import EMPTY_EVENT_BYTES
from poller.engine.queues.in_hand import BatchInHand
from poller.engine.queues.visibility import HELD_TOO_LONG, VisibilityKeeper
from poller.engine.stop import Stop
from poller.facts import Emit, ReceiptsExpired, VisibilityChangeFailed
from poller.functions.opened import Contents, OpenFunction
from poller.functions.telling import Invocations
from poller.model.ids import RequestId
from poller.model.invocation import Invocation
from poller.model.mapping import QueueMapping
from poller.model.outcome import Outcome, Oversized, Postponed
from poller.ports import SourceClock


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoker:
    """Invokes one mapping's function."""

    mapping: QueueMapping
    function: OpenFunction
    invocations: Invocations
    keeper: VisibilityKeeper
    source_clock: SourceClock
    randomness: random.Random
    new_request_id: Callable[[], RequestId]
    emit: Emit
    stop: Stop

    async def invoke(self, batch: BatchInHand, *, on_postponed: Callable[[], None]) -> Outcome | None:
        """Invoke the batch until the function takes it; the batch then has the messages that were invoked.

        None if no outcome is possible: every receipt expired, SQS cannot hide a message for another whole run of the
        function, or the daemon stops before the function takes the batch.
        `on_postponed` is called for each refusal, and when messages expire: both mean too many batches at once.
        """
        request_id = self.new_request_id()
        seconds = self.function.definition.timeout_in_seconds if self.mapping.is_fifo else 0.0
        attempt = 0
        doubts = 0
        batch.phase = "waiting"
        while True:
            async with self.function.gate.slot(unless=self.stop.draining) as has_slot:
                if not has_slot:
                    return None
                is_hidden = self.keeper.is_hidden_for(batch, seconds)
                if not is_hidden:
                    is_hidden = await self.keeper.hide_for(batch, seconds)
                    if self._drop_expired(batch):
                        on_postponed()
                if not batch.messages or self.stop.has_begun:
                    return None
                if not is_hidden and not self.keeper.can_be_hidden_for(batch, seconds):
                    self.emit(VisibilityChangeFailed(self.mapping.name, len(batch.messages), HELD_TOO_LONG, True))
                    return None
                if is_hidden:
                    attempt += 1
                    outcome, retry_in = await self._attempt(batch, request_id, attempt)
            if not is_hidden:
                doubts += 1
                await anyio.sleep(POSTPONED.delay(doubts, self.randomness))
                continue
            if retry_in is None:
                return outcome
            on_postponed()
            if not await self._wait(retry_in):
                return None

    async def _attempt(self, batch: BatchInHand, request_id: RequestId, attempt: int) -> tuple[Outcome, float | None]:
        """Returns the outcome, and in how many seconds the batch is invoked again; None if not."""
        held = batch.messages
        contents = Contents(
            records=len(held),
            identifiers=(one.message.message_id for one in held),
            reports_item_failures=self.mapping.report_batch_item_failures,
            oldest_age_in_seconds=max(0.0, self.source_clock.now() - min(one.message.sent_at for one in held)),
            empty_event_bytes=EMPTY_EVENT_BYTES,
        )
        payload = envelope.event([one.encoded for one in held])
        batch.phase = "running"
        batch.running_until = anyio.current_time() + self.function.definition.timeout_in_seconds
        invoked = await self.function.invoke(Invocation(request_id, payload, self.mapping.name, attempt), contents)
        outcome = invoked.outcome
        if isinstance(outcome, Postponed | Oversized):
            batch.phase = "waiting"
        retry_in = None
        if isinstance(outcome, Postponed):
            retry_in = at_least(outcome.retry_after, POSTPONED.delay(attempt, self.randomness))
        self.invocations.ended(invoked, retry_in=retry_in)
        return outcome, retry_in

    async def _wait(self, delay: float) -> bool:
        """Wait before the next try; false when the daemon stops meanwhile."""
        with anyio.move_on_after(delay):
            await self.stop.draining.wait()
        return not self.stop.has_begun

    def _drop_expired(self, batch: BatchInHand) -> int:
        """Remove the messages that are visible again; returns how many."""
        live = batch.live(anyio.current_time())
        expired = len(batch.messages) - len(live)
        if expired:
            self.emit(ReceiptsExpired(self.mapping.name, expired))
            batch.messages = live
        return expired
