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
from poller.core.outcome import interpret, unheeded_failures
from poller.engine.queues.in_hand import BatchInHand
from poller.engine.queues.visibility import HELD_TOO_LONG, VisibilityKeeper
from poller.engine.reporting import batch_invoked
from poller.engine.stop import Stop
from poller.facts import (
    BatchItemFailuresIgnored,
    Emit,
    EventTooLarge,
    InvocationPostponed,
    ReceiptsExpired,
    VisibilityChangeFailed,
)
from poller.functions.health import FunctionHealth
from poller.functions.opened import OpenFunction
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
    function_health: FunctionHealth
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
            async with self.function.gate:
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
                    outcome = await self._attempt(batch, request_id, attempt)
            if not is_hidden:
                doubts += 1
                await anyio.sleep(POSTPONED.delay(doubts, self.randomness))
                continue
            if not isinstance(outcome, Postponed):
                return outcome
            on_postponed()
            if not await self._wait(batch, outcome, attempt):
                return None

    async def _attempt(self, batch: BatchInHand, request_id: RequestId, attempt: int) -> Outcome:
        held = batch.messages
        payload = envelope.event([one.encoded for one in held])
        oldest_age = max(0.0, self.source_clock.now() - min(one.message.sent_at for one in held))
        batch.phase = "running"
        began = anyio.current_time()
        batch.running_until = began + self.function.definition.timeout_in_seconds
        invocation = Invocation(request_id, payload, self.mapping.name, attempt)
        response = await self.function.target.invoke(invocation)
        duration = anyio.current_time() - began
        outcome = interpret(
            response,
            identifiers={one.message.message_id for one in held},
            reports_item_failures=self.mapping.report_batch_item_failures,
            event=payload,
        )
        if isinstance(outcome, Postponed):
            batch.phase = "waiting"
        elif isinstance(outcome, Oversized):
            batch.phase = "waiting"
            self._learn_limit(outcome, batch, len(payload))
        else:
            self.function_health.answered(response, retry_in=None)
            self.emit(
                batch_invoked(
                    invocation,
                    self.function.definition,
                    response,
                    outcome,
                    records=len(held),
                    duration=duration,
                    oldest_age=oldest_age,
                )
            )
            reports = self.mapping.report_batch_item_failures
            if (advice := unheeded_failures(response, reports_item_failures=reports)) is not None:
                self.emit(BatchItemFailuresIgnored(self.mapping.name, self.mapping.function_name, advice))
        return outcome

    def _learn_limit(self, outcome: Oversized, batch: BatchInHand, event_bytes: int) -> None:
        self.function.event_limit.refused(event_bytes, empty_bytes=EMPTY_EVENT_BYTES, now=anyio.current_time())
        self.emit(
            EventTooLarge(
                self.mapping.name, self.mapping.function_name, len(batch.messages), event_bytes, outcome.reason
            )
        )

    async def _wait(self, batch: BatchInHand, outcome: Postponed, attempt: int) -> bool:
        """Wait before the next try; false when the daemon stops meanwhile."""
        delay = at_least(outcome.retry_after, POSTPONED.delay(attempt, self.randomness))
        self.emit(
            InvocationPostponed(
                self.mapping.name,
                self.mapping.function_name,
                len(batch.messages),
                attempt,
                outcome.reason,
                delay,
                outcome.is_throttle,
                outcome.detail,
            )
        )
        self.function_health.postponed(outcome, retry_in=delay)
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
