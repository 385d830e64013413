"""How is one shard read?  iterator ── read ── filter ── lane ── watermark ── checkpoint, until its end.

Records go out to the lanes in the shard's order; what a filter keeps out is done at once, and moves the checkpoint too.
Behind, the shard is read without a pause, as fast as the source allows; caught up, at the source's base rate.
A lane that stands still holds up its own records, and the reading once the budget in bytes is used up.

    an iterator that expired     taken again after the last record that went out
    a trimmed position           the oldest record there is, and said so
    a shard that is gone         what is in hand is delivered, and then it counts as drained

Sources: AWS Lambda Developer Guide, "Using Lambda with Kinesis" and "Using Lambda with DynamoDB", polling; Amazon
Kinesis Data Streams Developer Guide, "Quotas and limits".
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from poller.core import envelope
from poller.core.backoff import SOURCE
from poller.core.filtering import RecordFilter
from poller.core.lanes import lane_of
from poller.core.watermark import Watermark
from poller.engine.budget import Budget
from poller.engine.checkpoints import Checkpoints
from poller.engine.lane import Lane, LaneParts, RecordInHand, Records
from poller.engine.source_health import SourceHealth
from poller.errors import ExpiredIterator, NotFound, ServiceError, Trimmed
from poller.model.stream import (
    AfterSequence,
    Checkpoint,
    Iterator,
    Latest,
    Position,
    Read,
    ShardEnd,
    ShardId,
    TrimHorizon,
)
from poller.ports import StreamSource
from poller.telemetry.facts import PositionTrimmed, RecordsFilteredOut, RecordsPolled

KINESIS_BASE_RATE = 1.0
DYNAMODB_BASE_RATE = 0.25
"""Seconds between two reads of a shard that is caught up."""

KINESIS_FASTEST = 0.2
"""Seconds between two reads of a shard that is behind: Kinesis allows five a second, for all readers together."""

RECORDS_IN_A_READ = 10_000
"""What is asked for; a source gives what its service allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardParts:
    """What all shards of a mapping share."""

    source: StreamSource
    lane: LaneParts
    filters: RecordFilter | None
    budget: Budget
    checkpoints: Checkpoints
    health: SourceHealth


class ShardReader:
    """One shard, from a position to its end."""

    def __init__(self, parts: ShardParts, shard_id: ShardId, start: Position, *, budget_in_bytes: int) -> None:
        factor = parts.lane.mapping.parallelization_factor
        self.lanes = [Lane(parts.lane, shard_id, self._finish) for _ in range(factor)]
        self._parts = parts
        self._shard_id = shard_id
        self._position = start
        self._watermark = Watermark(start)
        self._stored = start
        self._budget = Budget(budget_in_bytes, parts.budget)
        self._reading = anyio.CancelScope()

    @property
    def records_in_hand(self) -> int:
        return self._watermark.in_hand

    def cut(self) -> None:
        """Read no more."""
        self._reading.cancel()

    async def run(self) -> bool:
        """Returns when everything is done, true, or when the daemon stops, false."""
        async with anyio.create_task_group() as lanes:
            for lane in self.lanes:
                lanes.start_soon(lane.run)
            with self._reading:
                await self._read_to_the_end()
                self._watermark.end()
            for lane in self.lanes:
                lane.close()
        self._move()
        return isinstance(self._watermark.position, ShardEnd)

    async def _read_to_the_end(self) -> None:
        iterator: Iterator | None = None
        failures = 0
        while True:
            await self._budget.room()
            began = anyio.current_time()
            try:
                if iterator is None:
                    iterator = await self._parts.source.iterator(self._shard_id, self._position)
                read = await self._parts.source.read(iterator, limit=RECORDS_IN_A_READ)
            except ExpiredIterator:
                iterator = None
                continue
            except Trimmed:
                self._parts.lane.record(PositionTrimmed(self._parts.lane.mapping.name, self._shard_id))
                iterator, self._position = None, TrimHorizon()
                continue
            except NotFound:
                return
            except ServiceError as error:
                failures += 1
                self._parts.health.failed("GetRecords", error, asked_at=began)
                await anyio.sleep(SOURCE.delay(failures, self._parts.lane.luck))
                continue
            failures = 0
            self._parts.health.succeeded("GetRecords")
            self._hand_out(read)
            iterator = read.next_iterator
            if iterator is None:
                return
            await anyio.sleep(max(0.0, began + self._pause(read) - anyio.current_time()))

    def _pause(self, read: Read) -> float:
        """Seconds from one read to the next."""
        if self._parts.lane.mapping.is_kinesis:
            return KINESIS_FASTEST if read.behind_in_seconds else KINESIS_BASE_RATE
        return 0.0 if read.records else DYNAMODB_BASE_RATE

    def _hand_out(self, read: Read) -> None:
        parts, watermark, lanes = self._parts, self._watermark, self.lanes
        matches = parts.filters.matches if parts.filters is not None else None
        filtered_out = size = 0
        for record in read.records:
            if matches is not None and not matches(record.record):
                watermark.pass_over(record.sequence_number)
                filtered_out += 1
                continue
            watermark.hand_out(record.sequence_number)
            encoded = envelope.encode(record.record)
            size += len(encoded)
            lane = lanes[0] if len(lanes) == 1 else lanes[lane_of(record.lane_key, len(lanes))]
            lane.put(RecordInHand(record.sequence_number, record.arrived_at, encoded))
        self._budget.charge(size)
        if read.records:
            self._position = AfterSequence(read.records[-1].sequence_number)
        name = parts.lane.mapping.name
        parts.lane.record(RecordsPolled(name, len(read.records)))
        if filtered_out:
            parts.lane.record(RecordsFilteredOut(name, filtered_out))
            self._move()

    def _finish(self, records: Records) -> None:
        self._watermark.finish(record.sequence_number for record in records)
        self._budget.give_back(sum(len(record.encoded) for record in records))
        self._move()

    def _move(self) -> None:
        """Tell the checkpoints, if the watermark moved; LATEST is no place until something was read."""
        position = self._watermark.position
        if position != self._stored and not isinstance(position, Latest):
            self._stored = position
            self._parts.checkpoints.move(self._shard_id, Checkpoint(position))
