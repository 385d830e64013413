"""How does a mapping of a stream run?  list the shards ── read the shards that may be read ── lanes ── checkpoints.

    list the shards, again and again ── those that may be read (core/streams/lineage.py) get a reader each (shard.py)
         ^                                                               │
         └── at once, if the children of a drained shard are unknown ────┘   (listing.py)

At its first start, the mapping stores where each shard begins, before it reads a record. So it misses no record that is
written after the mapping is ready, even if the daemon crashes before the first record.
For LATEST, it requests iterators for all open shards, and stores the present time. The time comes from the source's
clock, which also dates the records. After a restart before the first record, reading begins at this time.
While a stream has no shards, no position can be stored, and the mapping is not ready.
At a stop, the readers end, invocations that run may finish within the grace, and the last checkpoints are stored.

Sources: AWS Lambda Developer Guide, "Using Lambda with Kinesis" and "Using Lambda with DynamoDB".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from operator import itemgetter

import anyio
from anyio.abc import TaskGroup

from poller.core.filtering import RecordFilter
from poller.core.streams.lineage import (
    Lineage,
    Start,
    first_positions,
)
from poller.core.streams.stream_end import ENDED
from poller.engine.source_health import SourceHealth
from poller.engine.source_pauses import SourcePauses
from poller.engine.streams.budget import BYTES_OF_A_SHARD, Budget
from poller.engine.streams.checkpoints import Checkpoints
from poller.engine.streams.lane import LaneContext
from poller.engine.streams.listing import Listings
from poller.engine.streams.orders import carry_out
from poller.engine.streams.positions import StoredPositions
from poller.engine.streams.shard import READS_AT_ONCE, ShardContext, ShardReader
from poller.engine.streams.shards_in_hand import ShardsInHand
from poller.engine.streams.store_health import StoreHealth
from poller.engine.streams.watching import stream_status
from poller.engine.streams.weighing import RecordWeight
from poller.errors import CannotChange, NotFound, ServiceError
from poller.facts import CheckpointsLost, MappingReady
from poller.model.mapping import StreamMapping
from poller.model.order import ShardOrder
from poller.model.status import BlockedShard, MappingStatus
from poller.model.stream import (
    AtTimestamp,
    Checkpoint,
    Latest,
    Shard,
    ShardEnd,
    ShardId,
    ShardIterator,
    StoredCheckpoint,
    Window,
    WriterId,
)
from poller.ports import CheckpointStore, StreamSource

ITERATORS_AT_ONCE = 10
"""How many iterators are requested at the same time when a mapping starts at LATEST."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamContext:
    """Everything that a run of a stream mapping needs.

    All stream mappings of the process share `budget`; all runs of the mapping share `in_hand`.
    """

    lane: LaneContext
    source: StreamSource
    store: CheckpointStore
    filters: RecordFilter | None
    budget: Budget
    in_hand: ShardsInHand


