"""How does `poller tail` follow a stream? It reads each shard with iterators of its own, and stores nothing.

    listing ── the shards that may be read, one task for each: iterator, read, filter ──> one line of items ──> show
                  └── at the end of a shard: its children

The records of a shard are shown in order, and those of a child after those of its parents.
Kinesis allows five reads of a shard a second for all readers together, and DynamoDB two readers. So a shard is read
once a second at most, which leaves the rest to the daemon.
A throttled read, or one without an answer, is repeated. Any other error of the service ends the command.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream

from poller.core.filtering import RecordFilter
from poller.core.streams.lineage import Lineage, first_positions
from poller.core.streams.reads import fault_in
from poller.engine.source_pauses import SourcePauses
from poller.errors import ExpiredIterator, Rejected, ServiceError, Throttled, Trimmed, Unreachable
from poller.model.stream import (
    AfterSequence,
    AtTimestamp,
    Latest,
    Position,
    Read,
    Shard,
    ShardEnd,
    ShardId,
    ShardIterator,
    StartingPosition,
    StreamRecord,
    TrimHorizon,
)
from poller.ports import StreamSource

READ_INTERVAL_IN_SECONDS = 1.0
RECORDS_IN_A_READ = 1_000
LIST_AGAIN_IN_SECONDS = 10.0
"""The pause before the shards are listed again, if a listing lacks the children of a shard that has ended.

