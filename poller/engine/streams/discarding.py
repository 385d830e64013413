"""How are discarded records reported?

An invocation record is sent again and again until the destination accepts it. Until then, the lane is blocked.
If the mapping allows the loss of invocation records (`if_unreachable = "drop"`), there are only a few tries.
Without a destination, the records are dropped at once, and the metrics count them.

Source: AWS Lambda Developer Guide, "Retaining discarded batch records for a Kinesis Data Streams event source in
Lambda".
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from uuid import uuid4

from poller.core.backoff import SOURCE
from poller.core.document import Document
from poller.core.invocation_record import DiscardedBatch, WindowCall, document_of
from poller.core.streams.retry import Discard, Wait
from poller.engine.streams.blocking import LaneBlock, ends_of
from poller.errors import LASTING, ServiceError
from poller.facts import DestinationFailed, Emit, InvocationRecordDelivered, RecordsDropped
from poller.model.function import Function
from poller.model.mapping import StreamMapping
from poller.model.stream import ShardId, StreamRecord
from poller.ports import Destination, SourceClock

TRIES_BEFORE_DROPPING = 3
"""How often an invocation record that may be lost is tried, if the destination throttles or does not answer.

After an error that waiting does not solve (`errors.LASTING`), there is no further try.
AWS does not say how often Lambda tries.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discarding:
    """Reports the discarded records of one lane. `destination` is None if the mapping has no destination.

    `source_clock` gives the time in the invocation record, because that clock also dates the stream's records.
    """

    mapping: StreamMapping
    function: Function
    shard_id: ShardId
    destination: Destination | None
    block: LaneBlock
    source_clock: SourceClock
    randomness: random.Random
    emit: Emit

    async def report(self, discard: Discard[StreamRecord], *, event: bytes, window_call: WindowCall | None) -> bool:
        """Send the invocation record until it is delivered or may be dropped. Return False if the stop comes first.

        `event` is the event that an invocation with these records has, even if there was no invocation.
        """
        name, on_failure, count = self.mapping.name, self.mapping.on_failure, len(discard.records)
        where = (self.shard_id, *ends_of(discard.records))
        if self.destination is None or on_failure is None:
            self.emit(RecordsDropped(name, count, discard.condition, *where))
            return True
        document = self._document(discard, event, window_call)
        at = str(on_failure.destination_arn)
        failures = 0
        while True:
            try:
                await self.destination.deliver(document)
            except ServiceError as error:
                failures += 1
                gives_up = isinstance(error, LASTING) or failures == TRIES_BEFORE_DROPPING
                is_dropped = on_failure.if_unreachable == "drop" and gives_up
                retry_in = None if is_dropped else SOURCE.delay(failures, self.randomness)
                self.emit(
                    DestinationFailed(name, count, error.code, str(error), is_dropped, retry_in, self.shard_id, at)
                )
                if retry_in is None:
                    self.emit(RecordsDropped(name, count, discard.condition, *where))
                    return True
                wait = Wait(retry_in, f"destination: {error.code}", f"{at}: {error}")
                self.block.is_function_error = False
                if not await self.block.wait(wait, discard.records, attempt=failures, actions=("retry",)):
                    return False
                continue
            self.emit(InvocationRecordDelivered(name, count, discard.condition, *where, at))
            return True

    def _document(self, discard: Discard[StreamRecord], event: bytes, window_call: WindowCall | None) -> Document:
        batch = DiscardedBatch(
            request_id=discard.request_id,
            function_arn=str(self.function.arn),
            condition=discard.condition,
            invoke_count=discard.invoke_count,
            response=discard.response,
            at=self.source_clock.now(),
            mapping_uuid=self.mapping.uuid,
            shard_id=self.shard_id,
            stream_arn=self.mapping.event_source_arn,
            records=discard.records,
            window_call=window_call,
        )
        return document_of(batch, event=event, document_id=uuid4())
