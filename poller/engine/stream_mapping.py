"""What is the way of a stream?  shards ── lineage ── read each ── lanes ── checkpoints.

    list the shards, again and again ── those that may be read (core/lineage.py) get a reader each (shard.py)
         ^                                                               │
         └── at once, when a shard is drained and its end is stored <────┘

Where each shard begins is fixed and stored at the first start, before anything is read: what is written after the
mapping is ready is seen, whatever becomes of us before the first record.  LATEST is this moment for that, on a Kinesis
stream; a DynamoDB stream knows no times, and its LATEST is stored with the first record only.
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
from poller.engine.budget import BYTES_OF_A_SHARD, Budget
from poller.engine.checkpoints import Checkpoints
from poller.engine.lane import LaneParts
from poller.engine.shard import ShardParts, ShardReader
from poller.engine.source_health import SourceHealth
from poller.errors import ServiceError
from poller.model.mapping import StreamMapping
from poller.model.status import MappingStatus
from poller.model.stream import AtTimestamp, Checkpoint, Latest, Position, Shard, ShardId, TrimHorizon
from poller.ports import StateStore, StreamSource
from poller.telemetry.facts import MappingReady

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
            mapping=self.mapping.name, record=parts.lane.record, luck=parts.lane.luck, stop=self._stop
        )
        self._checkpoints = Checkpoints(
            mapping=self.mapping.name, store=parts.store, health=self._health, luck=parts.lane.luck
        )
        self._readers: dict[ShardId, ShardReader] = {}
        self._look_again = anyio.Event()

    def status(self) -> MappingStatus:
        lanes = [lane for reader in self._readers.values() for lane in reader.lanes]
        blocked = sorted({lane.blocked_by for lane in lanes if lane.blocked_by})
        reason = self._health.reason
        if reason is None and blocked:
            reason = f"{sum(1 for lane in lanes if lane.blocked_by)} blocked: {', '.join(blocked)}"
        return MappingStatus(
            mapping=self.mapping.name,
            function=self.mapping.function_name,
            source=str(self.mapping.event_source_arn),
            state="stopping" if self._stop.has_begun else self._health.state,
            reason=reason,
            polls_in_flight=len(self._readers),
            batches_in_flight=sum(lane.is_busy for lane in lanes),
            messages_held=sum(reader.records_in_hand for reader in self._readers.values()),
            concurrency_limit=len(lanes),
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
            await self._checkpoints.save_last()

    async def _cut_when_draining(self, scope: anyio.CancelScope) -> None:
        await self._stop.draining.wait()
        scope.cancel()

    async def _find_source(self) -> Lineage:
        """Fix where every shard begins, and store it, until that has worked."""
        while True:
            asked_at = anyio.current_time()
            try:
                stored = await self._parts.store.load(self.mapping.name)
                shards = await self._parts.source.shards()
                lineage = await self._placed(stored, shards)
            except ServiceError as error:
                await self._health.pause(self._health.failed("ListShards", error, asked_at=asked_at))
                continue
            self._health.found()
            self._parts.lane.record(
                MappingReady(
                    mapping=self.mapping.name,
                    source=str(self.mapping.event_source_arn),
                    function=self.mapping.function_name,
                    visibility_timeout_in_seconds=0,
                )
            )
            return lineage

    async def _placed(self, stored: Mapping[ShardId, Checkpoint], shards: list[Shard]) -> Lineage:
        positions = {shard_id: checkpoint.position for shard_id, checkpoint in stored.items()}
        if not positions:
            positions = first_positions(shards, self._starting_position())
            if self.mapping.is_kinesis:
                now = AtTimestamp(self._parts.lane.clock.now())
                positions = {s: now if isinstance(position, Latest) else position for s, position in positions.items()}
            concrete = {
                s: Checkpoint(position) for s, position in positions.items() if not isinstance(position, Latest)
            }
            await self._parts.store.save(self.mapping.name, concrete)
        lineage = Lineage(positions)
        await self._take_in(lineage, shards)
        return lineage

    def _starting_position(self) -> TrimHorizon | Latest | AtTimestamp:
        mapping = self.mapping
        match mapping.starting_position:
            case "AT_TIMESTAMP":
                assert mapping.starting_position_timestamp is not None, "settings see to that"
                return AtTimestamp(mapping.starting_position_timestamp)
            case "LATEST":
                return Latest()
        return TrimHorizon()

    async def _take_in(self, lineage: Lineage, shards: list[Shard]) -> None:
        listed = lineage.listed(shards)
        if listed.found:
            found: dict[ShardId, Position] = listed.found
            await self._parts.store.save(self.mapping.name, {s: Checkpoint(p) for s, p in found.items()})
        if listed.gone:
            await self._parts.store.forget(self.mapping.name, listed.gone)

    async def _work(self, lineage: Lineage) -> None:
        async with anyio.create_task_group() as services:
            services.start_soon(self._checkpoints.run)
            with anyio.CancelScope() as working:
                services.start_soon(self._obey_the_stop, working)
                async with anyio.create_task_group() as shards:
                    await self._follow(lineage, shards)
            services.cancel_scope.cancel()

    async def _obey_the_stop(self, working: anyio.CancelScope) -> None:
        await self._stop.draining.wait()
        self._look_again.set()
        for reader in self._readers.values():
            reader.cut()
        await self._stop.releasing.wait()
        working.cancel()

    async def _follow(self, lineage: Lineage, shards: TaskGroup) -> None:
        """Start what may be read, and look for more, until the stop."""
        while not self._stop.has_begun:
            for start in lineage.startable():
                shards.start_soon(self._read, lineage, start)
            with anyio.move_on_after(LIST_AGAIN_IN_SECONDS):
                await self._look_again.wait()
            self._look_again = anyio.Event()
            asked_at = anyio.current_time()
            try:
                await self._take_in(lineage, await self._parts.source.shards())
            except ServiceError as error:
                await self._health.pause(self._health.failed("ListShards", error, asked_at=asked_at))
            else:
                self._health.succeeded("ListShards")

    async def _read(self, lineage: Lineage, start: Start) -> None:
        parts = ShardParts(
            source=self._parts.source,
            lane=self._parts.lane,
            filters=self._parts.filters,
            budget=self._parts.budget,
            checkpoints=self._checkpoints,
            health=self._health,
        )
        reader = ShardReader(parts, start.shard_id, start.position, budget_in_bytes=BYTES_OF_A_SHARD)
        self._readers[start.shard_id] = reader
        try:
            if self._stop.has_begun:
                return
            is_drained = await reader.run()
        finally:
            del self._readers[start.shard_id]
        if is_drained:
            await self._checkpoints.save()  # a child must not be stored ahead of its parent's end
            lineage.drained(start.shard_id)
            self._look_again.set()