class StreamMappingRunner:
    """Runs one stream mapping once, until the stop."""

    def __init__(self, context: StreamContext) -> None:
        self.mapping: StreamMapping = context.lane.mapping
        self._context = context
        self._stop = context.lane.stop
        self._health = SourceHealth(
            mapping=self.mapping.name,
            source=self.mapping.event_source_arn,
            clock=context.lane.clock,
            emit=context.lane.emit,
        )
        self._pauses = SourcePauses(context.lane.randomness)
        self._store_health = StoreHealth(
            mapping=self.mapping.name,
            clock=context.lane.clock,
            emit=context.lane.emit,
            randomness=context.lane.randomness,
        )
        self._positions = StoredPositions(
            context.store,
            key=self.mapping.state_key,
            writer=WriterId(context.lane.new_request_id()),
            health=self._store_health,
            emit=context.lane.emit,
            on_loss=self._lose,
        )
        self._checkpoints = Checkpoints(
            self._positions,
            health=self._store_health,
            has_windows=self.mapping.tumbling_window_in_seconds is not None,
        )
        self._readers: dict[ShardId, ShardReader] = {}
        self._lineage: Lineage | None = None
        self._latest: dict[ShardId, ShardIterator] = {}
        self._windows: dict[ShardId, Window] = {}
        self._listings = Listings(
            source=context.source,
            positions=self._positions,
            arn=self.mapping.event_source_arn,
            health=self._health,
            pauses=self._pauses,
            clock=context.lane.clock,
        )
        self._shards = ShardContext(
            source=context.source,
            lane=context.lane,
            filters=context.filters,
            budget=context.budget,
            weight=RecordWeight(),
            reads=anyio.Semaphore(READS_AT_ONCE, fast_acquire=True),
            checkpoints=self._checkpoints,
            health=self._health,
            pauses=self._pauses,
            has_left=self._listings.has_left,
        )
        self._following = anyio.CancelScope()
        self._held: dict[ShardId, float] = {}
        """The shards that this run holds, each with the latest time at which a cancelled invocation may still run."""
        self._held_by_old_runs: frozenset[ShardId] = frozenset()
        """The shards that old runs held when this run loaded its positions.

        Old runs may store later positions of these shards.
        """

    def status(self) -> MappingStatus:
        health = self._store_health.together_with(self._health.health)
        health = self._context.lane.invocations.health.together_with(health)
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
            concurrency_limit=min(len(lanes), self._context.lane.function.definition.reserved_concurrency),
            stream=stream_status(
                self._readers.values(), self._lineage, self._checkpoints, now=self._context.source.clock.now()
            ),
            since=health.since,
            attempt=health.attempt,
            next_try=health.next_try,
            last_error=self._context.lane.invocations.last_error,
        )

    def order(self, order: ShardOrder) -> BlockedShard:
        """Execute a person's order, and return the block as it was before. Raises CannotChange (`orders.py`)."""
        reader = self._readers.get(order.shard_id)
        if reader is None:
            raise CannotChange(f"this daemon does not read the shard {order.shard_id} now")
        return carry_out(order, reader.lanes)

    async def run(self) -> None:
        """Read and deliver until the stop. If this raises an unexpected exception, the stop of this run begins."""
        try:
            lineage = None
            async with anyio.create_task_group() as search:
                search.start_soon(self._cut_when_draining, search.cancel_scope)
                lineage = await self._find_source()
                search.cancel_scope.cancel()
            if lineage is not None:
                await self._work(lineage)
        except Exception as error:  # the next run begins soon, and reads the other shards first
            self._stop.fail(error)
        finally:
            try:
                if lost := await self._checkpoints.save_last():
                    self._context.lane.emit(CheckpointsLost(self.mapping.name, lost))
                    if self._stop.has_begun:
                        self._stop.is_unclean.set()
            finally:
                await self._hand_over_the_rest()

    async def _cut_when_draining(self, scope: anyio.CancelScope) -> None:
        await self._stop.draining.wait()
        scope.cancel()

    async def _find_source(self) -> Lineage:
        """List the shards, store where each shard begins, and return the lineage. Repeat this until it succeeds."""
        while True:
            self._held_by_old_runs = self._context.in_hand.held
            stored = await self._positions.load()
            asked_at = anyio.current_time()
            try:
                shards = await self._context.source.shards()
                lineage = await self._placed(stored, shards)
            except ServiceError as error:
                delay = self._pauses.after_failure(error, asked_at=asked_at)
                self._health.failed(self._context.source.limits.listing_operation, error, retry_in=delay)
                await self._stop.sleep(delay)
                continue
            self._health.found()
            self._pauses.succeeded()
            self._context.lane.emit(
                MappingReady(
                    mapping=self.mapping.name,
                    source=str(self.mapping.event_source_arn),
                    function=self.mapping.function_name,
                )
            )
            self._listings.report_end()
            return lineage

    async def _placed(self, stored: Mapping[ShardId, StoredCheckpoint], shards: list[Shard]) -> Lineage:
        positions = {shard_id: row.checkpoint.position for shard_id, row in stored.items()}
        windows = {shard_id: row.checkpoint.window for shard_id, row in stored.items()}
        self._windows = {shard_id: window for shard_id, window in windows.items() if window is not None}
        drained_at = {shard_id: row.saved_at for shard_id, row in stored.items() if positions[shard_id] == ShardEnd()}
        if not positions:
            if not shards and self._context.source.status not in ENDED:
                raise NotFound("the stream lists no shards yet: is it being created?", code="NoShards")
            now = AtTimestamp(self._context.source.clock.reached())
            by_hand = await self._positions.starting_position()
            positions = first_positions(shards, by_hand or self.mapping.starting_position)
            latest = [shard_id for shard_id, position in positions.items() if isinstance(position, Latest)]
            self._latest = await self._iterators_at_latest(latest)
            positions |= dict.fromkeys(latest, now)
            await self._positions.save({s: Checkpoint(p) for s, p in positions.items()})
            drained_at = dict.fromkeys(positions, self._context.lane.clock.now())
        memory = self._context.source.limits.drained_shard_memory
        lineage = Lineage(positions, drained_at, memory_in_seconds=memory)
        await self._listings.begin(lineage, shards)
        self._lineage = lineage
        return lineage

    async def _iterators_at_latest(self, shard_ids: list[ShardId]) -> dict[ShardId, ShardIterator]:
        """Return an iterator at LATEST for each of these shards.

        Calls that fail are repeated as long as other calls succeed. If all calls of a round fail, raises the first
        error.
        """
        iterators: dict[ShardId, ShardIterator] = {}
        at_once = anyio.CapacityLimiter(ITERATORS_AT_ONCE)
        while missing := [shard_id for shard_id in shard_ids if shard_id not in iterators]:
            failures: list[ServiceError] = []

            async def take(shard_id: ShardId, failures: list[ServiceError] = failures) -> None:
                async with at_once:
                    try:
                        iterators[shard_id] = await self._context.source.iterator(shard_id, Latest())
                    except ServiceError as error:
                        failures.append(error)

            async with anyio.create_task_group() as group:
                for shard_id in missing:
                    group.start_soon(take, shard_id)
            if len(failures) == len(missing):
                raise failures[0]
        return iterators

    async def _work(self, lineage: Lineage) -> None:
        async with anyio.create_task_group() as services:
            services.start_soon(self._checkpoints.run)
            with anyio.CancelScope() as working:
                services.start_soon(self._obey_the_stop, working)
                async with anyio.create_task_group() as shards:
                    with self._following:
                        await self._follow(lineage, shards, services)
            services.cancel_scope.cancel()

    async def _obey_the_stop(self, working: anyio.CancelScope) -> None:
        await self._stop.draining.wait()
        self._following.cancel()
        for reader in self._readers.values():
            reader.cut()
        self._context.lane.function.gate.send_home(self._stop.draining)
        await self._stop.releasing.wait()
        working.cancel()

    async def _follow(self, lineage: Lineage, shards: TaskGroup, services: TaskGroup) -> None:
        """Start a reader for each shard as soon as the shard may be read, until the stop."""
        async with anyio.create_task_group() as listings:
            listings.start_soon(self._listings.run)
            while not self._stop.has_begun:
                self._listings.changed = anyio.Event()
                for start in lineage.startable():
                    if start.shard_id not in self._held_by_old_runs and self._context.in_hand.take(start.shard_id):
                        self._held[start.shard_id] = -inf
                        shards.start_soon(self._read, start, services)
                    else:
                        listings.start_soon(self._read_after_old_run, start.shard_id, shards, services)
                await self._listings.changed.wait()
            listings.cancel_scope.cancel()

    async def _read_after_old_run(self, shard_id: ShardId, shards: TaskGroup, services: TaskGroup) -> None:
        """Wait until the old run frees the shard.

        Then read the shard from the last checkpoint that the old run has stored.
        """
        await self._context.in_hand.wait_for(shard_id)
        self._held[shard_id] = -inf
        position, window = await self._positions.load_shard(shard_id)
        if isinstance(position, ShardEnd):
            self._free(shard_id)
            self._listings.drained(shard_id)
            return
        self._windows.pop(shard_id, None)  # the old run may have closed the window since this run loaded it
        if window is not None:
            self._windows[shard_id] = window
        shards.start_soon(self._read, Start(shard_id, position), services)

    def _lose(self, shard_id: ShardId) -> None:
        if (reader := self._readers.get(shard_id)) is not None:
            reader.lose()

    async def _read(self, start: Start, services: TaskGroup) -> None:
        shard_id = start.shard_id
        reader = ShardReader(
            self._shards,
            shard_id,
            start.position,
            budget_in_bytes=BYTES_OF_A_SHARD,
            iterator=self._latest.pop(shard_id, None),
            window=self._windows.pop(shard_id, None),
        )
        self._readers[shard_id] = reader
        is_drained = False
        try:
            if not (self._stop.has_begun or self._positions.is_lost(shard_id)):
                is_drained = await reader.run()
        except Exception as error:  # a fault of poller must not cancel the invocations of the other shards
            self._stop.fail(error)
        finally:
            del self._readers[shard_id]
            self._held[shard_id] = reader.may_run_until
        if is_drained:
            await self._checkpoints.save()  # the parent's end must be stored before its children begin
            self._free(shard_id)
            if not self._positions.is_lost(shard_id):
                self._listings.drained(shard_id)
        else:
            services.start_soon(self._hand_over, shard_id)

    async def _hand_over(self, shard_id: ShardId) -> None:
        """Let the next run of this mapping read the shard. This run may still hold other shards."""
        await anyio.sleep_until(self._held[shard_id])
        await self._checkpoints.save()
        self._free(shard_id)

    async def _hand_over_the_rest(self) -> None:
        """Free the shards that this run still holds.

        If an invocation was cancelled, its function may still run. Then the shard is freed after the function's
        timeout, or when the grace is over.
        """
        for shard_id, may_run_until in sorted(self._held.items(), key=itemgetter(1)):
            with anyio.move_on_after(may_run_until - anyio.current_time()):
                await self._stop.releasing.wait()
            self._free(shard_id)

    def _free(self, shard_id: ShardId) -> None:
        del self._held[shard_id]
        self._context.in_hand.free(shard_id)
