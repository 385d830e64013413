"""How does one process read the stream of a simulation? As a stream mapping would, over the leases of its worker.

    list the shards ── create their rows ── those that may be read (Lineage) get a task each ── lease ── read ── invoke

It asks the worker for nothing but what `engine/leases/` offers to a mapping.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import anyio
from anyio.abc import TaskGroup

from poller.core.streams.lineage import Lineage
from poller.engine.leases.lease import Lease
from poller.engine.leases.worker import Worker
from poller.engine.stop import Stop
from poller.model.ids import RequestId
from poller.model.lease import Row
from poller.model.stream import (
    AfterSequence,
    Checkpoint,
    Position,
    SequenceNumber,
    ShardEnd,
    ShardId,
    TrimHorizon,
)
from tests.simulation.leases_process import ProcessClock, WorkerProcess
from tests.simulation.leases_recorder import RecordingFunction
from tests.simulation.leases_stream import PREFIX, STATE, SharedStream, key_of, shard_of
from tests.simulation.leases_units import FUNCTION, UnitsOfOne

LIST_AGAIN_IN_SECONDS = 20.0
READ_AGAIN_IN_SECONDS = 0.25
BATCH_SIZE = 100
RETRY_IN_SECONDS = 0.5
ATTEMPTS = 6
"""How often a batch is tried before its records are discarded."""


class Reader:
    """Reads the stream in one process until the stop. `left_at` and `got_at` note when it had leases."""

    def __init__(
        self,
        worker: Worker,
        *,
        process: WorkerProcess,
        clock: ProcessClock,
        stream: SharedStream,
        function: RecordingFunction,
        stop: Stop,
        randomness: Random,
        note: Callable[[ShardId, str], None],
        read_again_in_seconds: float = READ_AGAIN_IN_SECONDS,
        units: int | None = None,
    ) -> None:
        self.reading: set[ShardId] = set()
        self._worker = worker
        self._process = process
        self._clock = clock
        self._stream = stream
        self._function = function
        self._stop = stop
        self._randomness = randomness
        self._note = note
        self._read_again_in_seconds = read_again_in_seconds
        self.units = UnitsOfOne(worker, units, stop)
        if units is not None:
            worker.functions[STATE.mapping] = FUNCTION
        self._lineage: Lineage
        self._changed = anyio.Event()
        self._leaves = anyio.Event()
        """Set when the users of leases leave: a stop has begun, and the other workers know of it."""

    async def run(self) -> None:
        with self._worker.open_run(STATE.mapping):
            await self._read_all()

    async def _read_all(self) -> None:
        rows = await self._worker.rows(PREFIX)
        positions: dict[ShardId, Position] = {
            shard_of(row.key): row.checkpoint.position for row in rows if row.checkpoint is not None
        }
        drained = {shard_id: 0.0 for shard_id, position in positions.items() if position == ShardEnd()}
        self._lineage = Lineage(positions, drained, memory_in_seconds=1e9)
        async with anyio.create_task_group() as units, anyio.create_task_group() as shards:
            units.start_soon(self.units.run)
            shards.start_soon(self._leave_at_the_stop)
            async with anyio.create_task_group() as listings:
                listings.start_soon(self._list_again_and_again)
                while not self._stop.has_begun:
                    self._changed = anyio.Event()
                    for shard_id in self._lineage.startable():
                        shards.start_soon(self._read_shard, shard_id, shards)
                    await self._stop.before(self._changed)
                listings.cancel_scope.cancel()
            shards.start_soon(self._end_waiting, shards)

    async def _leave_at_the_stop(self) -> None:
        await self._stop.draining.wait()
        await self._worker.stop_announced()
        self._leaves.set()

    async def _end_waiting(self, shards: TaskGroup) -> None:
        """Cancel the tasks that wait for a lease, once all others have ended."""
        while self.reading:
            await self._clock.sleep_until(self._clock.now() + 0.01)
        shards.cancel_scope.cancel()

    async def _list_again_and_again(self) -> None:
        while True:
            await self._list()
            await self._clock.sleep_until(self._clock.now() + LIST_AGAIN_IN_SECONDS)

    async def _list(self) -> None:
        listing = self._lineage.compared(self._stream.listing(), now=0.0)
        found = [
            Row(
                key=key_of(shard_id),
                checkpoint=Checkpoint(TrimHorizon()),
                details={"parents": list(shard.parent_ids)},
            )
            for shard_id, shard in listing.shards.items()
            if shard_id in listing.found
        ]
        if found:
            await self._worker.create(found)
        self._lineage.take_in(listing, {})
        self._changed.set()

    async def _read_shard(self, shard_id: ShardId, shards: TaskGroup) -> None:
        while not self._stop.has_begun:
            async with self._worker.lease(key_of(shard_id)) as lease:
                is_drained = lease is None or await self._read_leased(shard_id, lease)
            if is_drained:
                self._lineage.drained(shard_id, now=0.0)
                self._changed.set()
                shards.start_soon(self._list)
                return

    async def _read_leased(self, shard_id: ShardId, lease: Lease) -> bool:
        """Read and deliver. Return True once the shard's end is stored."""
        self.reading.add(shard_id)
        self._note(shard_id, "got")
        try:
            with lease.scope:
                async with anyio.create_task_group() as watching:
                    leaving = anyio.Event()
                    for reason in (self._leaves, lease.is_wanted_back):
                        watching.start_soon(self._send_home, reason, leaving)
                    is_drained = await self._deliver(shard_id, lease, leaving)
                    watching.cancel_scope.cancel()
                return is_drained
            return False
        finally:
            self.reading.discard(shard_id)
            self._note(shard_id, "left")

    async def _send_home(self, reason: anyio.Event, leaving: anyio.Event) -> None:
        """Let the user leave, and wait for the function no longer, when this event is set."""
        await reason.wait()
        leaving.set()
        self.units.capacity.gate.send_home()

    async def _deliver(self, shard_id: ShardId, lease: Lease, leaving: anyio.Event) -> bool:
        assert lease.checkpoint is not None
        after = _number(lease.checkpoint.position)
        while not self._must_leave(lease):
            records = self._stream.read(shard_id, after, limit=BATCH_SIZE)
            if records is None:
                lease.save(Checkpoint(ShardEnd()), at=0.0)
                return await lease.stored()
            if not records:
                await self._pause(lease, self._read_again_in_seconds)
                continue
            if not await self._deliver_batch(shard_id, lease, records, leaving):
                return False
            after = records[-1]
            lease.blocks.clear()
            lease.save(Checkpoint(AfterSequence(SequenceNumber(str(after)))), at=0.0)
        return False

    async def _deliver_batch(self, shard_id: ShardId, lease: Lease, records: range, leaving: anyio.Event) -> bool:
        """Deliver the batch until it is done or discarded. Return False if the user has to leave before."""
        first = SequenceNumber(str(records[0]))
        attempts = lease.blocks[first].attempts if first in lease.blocks else 0
        while attempts < ATTEMPTS:
            succeeded = await self._invoke(shard_id, lease, records, leaving)
            if succeeded:
                return True
            if succeeded is False:
                attempts += 1
                lease.block(first, len(records), attempts=attempts, request_id=RequestId("request"), at=0.0)
            if attempts < ATTEMPTS:
                await self._pause(lease, RETRY_IN_SECONDS)
                if self._must_leave(lease):
                    return False
        return True

    def _must_leave(self, lease: Lease) -> bool:
        return self._leaves.is_set() or lease.is_wanted_back.is_set()

    async def _invoke(self, shard_id: ShardId, lease: Lease, records: range, leaving: anyio.Event) -> bool | None:
        """Return whether the function has succeeded; None if there is no invocation, or if it was cut."""

        async def call() -> bool:
            deadline = anyio.current_time() + lease.seconds_left / self._clock.rate
            lease.rate.count(100 * len(records))
            return await self._function.invoke(self._process, lease.token, shard_id, records, deadline=deadline)

        return await self.units.invoke(call, may_begin=lease.may_begin, unless=leaving)

    async def _pause(self, lease: Lease, seconds: float) -> None:
        """Sleep, at most until the user has to leave."""
        async with anyio.create_task_group() as group:

            async def end_at(event: anyio.Event) -> None:
                await event.wait()
                group.cancel_scope.cancel()

            group.start_soon(end_at, self._leaves)
            group.start_soon(end_at, lease.is_wanted_back)
            await self._clock.sleep_until(self._clock.now() + seconds)
            group.cancel_scope.cancel()


def _number(position: Position) -> int:
    return int(position.sequence_number) if isinstance(position, AfterSequence) else 0
