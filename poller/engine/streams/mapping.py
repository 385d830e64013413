"""What is the way of a stream?  shards ── lineage ── read each ── lanes ── checkpoints.

    list the shards, again and again ── those that may be read (core/lineage.py) get a reader each (shard.py)
         ^                                                               │
         └── at once, when a shard is drained whose children are unknown ┘

Where each shard begins is fixed and stored at the first start, before anything is read: what is written after the
mapping is ready is seen, whatever becomes of us before the first record.  For LATEST, iterators are taken at once for
all open shards, and this moment is what is stored: a start before the first record goes on from there, by the clock
of the source where it tells it, as that is the one that dates records.
At a stop the readers stop, what runs ends within the grace, and the last checkpoints are stored.

Sources: AWS Lambda Developer Guide, "Using Lambda with Kinesis" and "Using Lambda with DynamoDB".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from poller.core.filtering import RecordFilter
from poller.core.lineage import Lineage, Start, first_positions
from poller.engine.source_health import SourceHealth
from poller.engine.streams.budget import BYTES_OF_A_SHARD, Budget
from poller.engine.streams.checkpoints import Checkpoints
from poller.engine.streams.lane import LaneParts
from poller.engine.streams.shard import READS_AT_ONCE, ShardParts, ShardReader
from poller.engine.streams.watching import stream_status
from poller.errors import Rejected, ServiceError
from poller.model.mapping import StreamMapping
from poller.model.status import Health, MappingStatus
from poller.model.stream import (
    AtTimestamp,
    Checkpoint,
    Iterator,
    Latest,
    Position,
    Shard,
    ShardId,
    Window,
)
from poller.ports import StateStore, StreamSource
from poller.telemetry.facts import CheckpointsLost, MappingReady, PositionTrimmed

ITERATORS_AT_ONCE = 10
"""How many calls fix the positions of a start at LATEST side by side."""

LIST_AGAIN_IN_SECONDS = 20.0
"""How long a shard that came into being may stay unknown; its parent's end makes us look sooner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamParts:
    """What a run of a stream mapping is put together from. `budget` is the process's."""

    lane: LaneParts
    source: StreamSource
    store: StateStore
    filters: RecordFilter | None
    budget: Budget


