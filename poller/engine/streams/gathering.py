"""When is a lane's next batch ready?

It is filled in order with the records that the reader has put, and is ready with the first of

    full                batch_size records, or as many bytes as an event for this function may have
    batching window     it has waited as long as the mapping lets it
    tumbling window     the next record belongs to a later one, or nothing more comes into this one
    age                 its head has become too old to wait any longer
    no room             nothing more can be read before something in hand is done
    closed              the shard has no more records

When a tumbling window is over and all of its records are done, the next batch is one without records: its last
invocation.

Source: AWS Lambda Developer Guide, "Batching behavior".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import takewhile
from operator import attrgetter

import anyio

from poller.core.batching import BatchBuilder
from poller.core.event_limit import EventLimit
from poller.core.streams.retry import RetryPolicy
from poller.engine.stop import Stop
from poller.engine.streams.window import LaneWindow
from poller.model.mapping import StreamMapping
from poller.model.stream import StreamRecord
from poller.ports import SourceClock

Records = Sequence[StreamRecord]


class LaneGathering:
    """What a lane was given and is not done."""

    def __init__(
        self,
        mapping: StreamMapping,
        window: LaneWindow,
        *,
        event_limit: EventLimit,
        source_clock: SourceClock,
        stop: Stop,
    ) -> None:
        self._mapping = mapping
        self._event_limit = event_limit
        self._policy = RetryPolicy.of(mapping)
        self._window = window
        self._source_clock = source_clock
        self._stop = stop
        self._pending: deque[StreamRecord] = deque()
        self._batch: list[StreamRecord] = []
        self._done_of_batch = 0
        self._caught_up_at: float | None = None
        self._has_room = True
        self._is_closed = False
        self._changed = anyio.Event()

    @property
    def oldest(self) -> StreamRecord | None:
        """The first of them."""
        if self._done_of_batch < len(self._batch):
            return self._batch[self._done_of_batch]
        return self._pending[0] if self._pending else None

    def put(self, records: Records) -> None:
        self._pending.extend(records)
        self._has_room = True
        self._changed.set()

    def no_room(self) -> None:
        """Nothing more is put until some of what was put is done."""
        self._has_room = False
        self._changed.set()

    def caught_up(self, at: float) -> None:
        """Every record that had arrived by then was put."""
        self._caught_up_at = at
        if self._window.open is not None:
            self._changed.set()

    def close(self) -> None:
        self._is_closed = True
        self._changed.set()

    async def batch(self) -> Records | None:
        """The next batch; None when all was given, or the daemon stops."""
        batch = self._batch = []
        self._done_of_batch = 0
        while not self._stop.has_begun:
            now = anyio.current_time()
            if not batch:
                builder = self._builder(now)
            self._fill(batch, builder, now)
            waits_in_vain = self._pending or self._is_closed or not self._has_room
            if batch and (waits_in_vain or builder.is_due(now) or self._is_expired(batch[0])):
                return batch
            if self._is_window_over():
                return batch
            if self._is_closed:
                return None
            self._changed = anyio.Event()
            await self._wait(self._patience(batch, builder, now))
        return None

    def _builder(self, now: float) -> BatchBuilder:
        return BatchBuilder(
            batch_size=self._mapping.batch_size,
            window_in_seconds=self._mapping.maximum_batching_window_in_seconds,
            limit_in_bytes=self._window.batch_limit_in_bytes(self._event_limit.in_bytes(now)),
        )

    async def _wait(self, patience: float | None) -> None:
        if patience is None:
            await self._changed.wait()
            return
        with anyio.move_on_after(patience):
            await self._changed.wait()

    def done(self, count: int) -> None:
        """So many records at the head of the last batch are."""
        self._done_of_batch += count

    def _fill(self, batch: list[StreamRecord], builder: BatchBuilder, now: float) -> None:
        """Take what is pending, up to the first record that has no place in this batch."""
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
        """How long to wait for more: to the batching window's end, or until the head becomes too old."""
        if builder.deadline is None:
            return None
        patience = builder.deadline - now
        expires_at = self._policy.expires_at(batch[0].arrived_at)
        return patience if expires_at is None else min(patience, max(0.0, expires_at - self._source_clock.now()))
