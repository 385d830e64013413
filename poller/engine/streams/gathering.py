"""When is a lane's next batch ready?

A batch is filled with the lane's records, in order.  It is ready when the first of these happens:

    full                it has batch_size records, or the next record would make the event too long for the function
    batching window     maximum_batching_window_in_seconds have passed since its first record
    tumbling window     the next record belongs to a later window
    age                 its first record reaches the maximum record age
    no room             no more records can be read until records in hand are done
    closed              the shard has no more records

If another worker, or another run, has tried a batch without success, this lane forms the same batch again: the lane
begins with the same record, and waits for the same number of records. They come soon, because they were read before.
If some of them do not come (the mapping's filters or its number of lanes have changed), this is another batch, and its
attempts begin at one.

When a tumbling window is over and all its records are done, the next batch is empty: the function is invoked a last
time for the window.

Source: AWS Lambda Developer Guide, "Batching behavior".
"""

from __future__ import annotations

from itertools import takewhile
from math import inf
from operator import attrgetter

import anyio

from poller.core.batching import BatchBuilder
from poller.core.event_limit import EventLimit
from poller.core.streams.retry import RetryPolicy
from poller.engine.leases.lease import Lease
from poller.engine.stop import Stop
from poller.engine.streams.in_hand import LaneInHand, Records
from poller.engine.streams.window import LaneWindow
from poller.model.mapping import StreamMapping
from poller.model.stream import StreamRecord
from poller.ports import SourceClock


class LaneGathering:
    """Makes batches of the records of one lane."""

    def __init__(
        self,
        mapping: StreamMapping,
        in_hand: LaneInHand,
        window: LaneWindow,
        lease: Lease,
        *,
        event_limit: EventLimit,
        source_clock: SourceClock,
        stop: Stop,
    ) -> None:
        self._mapping = mapping
        self._event_limit = event_limit
        self._policy = RetryPolicy.of(mapping)
        self._window = window
        self._lease = lease
        self._source_clock = source_clock
        self._stop = stop
        self._in_hand = in_hand
        self._pending = in_hand.pending
        self._caught_up_at: float | None = None
        self._again: int | None = None
        """How many records the next batch needs to be one that was tried before; None if it is a new one."""
        self._has_room = True
        self._is_closed = False
        self._changed = anyio.Event()

    def put(self, records: Records) -> None:
        self._has_room = True
        if records:  # an idle shard is read again and again, and its lanes sleep
            self._pending.extend(records)
            self._changed.set()

    def no_room(self) -> None:
        """Make the next batch ready without a wait, because no more records come until some are done."""
        self._has_room = False
        self._changed.set()

    def caught_up(self, at: float) -> None:
        """Note that this lane has all its records that arrived before `at` (epoch seconds of the source's clock)."""
        self._caught_up_at = at
        if self._window.open is not None or self._again is not None:
            self._again = None
            self._changed.set()

    def close(self) -> None:
        self._is_closed = True
        self._changed.set()

    async def batch(self) -> Records | None:
        """Wait for the next batch and return it; an empty one is a window's last invocation.

        Returns None if the lane is closed and empty, or if the stop begins.
        """
        batch = self._in_hand.begin_batch()
        while not self._stop.has_begun:
            now = anyio.current_time()
            if not batch:
                builder = self._builder(now)
            self._fill(batch, builder, now)
            if self._again is not None and len(batch) >= self._again:
                self._again = None
            waits_in_vain = self._pending or self._is_closed or not self._has_room
            is_due = self._again is None and builder.is_due(now)
            if batch and (waits_in_vain or is_due or self._is_expired(batch[0])):
                return batch
            if self._is_window_over():
                return batch
            if self._is_closed:
                return None
            self._changed = anyio.Event()
            await self._wait(self._patience(batch, builder, now))
        return None

    def _builder(self, now: float) -> BatchBuilder:
        block = None
        if self._lease.blocks and self._pending:
            block = self._lease.blocks.get(self._pending[0].sequence_number)
        self._again = None if block is None else min(self._mapping.batch_size, block.records)
        return BatchBuilder(
            batch_size=self._again or self._mapping.batch_size,
            window_in_seconds=self._mapping.maximum_batching_window_in_seconds,
            limit_in_bytes=self._window.batch_limit_in_bytes(self._event_limit.in_bytes(now)),
        )

    async def _wait(self, patience: float | None) -> None:
        if patience is None:
            await self._changed.wait()
            return
        with anyio.move_on_after(patience):
            await self._changed.wait()

    def _fill(self, batch: list[StreamRecord], builder: BatchBuilder, now: float) -> None:
        """Move pending records into the batch, until a record does not fit or belongs to a later window."""
        pending = self._pending
        admitted = takewhile(self._window.admits, pending) if self._window.is_on else pending
        count = builder.fill(map(len, map(attrgetter("encoded"), admitted)), now=now)
        batch.extend([pending.popleft() for _ in range(count)])

    def _is_window_over(self) -> bool:
        return self._window.is_over(
            next_record=self._pending[0] if self._pending else None,
            caught_up_at=self._caught_up_at,
            is_shard_end=self._is_closed,
        )

    def _is_expired(self, head: StreamRecord) -> bool:
        expires_at = self._policy.expires_at(head.arrived_at)
        return expires_at is not None and expires_at <= self._source_clock.now()

    def _patience(self, batch: Records, builder: BatchBuilder, now: float) -> float | None:
        """Return how many seconds to wait for more records: until the window ends or the first record is too old.

        Returns None if the batch is empty: then there is no limit.
        """
        if builder.deadline is None:
            return None
        patience = builder.deadline - now if self._again is None else inf
        expires_at = self._policy.expires_at(batch[0].arrived_at)
        return patience if expires_at is None else min(patience, max(0.0, expires_at - self._source_clock.now()))
