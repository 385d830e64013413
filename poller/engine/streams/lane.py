"""How are the records of one lane delivered?  gather ── invoke ── interpret ── (retry | bisect | discard) ── done.

A lane has one batch at a time. While the batch fails, the lane is blocked, and the other lanes continue.
`gathering.py` forms the batches. `core/streams/retry.py` decides the next step, and the lane executes it:

    Invoke    wait until the function's concurrency allows it, then invoke the function, if the lease still allows it
    Wait      sleep, at most until the stop; after a stop the records are read again at the next start
    Settle    the records are done
    Discard   report the records (`discarding.py`); then they are done. While the destination fails, the lane is blocked

A person may order the next step of a batch that blocks the lane (`order`).

In a tumbling window (`window.py`) a batch has records of one window only, and each event contains the window's state.
The lane reports finished records together with the window after them, so that both are stored in one step: a restart
neither loses nor repeats a state.  A window's last invocation is a delivery without records.

Sources: AWS Lambda Developer Guide, "Batching behavior", "Retaining discarded batch records for a Kinesis Data Streams
event source in Lambda", and "Configuring Kinesis Data Streams for stateful processing".
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import assert_never
from zlib import crc32

import anyio

from poller.core.outcome import from_the_first
from poller.core.streams.retry import ITEM_FAILURES, Attempts, Delivery, Discard, Invoke, RetryPolicy, Settle, Wait
from poller.engine.leases.lease import Lease
from poller.engine.stop import Stop
from poller.engine.streams.blocking import LaneBlock, ends_of
from poller.engine.streams.discarding import Discarding
from poller.engine.streams.gathering import LaneGathering
from poller.engine.streams.in_hand import LaneInHand, Records
from poller.engine.streams.window import LaneWindow
from poller.facts import BatchBisected, BatchRetried, Emit
from poller.functions.opened import Contents, Invoked, OpenFunction
from poller.functions.telling import Invocations
from poller.model.ids import RequestId
from poller.model.invocation import FunctionError, Invocation
from poller.model.mapping import StreamMapping
from poller.model.order import ACTIONS, Action, Ends
from poller.model.outcome import Failed, Oversized, PartlyFailed, Postponed
from poller.model.status import BlockedShard, LaneStatus
from poller.model.stream import SequenceNumber, ShardId, StreamRecord, Window
from poller.ports import Clock, Destination, SourceClock

Finished = Callable[[Records, Window | None], None]
"""A callback. It gets records that are done, and the tumbling window that is open after them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneContext:
    """The things that all lanes of a mapping share. The lanes of one shard have a `stop` of their own.

    Without a `destination`, discarded records are only counted and logged.
    """

    mapping: StreamMapping
    function: OpenFunction
    invocations: Invocations
    destination: Destination | None
    clock: Clock
    source_clock: SourceClock
    randomness: random.Random
    new_request_id: Callable[[], RequestId]
    emit: Emit
    stop: Stop