class StreamMappingRunner:
    """Runs one stream mapping once, until the stop."""

    def __init__(self, parts: StreamParts) -> None:
        self.mapping: StreamMapping = parts.lane.mapping
        self._parts = parts
        self._stop = parts.lane.stop
        self._health = SourceHealth(
            mapping=self.mapping.name,
            clock=parts.lane.clock,
            record=parts.lane.record,
            luck=parts.lane.luck,
            stop=self._stop,
        )
        self._checkpoints = Checkpoints(
            key=self.mapping.state_key, store=parts.store, health=self._health, luck=parts.lane.luck
        )
        self._listing = "ListShards" if self.mapping.is_kinesis else "DescribeStream"
        self._readers: dict[ShardId, ShardReader] = {}
        self._lineage: Lineage | None = None
        self._latest: dict[ShardId, Iterator] = {}
        self._windows: dict[ShardId, Window] = {}
        self._list_at = self._drained_at = 0.0
        self._shards = ShardParts(
            source=parts.source,
            lane=parts.lane,
            filters=parts.filters,
            budget=parts.budget,
            reads=anyio.Semaphore(READS_AT_ONCE, fast_acquire=True),
            checkpoints=self._checkpoints,
            health=self._health,
        )
        self._look_again = anyio.Event()
        self._following = anyio.CancelScope()

    def status(self) -> MappingStatus:
        health = self._parts.lane.function_health.together_with(self._health.health)
        if self._stop.has_begun:
            health = Health("stopping", health.reason)
        lanes = [lane for reader in self._readers.values() for lane in reader.lanes]
        return MappingStatus(
            mapping=self.mapping.name,
            function=self.mapping.function_name,
            source=str(self.mapping.event_source_arn),
            state=health.state,
            reason=health.reason,
            polls_in_flight=len(self._readers),
            batches_in_flight=sum(lane.is_invoking for lane in lanes),
            messages_held=sum(reader.records_in_hand for reader in self._readers.values()),
            concurrency_limit=min(len(lanes), self._parts.lane.function.reserved_concurrency),
            stream=stream_status(
                self._readers.values(), self._lineage, self._checkpoints, now=self._parts.lane.clock.now()
            ),
            since=health.since,
            attempt=health.attempt,
            next_try=health.next_try,
        )

    async def run(self) -> None:
        """Read and deliver until the stop. Raises only for a fault of our own."""
        try:
            lineage = None
            async with anyio.create_task_group() as search:
                search.start_soon(self._cut_when_draining, search.cancel_scope)
                lineage = await self._find_source()
                search.cancel_scope.cancel()
            if lineage is not None:
                await self._work(lineage)
        finally:
            if lost := await self._checkpoints.save_last():
                self._parts.lane.record(CheckpointsLost(self.mapping.name, lost))
                if self._stop.has_begun:
                    self._stop.spoiled.set()

    async def _cut_when_draining(self, scope: anyio.CancelScope) -> None:
        await self._stop.draining.wait()
        scope.cancel()

    async def _find_source(self) -> Lineage:
        """Fix where every shard begins, and store it, until that has worked."""
        while True:
            asked_at, operation = anyio.current_time(), "LoadCheckpoints"
            try:
                stored = await self._parts.store.load(self.mapping.state_key)
                operation = self._listing
                shards = await self._parts.source.shards()
                lineage = await self._placed(stored, shards)
            except ServiceError as error:
                await self._health.pause(self._health.failed(operation, error, asked_at=asked_at))
                continue
            self._health.found()
            self._parts.lane.record(
                MappingReady(
                    mapping=self.mapping.name,
                    source=str(self.mapping.event_source_arn),
                    function=self.mapping.function_name,
                )
            )
            return lineage

    async def _placed(self, stored: Mapping[ShardId, Checkpoint], shards: list[Shard]) -> Lineage:
        positions = {shard_id: checkpoint.position for shard_id, checkpoint in stored.items()}
        self._windows = {shard_id: one.window for shard_id, one in stored.items() if one.window is not None}
        if not positions:
            now = AtTimestamp(self._no_later_than_now())
            by_hand = await self._parts.store.starting_position(self.mapping.state_key)
            positions = first_positions(shards, by_hand or self.mapping.begins_at)
            latest = [shard_id for shard_id, position in positions.items() if isinstance(position, Latest)]
            self._latest = await self._iterators_at_latest(latest)
            positions |= dict.fromkeys(latest, now)
            await self._parts.store.save(self.mapping.state_key, {s: Checkpoint(p) for s, p in positions.items()})
        lineage = self._lineage = Lineage(positions)
        _check_same_stream(lineage, shards)
        await self._take_in(lineage, shards)
        return lineage

    def _no_later_than_now(self) -> float:
        """By our clock and by the source's, which has just answered: records are dated by that one."""
        ours, theirs = self._parts.lane.clock.now(), self._parts.source.served_at
        return ours if theirs is None else min(ours, theirs)

    async def _iterators_at_latest(self, shard_ids: list[ShardId]) -> dict[ShardId, Iterator]:
        iterators: dict[ShardId, Iterator] = {}
        failures: list[ServiceError] = []
        at_once = anyio.CapacityLimiter(ITERATORS_AT_ONCE)

        async def take(shard_id: ShardId) -> None:
            async with at_once:
                try:
                    iterators[shard_id] = await self._parts.source.iterator(shard_id, Latest())
                except ServiceError as error:
                    failures.append(error)

        async with anyio.create_task_group() as group:
            for shard_id in shard_ids:
                group.start_soon(take, shard_id)
        if failures:
            raise failures[0]
        return iterators

    async def _take_in(self, lineage: Lineage, shards: list[Shard]) -> None:
        listed = lineage.listed(shards)
        for shard_id in sorted(listed.lost):
            self._parts.lane.record(PositionTrimmed(self.mapping.name, shard_id))
        if listed.found:
            found: dict[ShardId, Position] = listed.found
            await self._parts.store.save(self.mapping.state_key, {s: Checkpoint(p) for s, p in found.items()})
        if listed.gone:
            await self._parts.store.forget(self.mapping.state_key, listed.gone)

    async def _work(self, lineage: Lineage) -> None:
        async with anyio.create_task_group() as services:
            services.start_soon(self._checkpoints.run)
            with anyio.CancelScope() as working:
                services.start_soon(self._obey_the_stop, working)
                async with anyio.create_task_group() as shards:
                    with self._following:
                        await self._follow(lineage, shards)
            services.cancel_scope.cancel()

    async def _obey_the_stop(self, working: anyio.CancelScope) -> None:
        await self._stop.draining.wait()
        self._following.cancel()
        for reader in self._readers.values():
            reader.cut()
        await self._stop.releasing.wait()
        working.cancel()

    async def _follow(self, lineage: Lineage, shards: TaskGroup) -> None:
        """Start what may be read, and look for more, until the stop."""
        self._list_at = anyio.current_time() + LIST_AGAIN_IN_SECONDS
        while not self._stop.has_begun:
            for start in lineage.startable():
                shards.start_soon(self._read, lineage, start)
            with anyio.move_on_after(self._list_at - anyio.current_time()):
                await self._look_again.wait()
            self._look_again = anyio.Event()
            if anyio.current_time() >= self._list_at:
                await self._look(lineage)

    async def _look(self, lineage: Lineage) -> None:
        asked_at = anyio.current_time()
        self._list_at = asked_at + LIST_AGAIN_IN_SECONDS
        try:
            found = await self._parts.source.shards()
            if asked_at >= self._drained_at + LIST_AGAIN_IN_SECONDS:  # sooner, it may not know that a shard is closed
                _check_same_stream(lineage, found)
            await self._take_in(lineage, found)
        except ServiceError as error:
            self._list_at = 0.0
            await self._health.pause(self._health.failed(self._listing, error, asked_at=asked_at))
        else:
            self._health.succeeded(self._listing)

    async def _read(self, lineage: Lineage, start: Start) -> None:
        reader = ShardReader(
            self._shards,
            start.shard_id,
            start.position,
            budget_in_bytes=BYTES_OF_A_SHARD,
            iterator=self._latest.pop(start.shard_id, None),
            window=self._windows.pop(start.shard_id, None),
        )
        self._readers[start.shard_id] = reader
        try:
            if self._stop.has_begun:
                return
            is_drained = await reader.run()
        finally:
            del self._readers[start.shard_id]
        if is_drained:
            self._drained_at = anyio.current_time()
            await self._checkpoints.save()  # a child must not be stored ahead of its parent's end
            if not lineage.drained(start.shard_id):
                self._list_at = anyio.current_time()
            self._look_again.set()


def _check_same_stream(lineage: Lineage, shards: list[Shard]) -> None:
    """Raises Rejected where going on would leave out records: a Kinesis stream made anew has the same ARN."""
    if reopened := lineage.reopened(shards):
        raise Rejected(
            f"{reopened[0]} takes records, and was drained before: was the stream deleted and made anew? "
            "Then its positions have to be moved: `poller state set`",
            code="AnotherStream",
        )