We chose this number and the two above it.
"""

READS_AT_ONCE = 16
"""How many reads may be in hand. A read has 10 MiB at most, so this limits the memory of a stream with many shards."""


class TailedRecord(NamedTuple):
    shard_id: ShardId
    record: StreamRecord


Item = TailedRecord | str | ServiceError
"""A record, a remark for the person, or the error that ends the command."""


async def follow(
    source: StreamSource,
    starting: StartingPosition,
    *,
    filters: RecordFilter | None,
    randomness: random.Random,
    show: Callable[[TailedRecord], None],
    remark: Callable[[str], None],
    limit: int | None = None,
) -> None:
    """Show the matching records from `starting` on, until `limit` records are shown, or without an end.

    Raises a ServiceError that waiting does not end, and every error of `show` and `remark`.
    """
    items, received = anyio.create_memory_object_stream[Item](0)
    failure: Exception | None = None
    async with items, received, anyio.create_task_group() as tasks:
        tasks.start_soon(_Tail(source, filters, SourcePauses(randomness), items, tasks).begin, starting)
        shown = 0
        try:
            while shown != limit:
                match await received.receive():
                    case TailedRecord() as record:
                        show(record)
                        shown += 1
                    case str() as text:
                        remark(text)
                    case ServiceError() as error:
                        raise error
        except Exception as error:  # raised again below: the task group would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


class _Tail:
    """The readers of all shards. Each task ends with its shard, or by sending an error to `items`."""

    def __init__(
        self,
        source: StreamSource,
        filters: RecordFilter | None,
        pauses: SourcePauses,
        items: MemoryObjectSendStream[Item],
        tasks: TaskGroup,
    ) -> None:
        self._source = source
        self._filters = filters
        self._pauses = pauses
        self._items = items
        self._tasks = tasks
        self._reads = anyio.Semaphore(READS_AT_ONCE)
        self._lineage = Lineage((), {}, memory_in_seconds=source.limits.drained_shard_memory)
        self._beginning = 0

    async def begin(self, starting: StartingPosition) -> None:
        """Read the shards that are there now. A remark says when all of them have an iterator."""
        try:
            shards = await self._source.shards()
        except ServiceError as error:
            await self._items.send(error)
            return
        positions, now = first_positions(shards, starting), self._source.clock.now()
        ended = {shard_id: now for shard_id, position in positions.items() if position == ShardEnd()}
        self._lineage = Lineage(positions, ended, memory_in_seconds=self._source.limits.drained_shard_memory)
        self._lineage.take_in(self._lineage.compared(shards, now=now), {})
        starts = self._lineage.startable()
        if not starts:
            await self._items.send(Rejected("every shard of the stream has ended, so no record can come", code="Ended"))
        self._beginning = len(starts)
        for shard_id in starts:
            self._tasks.start_soon(self._read_shard, shard_id, positions[shard_id], True)

    async def _read_shard(self, shard_id: ShardId, begins_at: Position, is_first: bool = False) -> None:
        try:
            iterator, position = await self._first_iterator(shard_id, begins_at)
            if is_first:
                self._beginning -= 1
                if self._beginning == 0:
                    await self._items.send("every shard is being read; Ctrl-C ends the command")
            await self._read_to_the_end(shard_id, iterator, position)
            await self._read_children(shard_id)
        except ServiceError as error:
            await self._items.send(error)

    async def _first_iterator(self, shard_id: ShardId, begins_at: Position) -> tuple[ShardIterator | None, Position]:
        """Return an iterator, and the position for the next one if this iterator expires before it has read a record.

        The position after LATEST is the present time, because a second iterator at LATEST would skip records.
        """
        now = self._source.clock.reached()
        position = AtTimestamp(now) if begins_at == Latest() else begins_at
        try:
            return await self._source.iterator(shard_id, begins_at), position
        except (Throttled, Unreachable, Trimmed):
            return None, position

    async def _read_to_the_end(self, shard_id: ShardId, iterator: ShardIterator | None, position: Position) -> None:
        failures = 0
        while True:
            began = anyio.current_time()
            try:
                async with self._reads:
                    if iterator is None:
                        iterator = await self._source.iterator(shard_id, position)
                    read = await self._source.read(iterator, limit=RECORDS_IN_A_READ)
                    if (fault := fault_in(read)) is not None:
                        raise Rejected(f"the answer of {shard_id} has {fault}", code="UnusableAnswer")
                    await self._send(shard_id, read)
            except (ExpiredIterator, Trimmed) as error:
                if isinstance(error, Trimmed):
                    await self._items.send(f"{shard_id}: the next records have left the stream; the oldest one follows")
                    position = TrimHorizon()
                iterator = None
                await anyio.sleep(READ_INTERVAL_IN_SECONDS)
                continue
            except (Throttled, Unreachable) as error:
                failures += 1
                pause = self._pauses.after_failed_read(error, in_a_row=failures)
                await anyio.sleep(max(pause, READ_INTERVAL_IN_SECONDS))
                continue
            failures = 0
            if read.records:
                position = AfterSequence(read.records[-1].sequence_number)
            iterator = read.next_iterator
            if iterator is None:
                return
            await anyio.sleep_until(began + READ_INTERVAL_IN_SECONDS)  # a slow read may have taken longer

    async def _send(self, shard_id: ShardId, read: Read) -> None:
        for record in read.records:
            if self._filters is None or self._filters.matches_record(record):
                await self._items.send(TailedRecord(shard_id, record))

    async def _read_children(self, shard_id: ShardId) -> None:
        """Read the shards that may be read after this one has ended. If no child is listed, list again and again."""
        self._lineage.drained(shard_id, now=self._source.clock.now())
        shards = await self._source.children(shard_id)
        if not self._lineage.knows_parents_of(shards):
            shards = await self._source.shards()
        self._take_in(shards)
        while not any(shard_id in shard.parent_ids for shard in shards):
            await anyio.sleep(LIST_AGAIN_IN_SECONDS)
            shards = await self._source.shards()
            self._take_in(shards)

    def _take_in(self, shards: list[Shard]) -> None:
        self._lineage.take_in(self._lineage.compared(shards, now=self._source.clock.now(), is_complete=False), {})
        for shard_id in self._lineage.startable():
            self._tasks.start_soon(self._read_shard, shard_id, TrimHorizon())
