"""What happens to the workers of one seed? Crashes, pauses, partitions, deploys, reshards and blocked shards.

    start ──── troubles, drawn from the seed ──── calm ──── the stream ends, all shards are drained ──── stop ──── check

The troubles end at a fixed time. From then on all must recover, and within a bound each shard has a reader again.
"""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS, is_drained
from poller.model.stream import ShardId
from tests.fakes.faults import FaultPlan
from tests.fakes.lease_store import FakeLeaseTable
from tests.simulation.checker import Violation
from tests.simulation.leases_checker import check, check_cost
from tests.simulation.leases_reader import ATTEMPTS
from tests.simulation.leases_recorder import RecordingFunction
from tests.simulation.leases_stream import PREFIX, key_of
from tests.simulation.leases_world import LeaseLife, LeaseWorld, Table

TROUBLES_IN_SECONDS = 90.0
RECOVERY_IN_SECONDS = 3 * LEASE_DURATION_IN_SECONDS * 1.1 + 5
"""After the troubles, each shard that waits for no parent has a reader within this time.

A dead worker's lease is seen by a scan, and expires one lease duration later. Its last renewal may arrive late."""
DRAINED_IN_SECONDS = 120.0
"""The whole stream must be drained within this time after its end."""


class LeaseScenario:
    """The life of all workers in one world."""

    def __init__(self, seed: int, table: Table | None = None) -> None:
        self.randomness = Random(seed)
        draw = self.randomness
        staleness_in_seconds = draw.choice([0.0, 0.0, 2.0])
        table = table or FakeLeaseTable(seed=seed, staleness_in_seconds=staleness_in_seconds)
        units = draw.choice([None, None, 1, 2, 5])
        durations = [(0.02, 0.2)] if units is not None else [(0.02, 0.2), (0.1, 2.0), (0.5, 15.0)]
        function = RecordingFunction(Random(seed), duration_in_seconds=draw.choice(durations))
        self.world = LeaseWorld(
            seed=seed,
            table=table,
            function=function,
            interval_in_seconds=draw.choice([0.3, 1.0, 4.0]),
            patience_in_seconds=draw.choice([0.0, 2.0, 10.0]),
            units=units,
        )
        self.workers = draw.choice([2, 2, 3, 3, 4, 8])
        self.shards = draw.randint(1, 10)
        self.fault_rates: dict[str, Any] = draw.choice(
            [{}, {}, {"throttle_rate": 0.1}, {"lost_answer_rate": 0.1, "slow_answer_rate": 0.05}]
        )
        self.troubles = draw.sample(
            [
                self._crash,
                self._pause,
                self._cut_off,
                self._delay_answers,
                self._deploy,
                self._reshard,
                self._block,
            ],
            k=draw.randint(1, 7),
        )
        self._names = 0
        self._is_deploying = False
        self._delayed_until = 0.0

    async def run(self) -> LeaseWorld:
        world = self.world
        async with anyio.create_task_group() as tasks:
            for _ in range(self.shards):
                world.stream.open()
            for _ in range(self.workers):
                self._start(tasks)
            await self._make_trouble(tasks)
            await self._recover(tasks)
            world.stream.end()
            await self._wait_until_drained()
            for life in world.running:
                life.begin_stop()
        check(world)
        if not (self.fault_rates or {self._cut_off, self._delay_answers}.intersection(self.troubles)):
            check_cost(world)
        return world

    def _start(self, tasks: TaskGroup) -> LeaseLife:
        draw = self.randomness
        self._names += 1
        faults = FaultPlan(
            seed=draw.randrange(2**32),
            latency_in_seconds=draw.choice([(0.001, 0.005), (0.005, 0.05), (0.05, 0.3)]),
            ends_at=TROUBLES_IN_SECONDS,
            **self.fault_rates,
        )
        rate, offset = draw.uniform(0.9, 1.1), draw.choice([0.0, -1e6, 1e6])
        return self.world.start(tasks, f"worker-{self._names}", rate=rate, offset=offset, faults=faults)

    async def _make_trouble(self, tasks: TaskGroup) -> None:
        draw = self.randomness
        while anyio.current_time() < TROUBLES_IN_SECONDS:
            await anyio.sleep(draw.choice([0.1, 1.0, 5.0, 20.0]) * draw.uniform(0.5, 1.5))
            trouble = draw.choice(self.troubles)
            tasks.start_soon(trouble, tasks)

    async def _crash(self, tasks: TaskGroup) -> None:
        if self.world.running:
            self.randomness.choice(self.world.running).crash()
            await anyio.sleep(self.randomness.choice([0.0, 3.0, 15.0]))
            self._start(tasks)

    async def _pause(self, tasks: TaskGroup) -> None:
        if self.world.running:
            process = self.randomness.choice(self.world.running).process
            process.pause()
            await anyio.sleep(self.randomness.choice([0.5, 5.0, 9.0, 12.0, 40.0]) * self.randomness.uniform(0.8, 1.2))
            process.resume()

    async def _cut_off(self, tasks: TaskGroup) -> None:
        if self.world.running:
            life = self.randomness.choice(self.world.running)
            life.cut_off(self.randomness.choice([1.0, 5.0, 9.0, 12.0, 30.0]) * self.randomness.uniform(0.8, 1.2))
        await anyio.lowlevel.checkpoint()

    async def _delay_answers(self, tasks: TaskGroup) -> None:
        """Let the writes of one worker have no answers in time, also for long after the other troubles.

        The others read its shards meanwhile.
        """
        seconds = self.randomness.choice([5.0, 12.0, 30.0, 150.0]) * self.randomness.uniform(0.8, 1.2)
        if anyio.current_time() >= self._delayed_until and self.world.running:
            self._delayed_until = anyio.current_time() + seconds
            self.randomness.choice(self.world.running).delay_answers(seconds)
        await anyio.lowlevel.checkpoint()

    async def _deploy(self, tasks: TaskGroup) -> None:
        """Replace one worker after another."""
        if self._is_deploying:
            return
        self._is_deploying = True
        for life in [life for life in self.world.running if life.stopped_at is None]:
            if self.randomness.random() < 0.5:
                self._start(tasks)
                await anyio.sleep(self.randomness.uniform(0.0, 5.0))
                life.begin_stop()
            else:
                life.begin_stop()
                await anyio.sleep(self.randomness.uniform(0.0, 5.0))
                self._start(tasks)
        self._is_deploying = False

    async def _reshard(self, tasks: TaskGroup) -> None:
        open_shards = self.world.stream.open_shards
        if len(self.world.stream.shards) < 40:
            if len(open_shards) > 1 and self.randomness.random() < 0.4:
                self.world.stream.reshard(*self.randomness.sample(open_shards, 2), children=1)
            elif open_shards:
                self.world.stream.reshard(self.randomness.choice(open_shards), children=2)
        await anyio.lowlevel.checkpoint()

    async def _block(self, tasks: TaskGroup) -> None:
        """Let the function fail for one record of a shard, less often than the reader tries."""
        shard = self.world.stream.shards[self.randomness.choice(self.world.stream.open_shards)]
        blocks = self.world.function.blocks
        if all(shard_id != shard.shard_id for shard_id, _ in blocks):
            blocks[shard.shard_id, shard.arrived(anyio.current_time()) + 1] = self.randomness.randint(1, ATTEMPTS - 1)
        await anyio.lowlevel.checkpoint()

    async def _recover(self, tasks: TaskGroup) -> None:
        """Wait until the last trouble is over, and check that then each shard has a reader."""
        await anyio.sleep(60)
        assert self.world.running
        began = anyio.current_time()
        await anyio.sleep(RECOVERY_IN_SECONDS)
        reading = {shard_id for life in self.world.running for shard_id in life.reader.reading}
        unread = set(self.world.stream.open_shards) - reading
        if missing := sorted(shard_id for shard_id in unread if not self._waits(shard_id, reading)):
            raise Violation(f"nobody reads {missing} {anyio.current_time() - began} s after the last trouble")

    def _waits(self, shard_id: ShardId, reading: Collection[ShardId]) -> bool:
        """Return whether the shard waits for an ancestor that is being read. The function may take long for it."""
        rows = self.world.table.rows
        parents = [parent for parent in self.world.stream.shards[shard_id].parent_ids if key_of(parent) in rows]
        waiting = [parent for parent in parents if not is_drained(rows[key_of(parent)])]
        return any(parent in reading or self._waits(parent, reading) for parent in waiting)

    async def _wait_until_drained(self) -> None:
        with anyio.move_on_after(DRAINED_IN_SECONDS):
            while not self._is_drained():  # noqa: ASYNC110
                await anyio.sleep(1.0)
            return
        raise Violation(f"the stream is not drained {DRAINED_IN_SECONDS} s after its end")

    def _is_drained(self) -> bool:
        rows = [row for row in self.world.table.rows.values() if row.key.startswith(PREFIX)]
        return len(rows) == len(self.world.stream.shards) and all(is_drained(row) for row in rows)
