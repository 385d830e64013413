"""How is one shard read?  iterator ── read ── filter ── lane ── watermark ── checkpoint, until the shard's end.

Records go to the lanes in the shard's order.
A record that does not match the filter is done at once, so the checkpoint can move past it.
The limits of the source say how soon a shard is read again (core/streams/pace.py).
A blocked lane delays only its own records, until the records in hand reach the shard's limit of bytes: then the shard
is not read any more.

    the iterator has expired     take a new one after the last record that was read; if new iterators expire again and
                                 again, this counts as a failed read
    the position is trimmed      continue at the oldest record; the log says so
    the shard is not listed      deliver the records in hand; then the shard counts as drained; its other records cannot
                                 be read any more, and the log says so
    an answer has a fault        deliver none of its records (core/streams/reads.py), report it, and read again later
    any other error              try again later: a missing stream may come back with the same shards, and a person can
                                 replace a stored position that the service rejects (`poller state set`)

A checkpoint consists of the watermark and the tumbling window that was open there; both are stored together.
A shard has not ended while its window is open.
The worker stores a checkpoint soon after it has moved (engine/leases/). If the table fails, the deliveries continue as
long as the lease lasts, because a checkpoint that is stored late only causes repetitions.

In these cases, the reader leaves the shard before its end. A later reader begins at the checkpoint in the
table, unless it continues with the records in hand:

    the stop begins, or another     reading ends, and the lanes finish the invocations that run; if a reader of the next
    worker wants the lease          run comes meanwhile, it continues with the records in hand (in_hand.py)
    the lease is lost               everything is cut

Sources: AWS Lambda Developer Guide, "Using Lambda with Kinesis" and "Using Lambda with DynamoDB", polling; Amazon
Kinesis Data Streams Developer Guide, "Quotas and limits".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import compress
from math import inf

import anyio

from poller.core.filtering import RecordFilter
from poller.core.positions import number
from poller.core.streams.lanes import split
from poller.core.streams.notation import format_position
from poller.core.streams.pace import is_caught_up, is_empty, seconds_to_next_read
from poller.core.streams.reads import fault_in
from poller.engine.leases.lease import Lease
from poller.engine.source_health import SourceHealth
from poller.engine.source_pauses import SourcePauses
from poller.engine.streams.budget import Budget
from poller.engine.streams.in_hand import LaneInHand, ShardInHand, size_in_bytes
from poller.engine.streams.lane import Lane, LaneContext
from poller.engine.streams.weighing import RecordWeight
from poller.errors import ExpiredIterator, NotFound, Rejected, ServiceError, Trimmed
from poller.facts import PositionTrimmed, RecordsFilteredOut, RecordsRead
from poller.model.lease import Owner
from poller.model.status import BlockedShard, ShardStatus
from poller.model.stream import (
    AfterSequence,
    AtTimestamp,
    Read,
    ShardEnd,
    ShardId,
    ShardIterator,
    TrimHorizon,
)
from poller.ports import StreamSource

LOST_ITERATORS = 10
"""If this number of iterators in a row expire or are trimmed, which takes about two seconds, the read counts as failed.

Then the mapping reports a trouble, and the pauses grow. AWS has no such number.
"""

READS_AT_ONCE = 128
"""How many reads of one mapping may be in flight at once. Each read needs a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardContext:
    """The things that all shards of a mapping share.

    `has_left` lists the shards to see whether a shard has left the stream.
    """

    source: StreamSource
    lane: LaneContext
    filters: RecordFilter | None
    budget: Budget
    weight: RecordWeight
    reads: anyio.Semaphore
    health: SourceHealth
    pauses: SourcePauses
    has_left: Callable[[ShardId], Awaitable[bool]]


