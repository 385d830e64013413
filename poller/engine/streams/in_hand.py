"""Which records of a shard are in hand, and which reader's lane may deliver them now?

    the reader of a run ── reads ──> each lane's records ── one lane at a time has the turn ──> the function ──> done
                                            └── the run stops ──> the reader of the next run finds them here

The records in hand belong to the shard, not to the reader. While a reader must leave and an invocation still runs, the
next reader of this process may use the same records, if it has the same number of lanes (`leases/hands.py`):

    a lane whose invocation runs    the old reader's lane has its turn until the invocation has ended; then the records
                                    that are not done wait for the new reader's lane
    the other lanes                 the new reader's lanes deliver at once
    reading                         continues after the last record that was read, so that no record comes again

Both readers move the same watermark. So the checkpoint passes no record of the old reader that is not done.
If an invocation was cancelled, its function may still run. Then the turn begins only after the function's timeout.
If the next reader cannot use the records, it waits for the lease, and begins at the checkpoint.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from math import inf

import anyio

from poller.core.positions import number
from poller.core.streams.watermark import Watermark
from poller.engine.leases.lease import Lease
from poller.engine.stop import Stop
from poller.engine.streams.budget import Budget
from poller.model.stream import AfterSequence, Checkpoint, StreamRecord, Window
from poller.ports import Clock

Records = Sequence[StreamRecord]


class LaneInHand:
    """The records of one lane that were read and are not done, in order: the rest of `batch`, and then `pending`."""

    def __init__(self) -> None:
        self.pending: deque[StreamRecord] = deque()
        self.batch: list[StreamRecord] = []
        """The batch that the lane with the turn delivers. Its first `done_of_batch` records are done."""
        self.done_of_batch = 0
        self.is_invoking = False
        """Whether a function runs with records of the batch, also if a lane of an earlier reader has invoked it."""
        self.may_run_until = -inf
        """The latest time at which a cancelled invocation may still run, on anyio's clock."""
        self._turn = anyio.Lock()

    @property
    def oldest(self) -> StreamRecord | None:
        """Return the first record that is not done, or None."""
        if self.done_of_batch < len(self.batch):
            return self.batch[self.done_of_batch]
        return self.pending[0] if self.pending else None

    @property
    def records_in_hand(self) -> int:
        """Return how many records are not done."""
        return len(self.batch) - self.done_of_batch + len(self.pending)

    def begin_batch(self) -> list[StreamRecord]:
        """Begin the next batch, and return it. The lane fills it from `pending`."""
        self.batch, self.done_of_batch = [], 0
        return self.batch

    def done(self, count: int) -> None:
        """Note that the next `count` records of the batch are done."""
        self.done_of_batch += count

    @asynccontextmanager
    async def turn(self, stop: Stop) -> AsyncIterator[bool]:
        """Wait until no lane of another reader delivers these records. Then yield True, or False if the stop begins.

        After the block, the records that are not done are pending again.
        """
        has_turn = False
        try:
            with stop.cutting():
                await self._turn.acquire()
                has_turn = True
                await anyio.sleep_until(self.may_run_until)
            yield has_turn and not stop.has_begun
        finally:
            if has_turn:
                self.pending.extendleft(reversed(self.batch[self.done_of_batch :]))
                self.begin_batch()
                self._turn.release()


class ShardInHand:
    """The records in hand of one shard. `position` is where reading goes on, and `lease` is that of the newest reader.

    The bytes count in the budget as long as a reader uses the records.
    """

    def __init__(self, lease: Lease, *, lanes: int, has_windows: bool, budget: Budget, clock: Clock) -> None:
        assert lease.checkpoint is not None, f"the lease of {lease.key} has no checkpoint"
        self.lease = lease
        self.position, window = lease.checkpoint
        self.watermark = Watermark(self.position)
        self.lanes = [LaneInHand() for _ in range(lanes)]
        self.budget = budget
        self.window = window if has_windows else None
        self._clock = clock
        self._moved_to = lease.checkpoint
        self._readers = 0

    @property
    def lane_count(self) -> int:
        return len(self.lanes)

    @property
    def may_run_until(self) -> float:
        """Return until when cancelled invocations of the shard may still run, on anyio's clock.

        If no invocation was cancelled, this time is in the past.
        """
        return max(lane.may_run_until for lane in self.lanes)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let a reader use the records during the block. At the end of the last block, free their bytes."""
        if not self._readers:  # the reader before may have left in the meantime
            self.budget.charge(sum(size_in_bytes(lane.pending) for lane in self.lanes))
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                self.budget.close()

    def drop(self, lane: LaneInHand, is_kept: Callable[[StreamRecord], bool]) -> int:
        """Finish the pending records of a lane that are not kept, and return how many these are."""
        dropped = [record for record in lane.pending if not is_kept(record)]
        if dropped:
            gone = {record.sequence_number for record in dropped}
            kept = [record for record in lane.pending if record.sequence_number not in gone]
            lane.pending.clear()
            lane.pending.extend(kept)
            self.finish(dropped, self.window)
        return len(dropped)

    def finish(self, records: Records, window: Window | None) -> None:
        """Note that these records are done, and which tumbling window is open after them."""
        self.watermark.finish([record.sequence_number for record in records])
        size = size_in_bytes(records)
        self.budget.give_back(size)
        self.lease.rate.count(size)
        self.window = window
        self.move()

    def move(self) -> None:
        """If the checkpoint has moved, let the worker store it."""
        checkpoint = Checkpoint(self.watermark.position, self.window)
        if checkpoint != self._moved_to:
            self._moved_to = checkpoint
            if self.lease.blocks:
                self._forget_blocks()
            self.lease.save(checkpoint, at=self._clock.now())

    def _forget_blocks(self) -> None:
        """Remove from the lease each block whose first record is done: no later batch may begin with this record."""
        position = self.watermark.position
        if isinstance(position, AfterSequence):
            reached = number(position.sequence_number)
            for first in [first for first in self.lease.blocks if first is not None and number(first) <= reached]:
                del self.lease.blocks[first]


def size_in_bytes(records: Records | deque[StreamRecord]) -> int:
    return sum([len(record.encoded) for record in records])
