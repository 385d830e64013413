"""What becomes of the records of one lane?  gather ── invoke ── interpret ── (again | bisect | discard) ── done.

A lane has one batch at a time; it stands still while that batch fails, and no other lane does.
What becomes of a failed batch is decided in `core/retry.py`; the lane carries the steps out, in order:

    Invoke    in line at the function's gate, then the function
    Wait      sleep; a stop ends it, and what is not done is read again after the next start
    Settle    done
    Discard   reported to the destination first, and only then done; a destination that refuses holds the lane up

Sources: AWS Lambda Developer Guide, "Batching behavior" and "Retaining discarded batch records for a Kinesis Data
Streams event source in Lambda".
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, assert_never
from uuid import uuid4

import anyio

from poller.core import envelope
from poller.core.backoff import SOURCE
from poller.core.batching import BatchBuilder
from poller.core.failure_record import DiscardedBatch, Notice
from poller.core.outcome import interpret
from poller.core.retry import Delivery, Discard, Invoke, RetryPolicy, Settle, Wait
from poller.engine.permits import FunctionGate
from poller.engine.reporting import batch_invoked
from poller.engine.stop import Stop
from poller.errors import ServiceError
from poller.model.function import Function
from poller.model.ids import RequestId
from poller.model.invocation import Invocation
from poller.model.mapping import StreamMapping
from poller.model.outcome import Postponed
from poller.model.stream import SequenceNumber, ShardId
from poller.ports import Clock, Destination, Target
from poller.telemetry.facts import (
    InvocationPostponed,
    NoticeDelivered,
    NoticeRefused,
    Record,
    RecordsDropped,
)


class RecordInHand(NamedTuple):
    """A record that was read and is not done. `encoded` is its JSON."""

    sequence_number: SequenceNumber
    arrived_at: float
    encoded: bytes


Records = Sequence[RecordInHand]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneParts:
    """What all lanes of a mapping share. `destination` is None where discarded records are reported nowhere."""

    mapping: StreamMapping
    function: Function
    target: Target
    gate: FunctionGate
    destination: Destination | None
    clock: Clock
    luck: random.Random
    new_request_id: Callable[[], RequestId]
    record: Record
    stop: Stop


class Lane:
    """One lane of one shard. `finished` is told of the records that are done, each once and in order.

    `blocked_by` is a word for what the lane waits for, None while it does not stand still.
    """

    def __init__(self, parts: LaneParts, shard_id: ShardId, finished: Callable[[Records], None]) -> None:
        self.blocked_by: str | None = None
        self.is_busy = False
        self._parts = parts
        self._shard_id = shard_id
        self._finished = finished
        self._policy = RetryPolicy.of(parts.mapping)
        self._pending: deque[RecordInHand] = deque()
        self._changed = anyio.Event()
        self._is_closed = False

    def put(self, record: RecordInHand) -> None:
        self._pending.append(record)
        self._wake()

    def close(self) -> None:
        """No record comes any more: what is pending is delivered without waiting for more, and the lane ends."""
        self._is_closed = True
        self._wake()

    async def run(self) -> None:
        """Deliver until the lane is closed and empty, or the daemon stops."""
        while (batch := await self._gather()) is not None:
            self.is_busy = True
            try:
                if not await self._deliver(batch):
                    return
            finally:
                self.is_busy = False

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _gather(self) -> Records | None:
        """The next batch; None at the end."""
        window = self._parts.mapping.maximum_batching_window_in_seconds
        builder = BatchBuilder(batch_size=self._parts.mapping.batch_size, window_in_seconds=window)
        batch: list[RecordInHand] = []
        while not self._parts.stop.has_begun:
            now = anyio.current_time()
            while self._pending:
                if not builder.add(len(self._pending[0].encoded), now=now):
                    return batch
                batch.append(self._pending.popleft())
            if batch and (self._is_closed or builder.is_due(now)):
                return batch
            if self._is_closed:
                return None
            with anyio.move_on_after(self._patience(batch, builder, now)):
                await self._changed.wait()
            if batch and self._is_expired(batch[0]):
                return batch
        return None

    def _patience(self, batch: Records, builder: BatchBuilder, now: float) -> float | None:
        """How long to wait for more: to the window's end, or until the head becomes too old."""
        if builder.deadline is None:
            return None
        patience = builder.deadline - now
        expires_at = self._policy.expires_at(batch[0].arrived_at)
        return patience if expires_at is None else min(patience, max(0.0, expires_at - self._parts.clock.now()))

    def _is_expired(self, head: RecordInHand) -> bool:
        expires_at = self._policy.expires_at(head.arrived_at)
        return expires_at is not None and expires_at <= self._parts.clock.now()

    async def _deliver(self, batch: Records) -> bool:
        """See the batch through; false when the daemon stops before all of it is done."""
        clock = self._parts.clock
        delivery = Delivery(
            batch,
            policy=self._policy,
            new_request_id=self._parts.new_request_id,
            luck=self._parts.luck,
            now=clock.now(),
        )
        while (step := delivery.step(clock.now())) is not None:
            match step:
                case Invoke():
                    if not await self._invoke(delivery, step):
                        return False
                case Wait(seconds=seconds, reason=reason):
                    self.blocked_by = reason
                    if not await self._wait(seconds):
                        return False
                case Settle(records=records):
                    self.blocked_by = None
                    self._finished(records)
                case Discard(records=records):
                    if not await self._report(step):
                        return False
                    self.blocked_by = None
                    self._finished(records)
                case _:
                    assert_never(step)
        return True

    async def _invoke(self, delivery: Delivery[RecordInHand], step: Invoke[RecordInHand]) -> bool:
        """False when the daemon stops before the function was asked."""
        parts = self._parts
        payload = envelope.event([record.encoded for record in step.records])
        invocation = Invocation(step.request_id, payload, parts.mapping.name, step.attempt)
        async with parts.gate:
            if parts.stop.has_begun:
                return False
            oldest_age = parts.clock.now() - step.records[0].arrived_at
            began = anyio.current_time()
            response = await parts.target.invoke(invocation)
        duration = anyio.current_time() - began
        outcome = interpret(
            response,
            identifiers={record.sequence_number for record in step.records},
            reports_item_failures=parts.mapping.report_batch_item_failures,
        )
        count = len(step.records)
        if isinstance(outcome, Postponed):
            parts.record(
                InvocationPostponed(
                    parts.mapping.name,
                    parts.function.name,
                    count,
                    step.attempt,
                    outcome.reason,
                    outcome.retry_after or 0.0,
                    outcome.is_throttle,
                )
            )
        else:
            parts.record(
                batch_invoked(
                    invocation,
                    parts.function,
                    response,
                    outcome,
                    records=count,
                    duration=duration,
                    oldest_age=oldest_age,
                )
            )
        delivery.answered(outcome, response, now=parts.clock.now())
        return True

    async def _wait(self, seconds: float) -> bool:
        """False when the daemon stops meanwhile."""
        with anyio.move_on_after(seconds):
            await self._parts.stop.draining.wait()
        return not self._parts.stop.has_begun

    async def _report(self, discard: Discard[RecordInHand]) -> bool:
        """Returns once the destination has it, or the records are dropped; false when the daemon stops first."""
        parts = self._parts
        on_failure, count = parts.mapping.on_failure, len(discard.records)
        if parts.destination is None or on_failure is None:
            parts.record(RecordsDropped(parts.mapping.name, count, discard.condition))
            return True
        notice = self._notice(discard)
        failures = 0
        while True:
            try:
                await parts.destination.deliver(notice)
            except ServiceError as error:
                failures += 1
                is_dropped = on_failure.if_unreachable == "drop"
                retry_in = None if is_dropped else SOURCE.delay(failures, parts.luck)
                parts.record(NoticeRefused(parts.mapping.name, count, error.code, str(error), retry_in))
                if retry_in is None:
                    parts.record(RecordsDropped(parts.mapping.name, count, discard.condition))
                    return True
                self.blocked_by = f"destination: {error.code}"
                if not await self._wait(retry_in):
                    return False
                continue
            parts.record(NoticeDelivered(parts.mapping.name, count, discard.condition))
            return True

    def _notice(self, discard: Discard[RecordInHand]) -> Notice:
        parts = self._parts
        batch = DiscardedBatch(
            request_id=discard.request_id,
            function_arn=str(parts.function.arn),
            condition=discard.condition,
            invoke_count=discard.invoke_count,
            response=discard.response,
            at=parts.clock.now(),
            is_kinesis=parts.mapping.is_kinesis,
            shard_id=self._shard_id,
            stream_arn=str(parts.mapping.event_source_arn),
            records=discard.records,
        )
        event = envelope.event([record.encoded for record in discard.records])
        return Notice(batch, event, notice_id=uuid4())
