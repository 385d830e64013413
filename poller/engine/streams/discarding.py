"""How are discarded records reported?

The notice is offered to the destination until it is taken; while the destination refuses, the lane stands still, unless
the mapping says that a report may get lost.  Without a destination, records are dropped, and that is counted.

Source: AWS Lambda Developer Guide, "Retaining discarded batch records for a Kinesis Data Streams event source in
Lambda".
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from uuid import uuid4

from poller.core.backoff import SOURCE
from poller.core.invocation_record import DiscardedBatch, Notice, WindowCall
from poller.core.streams.retry import Discard, R, Wait
from poller.engine.streams.blocking import Standstill, ends_of
from poller.errors import LASTING, ServiceError
from poller.facts import NoticeDelivered, NoticeRefused, Record, RecordsDropped
from poller.model.function import Function
from poller.model.mapping import StreamMapping
from poller.model.stream import ShardId
from poller.ports import Destination, SourceClock

TRIES_BEFORE_DROPPING = 3
"""How often a report that may get lost is offered while the destination is throttled or does not answer; AWS does not
say how often it tries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discarding:
    """Reports the discarded batches of one lane. `destination` is None if they are reported nowhere.

    `source_clock` dates the failure record, because the source dates the records that it names.
    """

    mapping: StreamMapping
    function: Function
    shard_id: ShardId
    destination: Destination | None
    standstill: Standstill
    source_clock: SourceClock
    luck: random.Random
    record: Record

    async def report(self, discard: Discard[R], *, event: bytes, window_call: WindowCall | None) -> bool:
        """Returns once the destination has it, or the records are dropped; false when the daemon stops first.

        `event` is the invocation's, whether or not it took place.
        """
        name, on_failure, count = self.mapping.name, self.mapping.on_failure, len(discard.records)
        where = (self.shard_id, *ends_of(discard.records))
        if self.destination is None or on_failure is None:
            self.record(RecordsDropped(name, count, discard.condition, *where))
            return True
        notice = self._notice(discard, event, window_call)
        failures = 0
        while True:
            try:
                await self.destination.deliver(notice)
            except ServiceError as error:
                failures += 1
                gives_up = isinstance(error, LASTING) or failures == TRIES_BEFORE_DROPPING
                is_dropped = on_failure.if_unreachable == "drop" and gives_up
                retry_in = None if is_dropped else SOURCE.delay(failures, self.luck)
                at = str(on_failure.destination_arn)
                self.record(NoticeRefused(name, count, error.code, str(error), retry_in, self.shard_id, at))
                if retry_in is None:
                    self.record(RecordsDropped(name, count, discard.condition, *where))
                    return True
                wait = Wait(retry_in, f"destination: {error.code}", f"{at}: {error}")
                if not await self.standstill.wait(wait, discard.records):
                    return False
                continue
            self.record(NoticeDelivered(name, count, discard.condition, *where))
            return True

    def _notice(self, discard: Discard[R], event: bytes, window_call: WindowCall | None) -> Notice:
        batch = DiscardedBatch(
            request_id=discard.request_id,
            function_arn=str(self.function.arn),
            condition=discard.condition,
            invoke_count=discard.invoke_count,
            response=discard.response,
            at=self.source_clock.now(),
            is_kinesis=self.mapping.is_kinesis,
            shard_id=self.shard_id,
            stream_arn=str(self.mapping.event_source_arn),
            records=discard.records,
            window_call=window_call,
        )
        return Notice(batch, event, notice_id=uuid4())
