"""How do four workers share very many shards, and what does it cost?

`python -m tests.simulation.test_many_leases 10000` prints the numbers for 10,000 shards, in some minutes:

    start      0.1 s: the first worker creates all rows with one call, and takes all leases with another
    growth     3.7 s until three more workers have their parts: 7,059 moves, each with a gap of 0.9 s at most
    steady     2,930 rows written a second with 6 calls, and one scan a worker in ten seconds
    loss       10 s until all shards are read again: 3,334, 3,333 and 3,333
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
from anyio.abc import TaskGroup

from poller.core.leases.balancing import THRESHOLD
from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS, RENEWALS_PER_DURATION
from tests.simulation.leases_checker import unread
from tests.simulation.leases_world import LeaseWorld
from tests.simulation.world import run_seeded

WORKERS = 4
NEVER = 1e9

ALIKE = 1 / (1 - THRESHOLD) + 0.02
"""When all workers are balanced, a worker may have at most this many times the shards of another worker."""


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
        gaps = sorted(each.until - each.since for each in unread(self._world) if each.since >= self._began_at)
        self.moves, self.longest_gap = len(gaps), max(gaps, default=0.0)
        calls = self._world.table.calls - self._calls
        self.calls: Counter[str] = Counter()
        for (_, operation), count in calls.items():
            self.calls[operation] += count

    def __str__(self) -> str:
        moves = f"{self.moves} moves with a gap of {self.longest_gap:.1f} s at most"
        return f"{self.seconds:.1f} s, {moves}, {dict(self.calls)}, {self.rows} rows written"


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
            self.world.start(tasks, "worker-0")
            await self._until_all_are_read()
        await anyio.sleep(12.3)
        with self._phase("growth"):
            for number in range(1, WORKERS):
                self.world.start(tasks, f"worker-{number}")
                await anyio.sleep(0.2)
            await self._until(lambda: max(self.reading) <= ALIKE * min(self.reading))
            await self._until_all_are_read()
        with self._phase("steady"):
            await anyio.sleep(20.0)
        with self._phase("loss"):
            self.world.running[0].crash()
            await anyio.sleep(0.1)
            await self._until_all_are_read()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.1)

    async def _until_all_are_read(self) -> None:
        await self._until(lambda: sum(self.reading) == self.shards)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        phase = self.phases[name] = Phase(self.world)
        yield
        phase.end()
        if __name__ == "__main__":
            print(name, phase, self.reading, flush=True)


def test_four_workers_share_many_shards_and_those_of_a_dead_one() -> None:
    many = ManyShards(400)
    many.run()
    start, growth, steady, loss = (many.phases[name] for name in ("start", "growth", "steady", "loss"))
    assert start.seconds < 1
    assert growth.seconds < 5
    assert growth.longest_gap < 2
    assert loss.seconds < 2 * LEASE_DURATION_IN_SECONDS + 1
    assert max(many.reading) <= ALIKE * min(many.reading)
    renewals = steady.seconds / LEASE_DURATION_IN_SECONDS * RENEWALS_PER_DURATION
    assert steady.moves == 0
    assert steady.rows <= 1.05 * (renewals + 1) * (many.shards + WORKERS)
    assert steady.calls["scan"] <= WORKERS * (steady.seconds / LEASE_DURATION_IN_SECONDS + 1)
    assert steady.calls["update"] <= 3 * WORKERS * (renewals + 1)


if __name__ == "__main__":
    ManyShards(int(sys.argv[1])).run()