class Lane:
    """One lane of one shard. It calls `finished` with the records that are done, in order, each record once.

    Each invocation carries the token of the `lease`.
    `in_hand` are the records of the lane. It runs only while it has their turn.
    `window` is the tumbling window that is open where the lane begins.
    """

    def __init__(
        self,
        context: LaneContext,
        shard_id: ShardId,
        lease: Lease,
        in_hand: LaneInHand,
        finished: Finished,
        *,
        window: Window | None = None,
    ) -> None:
        self.is_invoking = False
        self._context = context
        self._shard_id = shard_id
        self._lease = lease
        self._in_hand = in_hand
        self._finished = finished
        self._policy = RetryPolicy.of(context.mapping)
        self._delivery: Delivery[StreamRecord] | None = None
        """The batch that an order may concern. None while discarded records are reported."""
        self._window = LaneWindow(context.mapping, shard_id, window)
        self._gathering = LaneGathering(
            context.mapping,
            in_hand,
            self._window,
            lease,
            event_limit=context.function.event_limit,
            source_clock=context.source_clock,
            stop=context.stop,
        )
        self._block = LaneBlock(
            lease,
            mapping=context.mapping.name,
            shard_id=shard_id,
            stop=context.stop,
            clock=context.clock,
            emit=context.emit,
        )
        self._discarding = Discarding(
            mapping=context.mapping,
            function=context.function.definition,
            shard_id=shard_id,
            destination=context.destination,
            block=self._block,
            source_clock=context.source_clock,
            randomness=context.randomness,
            emit=context.emit,
        )

    @property
    def blocked(self) -> BlockedShard | None:
        """Return why the lane is blocked, or None if it is not."""
        return self._block.blocked

    @property
    def oldest(self) -> StreamRecord | None:
        """Return the first record of the lane that is not done, or None."""
        return self._in_hand.oldest

    def status(self, number: int) -> LaneStatus:
        """Return the status of this lane. `number` is its number, from 1."""
        records = self._in_hand.records_in_hand
        if (blocked := self.blocked) is None:
            return LaneStatus(number, records, self._in_hand.is_invoking)
        is_function_error = blocked.is_function_error
        return LaneStatus(
            number, records, self.is_invoking, blocked.reason, blocked.attempt, blocked.next_try, is_function_error
        )

    def is_blocked_by(self, ends: Ends) -> bool:
        """Return whether the lane is blocked now by the records with these ends."""
        if self.blocked is None:
            return False
        return ends == (self.blocked.ends if self._delivery is None else ends_of(self._delivery.tried))

    def order(self, action: Action) -> str | None:
        """Execute a person's order about the records that block the lane. Return why it is refused, or None."""
        assert self.blocked is not None, "the lane is not blocked"
        if self._delivery is None:
            if action != "retry":
                return "the records are discarded already, and their destination has not accepted the invocation record"
        elif (denial := self._delivery.denial(action)) is not None:
            return denial
        else:
            self._delivery.order(action)
        self._block.go_on()
        return None

    def put(self, records: Records) -> None:
        self._gathering.put(records)

    def no_room(self) -> None:
        """Deliver pending records without waiting for more, because no more records come until some are done."""
        self._gathering.no_room()

    def caught_up(self, at: float) -> None:
        """Note that this lane has all its records that arrived before `at` (epoch seconds of the source's clock)."""
        self._gathering.caught_up(at)

    def close(self) -> None:
        """Deliver pending records without waiting for more.

        Then end the lane, because the shard has no more records.
        """
        self._gathering.close()

    async def run(self) -> None:
        """Deliver batches until the lane is closed and empty, or the stop begins."""
        while (batch := await self._gathering.batch()) is not None:
            if not await self._deliver(batch):
                return

    async def _deliver(self, batch: Records) -> bool:
        """Deliver the batch until all its records are done. Return False if the stop begins before that."""
        clock = self._context.source_clock
        delivery = Delivery(
            batch,
            policy=self._policy,
            new_request_id=self._context.new_request_id,
            randomness=self._context.randomness,
            now=clock.now(),
            room_in_bytes=self._window.room_in_bytes,
            before=self._attempts_before(batch) if self._lease.blocks else None,
        )
        while (step := delivery.step(clock.now())) is not None:
            self._delivery = None if isinstance(step, Discard) else delivery
            match step:
                case Invoke():
                    if not await self._invoke(delivery, step):
                        return False
                case Wait():
                    self._note_block(delivery)
                    actions = tuple(action for action in ACTIONS if delivery.denial(action) is None)
                    if not await self._block.wait(step, delivery.tried, attempt=delivery.attempts, actions=actions):
                        return False
                case Settle(records=records, response=response):
                    self._window.settled(records, response)
                    self._done(records)
                    if self._window.must_end_early and not await self._deliver(()):
                        return False
                case Discard(records=records):
                    if not await self._report(step):
                        return False
                    self._window.discarded(records)
                    self._done(records)
                case _:
                    assert_never(step)
        return True

    def _attempts_before(self, batch: Records) -> Attempts | None:
        """Return the attempts that another worker, or another run, has made with the same batch (gathering.py)."""
        block = self._lease.blocks.get(_first(batch))
        is_same = block is not None and block.records == len(batch) and block.checksum in (None, _checksum(batch))
        return Attempts(block.attempts, block.request_id) if block is not None and is_same else None

    def _note_block(self, delivery: Delivery[StreamRecord]) -> None:
        attempts, records = delivery.made, delivery.tried
        assert attempts is not None, "no wait follows the last record"
        first, at = _first(records), self._context.clock.now()
        self._lease.block(
            first,
            len(records),
            attempts=attempts.number,
            request_id=attempts.request_id,
            at=at,
            checksum=_checksum(records),
        )

    def _done(self, records: Records) -> None:
        self._block.end()
        if self._lease.blocks:
            self._lease.blocks.pop(_first(records), None)
            self._lease.blocks.pop(None, None)
        self._in_hand.done(len(records))
        self._finished(records, self._window.open)

    async def _invoke(self, delivery: Delivery[StreamRecord], step: Invoke[StreamRecord]) -> bool:
        """Invoke the function for this step, and tell the delivery the outcome.

        Return False if the stop begins before the invocation, or if the lease is over. In the second case, the reader
        of the shard is soon cancelled.

        The function is not invoked if the first record has become too old during the wait for the function, or if a
        person has ordered another step meanwhile.
        """
        context = self._context
        async with context.function.gate.slot(unless=context.stop.draining) as has_slot:
            if not (has_slot and self._lease.may_begin()):  # the wait for the slot may have been long
                return False
            if delivery.withdraw_if_void(context.source_clock.now()):
                return True
            invoked = await self._call_function(step)
        invoked = self._interpret(invoked, step.records)
        is_bisected = delivery.answered(invoked.outcome, invoked.response, now=context.source_clock.now())
        pause = delivery.pause
        self._block.is_function_error = isinstance(invoked.response, FunctionError)
        context.invocations.ended(invoked, retry_in=pause.seconds if pause is not None else None)
        if isinstance(invoked.outcome, Postponed | Oversized):
            return True
        count = len(step.records)
        mapping, shard = context.mapping.name, self._shard_id
        if is_bisected:
            reason = invoked.outcome.reason if isinstance(invoked.outcome, Failed) else ITEM_FAILURES
            context.emit(BatchBisected(mapping, shard, count, reason))
        elif pause is not None:
            context.emit(BatchRetried(mapping, shard, count, step.attempt, pause.reason, pause.seconds))
        return True

    async def _call_function(self, step: Invoke[StreamRecord]) -> Invoked:
        context, records = self._context, step.records
        payload = self._window.event(records)  # not earlier: the event is a second copy of the records
        contents = Contents(
            records=len(records),
            identifiers=map(attrgetter("sequence_number"), records),
            reports_item_failures=context.mapping.report_batch_item_failures,
            is_strict=context.mapping.strict_response,
            oldest_age_in_seconds=max(0.0, context.source_clock.now() - records[0].arrived_at) if records else 0.0,
            empty_event_bytes=self._window.empty_event_bytes,
        )
        invocation = Invocation(
            step.request_id,
            payload,
            context.mapping.name,
            step.attempt,
            shard_id=self._shard_id,
            fencing_token=self._lease.token,
        )
        self.is_invoking = self._in_hand.is_invoking = True
        try:
            return await context.function.invoke(invocation, contents, began_at=anyio.current_time())
        except BaseException:  # the time when the function began is unknown: its call may have waited for an emulator
            self._in_hand.may_run_until = anyio.current_time() + context.function.definition.timeout_in_seconds
            raise
        finally:
            self.is_invoking = self._in_hand.is_invoking = False

    def _interpret(self, invoked: Invoked, records: Records) -> Invoked:
        """Adjust the outcome to a stream: records after the first failed one fail, too.

        An answer in a tumbling window without a state is a failure.
        """
        outcome = invoked.outcome
        if isinstance(outcome, PartlyFailed):
            outcome = from_the_first(outcome, [record.sequence_number for record in records])
        outcome = self._window.interpret(outcome, invoked.response, records)
        return invoked if outcome is invoked.outcome else invoked._replace(outcome=outcome)

    async def _report(self, discard: Discard[StreamRecord]) -> bool:
        """Report discarded records until they count as done, and return True.

        Return False if the stop begins before that.
        """
        records = discard.records
        return await self._discarding.report(
            discard, event=self._window.event(records), window_call=self._window.call(records)
        )


def _checksum(records: Records) -> int:
    """Return a number that tells batches of different records apart."""
    return crc32(" ".join([record.sequence_number for record in records]).encode())


def _first(records: Records) -> SequenceNumber | None:
    return records[0].sequence_number if records else None