class ShardReader:
    """Reads one shard from the checkpoint of its lease to its end, within the lease.

    `iterator` is an iterator at the position with which the shard's row was created, or None.
    The lanes have a stop of their own, which begins when the reader leaves.
    """

    def __init__(
        self,
        context: ShardContext,
        shard_id: ShardId,
        lease: Lease,
        *,
        budget_in_bytes: int,
        iterator: ShardIterator | None = None,
    ) -> None:
        mapping, found = context.lane.mapping, lease.found
        self._was_found = found is not None
        if found is None:
            self._in_hand = ShardInHand(
                lease,
                lanes=mapping.parallelization_factor,
                has_windows=mapping.tumbling_window_in_seconds is not None,
                budget=Budget(budget_in_bytes, context.budget),
                clock=context.lane.clock,
            )
        else:
            assert isinstance(found, ShardInHand), f"a reader of another kind had {shard_id}"
            self._in_hand = found
            found.lease = lease
        self.lanes = [
            Lane(context.lane, shard_id, lease, records, self._in_hand.finish, window=self._in_hand.window)
            for records in self._in_hand.lanes
        ]
        self._context = context
        self._shard_id = shard_id
        self._lease = lease
        has_been_read = not isinstance(self._in_hand.position, AtTimestamp)
        self._iterator = None if has_been_read else iterator
        self._weight_of_last: float | None = None
        self._behind_in_seconds = 0.0
        self._fails_since: float | None = None
        self._reading = anyio.CancelScope()
        self._reads = True

    @property
    def records_in_hand(self) -> int:
        return self._in_hand.watermark.in_hand

    @property
    def bytes_in_hand(self) -> int:
        return self._in_hand.budget.used

    @property
    def seconds_unstored(self) -> float:
        """Return for how many seconds the oldest checkpoint has waited to be stored, or 0 if all are stored."""
        return self._lease.seconds_unstored

    def age(self, now: float) -> float:
        """Return the age of the oldest record in hand, in seconds. `now` is on the source's clock.

        If no record is in hand, return how far the last read was behind the end of the shard. While reads fail, the
        time since the first failure is added, because newer records may have arrived.
        """
        arrivals = [oldest.arrived_at for lane in self.lanes if (oldest := lane.oldest) is not None]
        if arrivals:
            return max(0.0, now - min(arrivals))
        return self._behind_in_seconds + (0.0 if self._fails_since is None else max(0.0, now - self._fails_since))

    @property
    def may_run_until(self) -> float:
        return self._in_hand.may_run_until

    @property
    def is_followed(self) -> bool:
        """Return whether the reader of the next run has the records in hand already."""
        return self._lease.is_passed_on

    @property
    def tells(self) -> bool:
        """Return whether the records in hand count in the status of this reader: no later reader has them."""
        return not self._lease.has_later_user

    @property
    def blocked(self) -> BlockedShard | None:
        """Return why the shard is blocked, or None.

        If several lanes are blocked, return the reason of the lane with the lowest sequence number, because this lane
        keeps the checkpoint from moving.
        """
        blocked = [lane.blocked for lane in self.lanes if lane.blocked is not None]
        return min(blocked, key=_first_number, default=None)

    def status(self, worker: Owner, *, age_in_seconds: float, blocked: BlockedShard | None) -> ShardStatus:
        """Return the status of the shard, which `worker` reads. The other arguments come from `age` and `blocked`."""
        lanes = [lane.status(number) for number, lane in enumerate(self.lanes, 1)]
        return ShardStatus(
            self._shard_id,
            worker,
            self._lease.read_since,
            format_position(self._in_hand.watermark.position),
            age_in_seconds,
            self.records_in_hand,
            None if blocked is None else blocked.since,
            tuple(lane for lane in lanes if lane.records or lane.is_invoking),
        )

    def held(self) -> list[str]:
        """Return where invocations of this reader still run: in the shard, or in which lanes if it is followed."""
        pairs = enumerate(zip(self.lanes, self._in_hand.lanes, strict=True), 1)
        now = anyio.current_time()
        held = [number for number, (lane, records) in pairs if lane.is_invoking or records.may_run_until > now]
        if self.is_followed:
            return [f"lane {number} of shard {self._shard_id}" for number in held]
        return [f"shard {self._shard_id}"] if held else []

    def store_soon(self) -> None:
        self._lease.store_soon()

    def leave(self) -> None:
        """Stop reading, and let the lanes finish the invocations that run."""
        self._context.lane.stop.begin()
        self._reading.cancel()
        self._context.lane.function.gate.send_home()
        self._leave_behind()

    async def run(self) -> bool:
        """Read and deliver the shard. Return True once the table has its end.

        Returns False if the reader has left before, or if the lease is lost.
        """
        with self._lease.scope:
            async with anyio.create_task_group() as beside:
                beside.start_soon(self._leave_when_wanted_back)
                is_drained = await self._run() and await self._lease.stored()
                beside.cancel_scope.cancel()
            return is_drained
        return False

    async def _leave_when_wanted_back(self) -> None:
        await self._lease.is_wanted_back.wait()
        self.leave()

    async def _run(self) -> bool:
        is_read = False
        with self._in_hand.used():
            async with anyio.create_task_group() as lanes:
                for lane, records in zip(self.lanes, self._in_hand.lanes, strict=True):
                    lanes.start_soon(self._deliver, lane, records)
                with self._reading:
                    await self._read_to_the_end()
                    is_read = True
                self._reads = False
                for lane in self.lanes:
                    lane.close()
                self._leave_behind()
        if self.is_followed:
            return False
        if is_read and self._in_hand.window is None:
            self._in_hand.watermark.end()
        self._in_hand.move()
        return isinstance(self._in_hand.watermark.position, ShardEnd)

    async def _deliver(self, lane: Lane, records: LaneInHand) -> None:
        async with records.turn(self._context.lane.stop) as has_turn:
            if not has_turn:
                return
            if self._was_found:
                self._filter(records)
            await lane.run()

    def _filter(self, records: LaneInHand) -> None:
        """Finish the records that an earlier reader has read and that do not match the filters of this one."""
        context = self._context
        if context.filters is None:
            return
        if filtered_out := self._in_hand.drop(records, context.filters.matches_record):
            context.lane.emit(RecordsFilteredOut(context.lane.mapping.name, filtered_out))

    def _leave_behind(self) -> None:
        """If the reader leaves and reads no more, let the next reader use the records in hand.

        With a single lane, this would help nobody: the next reader waits anyway.
        """
        if self._context.lane.stop.has_begun and not self._reads and len(self.lanes) > 1:
            self._lease.leave_behind(self._in_hand)

    async def _read_to_the_end(self) -> None:
        iterator, limits = self._iterator, self._context.source.limits
        failures = lost_iterators = empty_reads = 0
        while True:
            try:
                async with self._in_hand.budget.promised(self._no_room) as room_in_bytes:
                    limit = await self._context.weight.fitting(room_in_bytes, self._weight_of_last)
                    async with self._context.reads:
                        if iterator is None:
                            iterator = await self._context.source.iterator(self._shard_id, self._in_hand.position)
                        began, arrived_by = anyio.current_time(), self._context.source.clock.reached()
                        read = await self._context.source.read(iterator, limit=limit)
                    if (fault := fault_in(read)) is not None:
                        raise Rejected(f"the answer of {self._shard_id} has {fault}", code="UnusableAnswer")
            except ServiceError as error:
                if isinstance(error, ExpiredIterator | Trimmed):
                    iterator = None
                    lost_iterators += 1
                    if isinstance(error, Trimmed) and (self._in_hand.position != TrimHorizon() or lost_iterators == 1):
                        self._report_trimmed()
                        self._in_hand.position = TrimHorizon()
                    if lost_iterators < LOST_ITERATORS:
                        await anyio.sleep(limits.iterator_interval)
                        continue
                if isinstance(error, NotFound | Trimmed) and await self._context.has_left(self._shard_id):
                    self._report_trimmed()
                    self._context.health.read_succeeded(self._shard_id)
                    return
                failures += 1
                self._fails_since = self._fails_since or self._context.source.clock.now()
                delay = self._context.pauses.after_failed_read(error, in_a_row=failures)
                self._context.health.read_failed(self._shard_id, error, in_a_row=failures, retry_in=delay)
                await anyio.sleep(delay)
                continue
            failures, lost_iterators, self._fails_since = 0, 0, None
            self._behind_in_seconds = read.behind_in_seconds or 0.0
            self._context.health.read_succeeded(self._shard_id)
            self._hand_out(read)
            empty_reads = empty_reads + 1 if is_empty(read) else 0
            if is_caught_up(read, empty_reads=empty_reads, limits=limits):
                for lane in self.lanes:
                    lane.caught_up(arrived_by)
            iterator = read.next_iterator
            if iterator is None:
                self._lease.children = read.children
                return
            await anyio.sleep_until(began + seconds_to_next_read(read, limits))

    def _no_room(self) -> None:
        for lane in self.lanes:
            lane.no_room()

    def _report_trimmed(self) -> None:
        mapping, position = self._context.lane.mapping, format_position(self._in_hand.position)
        self._context.lane.emit(PositionTrimmed(mapping.name, self._shard_id, position))

    def _hand_out(self, read: Read) -> None:
        context, watermark = self._context, self._in_hand.watermark
        records = read.records
        if records and not watermark.follows(records[0].sequence_number):  # the source has repeated records
            records = [record for record in records if watermark.follows(record.sequence_number)]
        context.lane.emit(RecordsRead(context.lane.mapping.name, len(records)))
        if not records:
            for lane in self.lanes:
                lane.put(records)
            return
        kept, sequence_numbers = records, [record.sequence_number for record in records]
        if context.filters is None:
            watermark.hand_out(sequence_numbers)
        else:
            matching = list(map(context.filters.matches_record, records))
            watermark.hand_out(sequence_numbers, kept=matching)
            kept = list(compress(records, matching))
        size = size_in_bytes(kept)
        for lane, share in zip(self.lanes, split(kept, len(self.lanes)), strict=True):
            lane.put(share)
        self._in_hand.budget.charge(size)
        size_of_all = size if kept is records else size_in_bytes(records)
        self._weight_of_last = size_of_all / len(records)
        context.weight.learn(self._weight_of_last)
        self._in_hand.position = AfterSequence(records[-1].sequence_number)
        if filtered_out := len(records) - len(kept):
            context.lane.emit(RecordsFilteredOut(context.lane.mapping.name, filtered_out))
            self._in_hand.move()


def _first_number(blocked: BlockedShard) -> float:
    start = blocked.start_sequence_number
    return inf if start is None else number(start)
