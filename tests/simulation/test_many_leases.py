"""How do four workers share very many shards, and what does it cost?

`python -m tests.simulation.test_many_leases 10000` prints the numbers for 10,000 shards, in some minutes:

    start      1 s: the first worker creates all rows with one call, and takes all leases with another
    balance    100 leases move in ten seconds, because a worker's row has room for so many requests
    steady     3,020 rows written a second with 6 calls, and one scan a worker in ten seconds
    loss       9.9 s until all shards are read again: 3,334, 3,333 and 3,333
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest
from anyio.abc import TaskGroup

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS, RENEWALS_PER_DURATION
from tests.simulation.leases_world import LeaseWorld
from tests.simulation.world import run_seeded

WORKERS = 4
NEVER = 1e9


class Phase:
    """What happened in one phase: virtual seconds, calls of the table, and rows that were written."""

    def __init__(self, world: LeaseWorld) -> None:
        self._world = world
        self._began_at = anyio.current_time()
        self._calls = world.table.calls.copy()
        self._writes = len(world.table.history)

    def end(self) -> None:
        self.seconds = anyio.current_time() - self._began_at
        self.rows = len(self._world.table.history) - self._writes
        calls = self._world.table.calls - self._calls
        self.calls: Counter[str] = Counter()
        for (_, operation), count in calls.items():
            self.calls[operation] += count

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, {dict(self.calls)}, {self.rows} rows written"


class ManyShards:
    """The shards have no records: only the leases cost anything."""

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self.world = LeaseWorld(seed=1, interval_in_seconds=NEVER, read_again_in_seconds=20.0)
        self.phases: dict[str, Phase] = {}

    @property
    def reading(self) -> list[int]:
        return [len(life.reader.reading) for life in self.world.running]

    def run(self) -> None:
        run_seeded(1, self._main)

    async def _main(self) -> None:
        async with anyio.create_task_group() as tasks:
            await self._play(tasks)
            tasks.cancel_scope.cancel()

    async def _play(self, tasks: TaskGroup) -> None:
        for _ in range(self.shards):
            self.world.stream.open()
        with self._phase("start"):
            for number in range(WORKERS):
                self.world.start(tasks, f"worker-{number}")
                await anyio.sleep(0.2)
            await self._until_all_are_read()
        with self._phase("balance"):
            await anyio.sleep(60.0)
        with self._phase("steady"):
            await anyio.sleep(20.0)
        with self._phase("loss"):
            self.world.running[0].crash()
            await anyio.sleep(0.1)
            await self._until_all_are_read()

    async def _until_all_are_read(self) -> None:
        while sum(self.reading) < self.shards:  # noqa: ASYNC110
            await anyio.sleep(0.1)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        phase = self.phases[name] = Phase(self.world)
        yield
        phase.end()
        if __name__ == "__main__":
            print(name, phase, self.reading, flush=True)


@pytest.mark.slow
def test_four_workers_share_many_shards_and_those_of_a_dead_one() -> None:
    many = ManyShards(400)
    many.run()
    assert many.phases["start"].seconds < 3
    assert many.phases["loss"].seconds < 2 * LEASE_DURATION_IN_SECONDS + 1
    assert max(many.reading) <= 1.25 * min(many.reading)
    steady = many.phases["steady"]
    renewals = steady.seconds / LEASE_DURATION_IN_SECONDS * RENEWALS_PER_DURATION
    assert steady.rows <= 1.05 * (renewals + 1) * (many.shards + WORKERS)
    assert steady.calls["scan"] <= WORKERS * (steady.seconds / LEASE_DURATION_IN_SECONDS + 1)
    assert steady.calls["update"] <= 3 * WORKERS * (renewals + 1)


if __name__ == "__main__":
    ManyShards(int(sys.argv[1])).run()
