"""How does a mapping of a stream run?  list the shards ── read each shard that may be read, under its lease.

    list the shards, again and again ── those that may be read (core/streams/lineage.py) get a task each:
         ^
         │      wait for the lease ── read and deliver (shard.py) ──┬── the shard is drained: its children may be read
         │             ^                                            └── the lease is lost, or another worker wants it
         │             └────────────────────────────────────────────────────────┘
         └── at once, if the children of a drained shard are unknown   (listing.py)

The process has one worker, which shares the leases with the workers of other processes (engine/leases/). A shard is
read from the checkpoint of its lease, so it does not matter who has read it before: another worker, an old run of this
mapping, or this run. Only if invocations of an old run still run, this run continues with the records that the old run
has in hand (in_hand.py).

At its first start, the mapping creates the row of each shard, before it reads a record. So it misses no record that is
written after the mapping is ready, even if the daemon crashes before the first record.
For LATEST, it requests iterators for all open shards, and stores the time before these requests. The time comes from
the source's clock, which also dates the records. After a restart before the first record, reading begins at this time.
The first start is over when the table has the row `:begun/...`, and not when it has the row of a shard. So no shard of
the first listing is mistaken for a new shard, which would begin at its oldest record. A crash in the middle does not
change this, and neither does another worker that lists the shards at the same time:

    list the shards, note the time, request iterators ── is the row `:begun/...` there now?
        no     another worker can be ready only later, so these positions are early enough: create the rows of the
               shards, where another worker has not done so, and then `:begun/...`; the mapping is ready
        yes    an unknown shard of the listing was created after the first start: it begins at its oldest record

While a stream has no shards, no row can be created, and the mapping is not ready.
At a stop, the readers end, invocations that run may finish within the grace, and each lease goes with its last
checkpoint to the next user or the next worker. If the daemon stops, the readers first go on until the other workers
know of the stop, so that a shard is hardly ever without a reader.

Sources: AWS Lambda Developer Guide, "Using Lambda with Kinesis" and "Using Lambda with DynamoDB".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from poller.core.filtering import RecordFilter
from poller.core.streams.former_names import former_names, way_back
from poller.core.streams.lineage import Lineage, first_positions
from poller.core.streams.stream_end import ENDED
from poller.engine.leases.lease import Lease
from poller.engine.leases.worker import Worker
from poller.engine.source_health import SourceHealth
from poller.engine.source_pauses import SourcePauses
from poller.engine.stop import Stop
from poller.engine.streams.budget import BYTES_OF_A_SHARD, Budget
from poller.engine.streams.lane import LaneContext
from poller.engine.streams.listing import Listings
from poller.engine.streams.orders import carry_out
from poller.engine.streams.rows import ShardRows, drained_at
from poller.engine.streams.shard import READS_AT_ONCE, ShardContext, ShardReader
from poller.engine.streams.watching import stream_status
from poller.engine.streams.weighing import RecordWeight
from poller.errors import CannotChange, NotFound, ServiceError
from poller.facts import MappingBeginsAnew, MappingReady
from poller.facts.leases import NAMED
from poller.model.ids import MappingName
from poller.model.lease import Row
from poller.model.mapping import StreamMapping
from poller.model.order import ShardOrder
from poller.model.status import BlockedShard, MappingStatus
from poller.model.stream import AtTimestamp, Checkpoint, Latest, Position, Shard, ShardEnd, ShardId, ShardIterator
from poller.ports import StreamSource

ITERATORS_AT_ONCE = 10
"""How many iterators are requested at the same time when a mapping starts at LATEST."""


class TakeOver(Protocol):
    async def __call__(self, *, waits: Callable[[str], None]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamContext:
    """Everything that a run of a stream mapping needs. All runs of the process share `worker` and `budget`.

    `state` is the address of the table of leases, which errors name.
    `names` returns the names of the stream mappings of the file.
    `take_over` lets the worker find the shards in the mapping's `kcl_table`, if the mapping has one. It may wait long,
    and calls `waits` with what it waits for.
    """

    lane: LaneContext
    source: StreamSource
    worker: Worker
    state: str
    names: Callable[[], Collection[MappingName]]
    filters: RecordFilter | None
    budget: Budget
    take_over: TakeOver


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
        self._rows = ShardRows(context.worker, self.mapping.state_key, address=context.state)
        self._readers: dict[ShardId, ShardReader] = {}
        self._cut_readers: dict[ShardId, ShardReader] = {}
        """The readers that have ended, although functions may still run with their records."""
        self._lineage: Lineage | None = None
        self._latest: dict[ShardId, ShardIterator] = {}
        self._listings = Listings(
            source=context.source,
            rows=self._rows,
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
            health=self._health,
            pauses=self._pauses,
            has_left=self._listings.has_left,
        )

    def status(self) -> MappingStatus:
        health = self._context.worker.health_with(self._health.health, now=self._context.lane.clock.now())
        health = self._context.lane.invocations.health.together_with(health)
        lanes = [lane for reader in self._readers.values() for lane in reader.lanes]
        readers = [reader for reader in self._readers.values() if reader.tells]
        return MappingStatus(
            mapping=self.mapping.name,
            function=self.mapping.function_name,
            source=str(self.mapping.event_source_arn),
            state=health.state,
            reason=health.reason,
            polls_in_flight=len(self._readers),
            batches_in_flight=sum(lane.is_invoking for lane in lanes),
            messages_held=sum(reader.records_in_hand for reader in readers),
            concurrency_limit=min(len(lanes), self._context.lane.function.gate.capacity),
            stream=stream_status(
                readers,
                self._lineage,
                worker=self._context.worker.owner,
                now=self._context.source.clock.now(),
            ),
            since=health.since,
            attempt=health.attempt,
            next_try=health.next_try,
            last_error=self._context.lane.invocations.last_error,
        )

    def held(self) -> list[str]:
        """Return the shards, or the lanes of shards, whose invocations still run, for a person."""
        readers = [*self._readers.values(), *self._cut_readers.values()]
        return [place for reader in readers for place in reader.held()]

    def order(self, order: ShardOrder) -> BlockedShard:
        """Execute a person's order, and return the block as it was before. Raises CannotChange (`orders.py`)."""
        reader = self._readers.get(order.shard_id)
        if reader is None:
            raise CannotChange(f"this daemon does not read the shard {order.shard_id} now")
        return carry_out(order, reader.lanes)

    async def run(self) -> None:
        """Read and deliver until the stop. After an exception, begin the stop of this run, and another run follows."""
        try:
            lineage = None
            with self._stop.cutting():
                await self._context.take_over(waits=self._health.waits)
                self._health.waits(None)
                lineage = await self._find_source()
            if lineage is not None:
                await self._work(lineage)
        except Exception as error:  # another run follows after a pause (runs.py)
            self._stop.fail(error)

    async def _find_source(self) -> Lineage:
        """List the shards, create their rows, and return the lineage. Repeat this until it succeeds."""
        while True:
            rows = await self._rows.load()
            asked_at = anyio.current_time()
            try:
                lineage = await self._begin(rows)
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

    async def _begin(self, rows: Mapping[ShardId, Row]) -> Lineage:
        source, marks = self._context.source, await self._rows.marks()
        marks.refuse_old_positions(self.mapping)
        of_kcl = rows if marks.has_begun and self.mapping.kcl_table is not None else {}
        shards = await source.shards()
        if not marks.has_begun:
            if not shards and source.status not in ENDED:
                raise NotFound("the stream lists no shards yet: is it being created?", code="NoShards")
            now = AtTimestamp(source.clock.reached())  # the listing's answer has set the clock
            positions = first_positions(shards, marks.by_hand or self.mapping.starting_position)
            latest = [shard_id for shard_id, position in positions.items() if isinstance(position, Latest)]
            iterators = await self._iterators_at_latest(latest)
            positions |= dict.fromkeys(latest, now)
            if not (await self._rows.marks()).has_begun:  # otherwise another worker has ended the first start
                rows = {**rows, **await self._first_rows(shards, positions, iterators)}
                if marks.by_hand is None and self.mapping.kcl_table is None:
                    self._warn_of_former_names()
        drained = drained_at(rows, now=self._context.lane.clock.now())
        lineage = Lineage(rows.keys(), drained, memory_in_seconds=source.limits.drained_shard_memory)
        await self._listings.begin(lineage, shards, of_kcl=of_kcl)
        self._lineage = lineage
        return lineage

    def _warn_of_former_names(self) -> None:
        """Warn of stored positions at which the mapping would continue if it had another name."""
        worker, mapping = self._context.worker, self.mapping
        found = former_names(worker.shards_seen(mapping.state_key.stream_arn), names=self._context.names())
        for former in found[:NAMED]:
            advice = way_back(former, mapping.name, state=self._context.state)
            self._context.lane.emit(MappingBeginsAnew(mapping.name, former, worker.is_paused(former), advice))

    async def _first_rows(
        self, shards: list[Shard], positions: Mapping[ShardId, Position], iterators: Mapping[ShardId, ShardIterator]
    ) -> dict[ShardId, Row]:
        """Create the rows of a first start, and return the row of each shard."""
        rows = await self._rows.begin(shards, positions, at=self._context.lane.clock.now())
        own = {shard_id for shard_id, row in rows.items() if row.checkpoint == Checkpoint(positions[shard_id])}
        self._latest = {shard_id: iterator for shard_id, iterator in iterators.items() if shard_id in own}
        return rows

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
            with anyio.CancelScope() as working:
                services.start_soon(self._leave_at_the_stop)
                services.start_soon(self._cut_at_the_stop, working)
                if self.mapping.tumbling_window_in_seconds is not None:
                    services.start_soon(self._store_windows)
                async with anyio.create_task_group() as shards:
                    with self._stop.cutting():
                        await self._follow(lineage, shards)
            services.cancel_scope.cancel()

    async def _leave_at_the_stop(self) -> None:
        """Let the readers leave at the stop. If the daemon stops, first wait until the other workers know it."""
        await self._stop.draining.wait()
        await self._context.worker.stop_announced()
        for reader in self._readers.values():
            reader.leave()

    async def _cut_at_the_stop(self, working: anyio.CancelScope) -> None:
        await self._stop.releasing.wait()
        working.cancel()

    async def _store_windows(self) -> None:
        """Let the worker store checkpoints more often, because the state of a window is stored with its checkpoint.

        One write stores the checkpoints of all shards.
        """
        while True:
            await anyio.sleep(self._context.worker.save_windows_every_seconds)
            for reader in self._readers.values():
                reader.store_soon()

    async def _follow(self, lineage: Lineage, shards: TaskGroup) -> None:
        """Begin a task for each shard as soon as the shard may be read, until the stop."""
        async with anyio.create_task_group() as listings:
            listings.start_soon(self._listings.run)
            while not self._stop.has_begun:
                self._listings.changed = anyio.Event()
                for shard_id in lineage.startable():
                    shards.start_soon(self._use, shard_id)
                await self._listings.changed.wait()

    async def _use(self, shard_id: ShardId) -> None:
        """Read the shard whenever this worker has its lease, until it is drained or the stop begins."""
        try:
            while not self._stop.has_begun:
                async with AsyncExitStack() as stack:
                    lease: Lease | None = None
                    with self._stop.cutting():
                        key, lanes = self._rows.key_of(shard_id), self.mapping.parallelization_factor
                        lease = await stack.enter_async_context(self._context.worker.lease(key, lanes=lanes))
                    if self._stop.has_begun:
                        return
                    is_drained = lease is None or await self._read(shard_id, lease)
                if is_drained:
                    self._listings.drained(shard_id)
                    return
        except Exception as error:  # a fault of poller must not cancel the invocations of the other shards
            self._stop.fail(error)

    async def _read(self, shard_id: ShardId, lease: Lease) -> bool:
        """Read the shard under its lease. Return True once the table has the shard's end.

        If an invocation was cancelled, its function may still run. Then wait until the function's timeout or the grace
        is over, so that no other invocation of its lane begins earlier.
        """
        if lease.checkpoint is not None and isinstance(lease.checkpoint.position, ShardEnd):
            return await lease.stored()  # an earlier run of this mapping has read the end, and could not store it
        lease.read_since = self._context.lane.clock.now()
        reader = ShardReader(
            replace(self._shards, lane=replace(self._context.lane, stop=Stop())),
            shard_id,
            lease,
            budget_in_bytes=BYTES_OF_A_SHARD,
            iterator=self._latest.pop(shard_id, None),
        )
        self._readers[shard_id] = reader
        try:
            return await reader.run()
        except Exception as error:
            self._stop.fail(error)
            return False
        finally:
            del self._readers[shard_id]
            self._cut_readers[shard_id] = reader
            try:
                # a stop does not wait for a lost lease: another worker may read the shard already
                with self._stop.cutting() if lease.is_lost else nullcontext():
                    await anyio.sleep_until(reader.may_run_until)
            finally:
                del self._cut_readers[shard_id]
