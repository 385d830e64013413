"""Are all promises for streams kept by several workers that share them? A seed draws when workers end and begin.

    worker 1   ── life ── crash │ stop ── life ── ... ──┐
    worker 2   ── life ── ...                           ├── until all records are done
    worker 3   ── ...                                   ┘

For some times, one worker does not reach the streams, while the others do.
The engine is the real one, with a table of leases that all workers share (tests/fakes/store.py). The name of a failing
test has its seed, and this command replays it exactly: `pytest tests/simulation/test_stream_workers_seeds.py
--first-seed SEED --seeds 1`.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

import anyio
import pytest

from tests.simulation.replaying import difference_in_another_process
from tests.simulation.scenario import How, Scenario, ending_at
from tests.simulation.stream_part import Streams
from tests.simulation.stream_shape import TROUBLE_ENDS_AT, draw
from tests.simulation.world import Steps, run_seeded

SEEDS_IN_THE_GATE = 40


class Workers(Scenario):
    """A scenario with several workers. Each of them has one life after another."""

    def __init__(self, streams: Streams, *, seed: int) -> None:
        super().__init__(streams.world, streams.shape, streams)
        randomness = Random(seed + 6)
        self._lives_of = [
            [
                (at, randomness.choice(HOW))
                for at in sorted(randomness.uniform(0.5, TROUBLE_ENDS_AT) for _ in range(randomness.choice([0, 1, 3])))
            ]
            for _ in range(randomness.choice([2, 2, 3, 4]))
        ]
        self._partitions = [
            (at, randomness.choice([1.0, 15.0, 60.0]))
            for at in sorted(randomness.uniform(0.5, TROUBLE_ENDS_AT) for _ in range(randomness.choice([0, 1, 3])))
        ]
        self._begins_at = [randomness.choice([0.0, 0.0, 0.01, 5.0, 30.0]) for _ in self._lives_of]

    async def run_lives(self) -> None:
        async with anyio.create_task_group() as workers:
            for begins_at, lives in zip(self._begins_at, self._lives_of, strict=True):
                workers.start_soon(self._run_worker, begins_at, lives)
            for at, seconds in self._partitions:
                workers.start_soon(self._cut_off, at, seconds)

    async def _cut_off(self, at: float, seconds: float) -> None:
        """Let the newest process not reach the streams for this time."""
        await anyio.sleep_until(at)
        for life in self.world.lives[-1:]:
            life.process.is_cut_off_from_streams = True
            await anyio.sleep(seconds)
            life.process.is_cut_off_from_streams = False

    async def _run_worker(self, begins_at: float, lives: list[tuple[float, How]]) -> None:
        await anyio.sleep_until(begins_at)
        for at, how in lives:
            await self.live(ending_at(at, how))
            await anyio.sleep(self.randomness.choice([0.0, 1.0, 20.0]))
        await self.live(self.until_quiet)


HOW: list[How] = ["crash", "stop", "stop", "hurry"]


def scenario_of(seed: int) -> Workers:
    """Return the scenario. No record is trimmed: a worker drops the records of a lease that it loses."""
    shape = replace(draw(seed), kind="trouble", has_queue=False, retention_in_seconds=86_400.0, ends=(), clock=())
    return Workers(Streams(shape, has_changes=True), seed=seed)


def test_nothing_is_lost_or_reordered_and_no_shard_has_two_owners(seed: int) -> None:
    async def main() -> None:
        await scenario_of(seed).run()

    run_seeded(seed, main)


def history_of(seed: int) -> list[str]:
    async def main() -> list[str]:
        scenario = scenario_of(seed)
        await scenario.run()
        return [repr(write) for write in scenario.world.store.table.history]

    steps = Steps()
    return run_seeded(seed, main, instruments=[steps]) + steps.tasks


@pytest.mark.slow
def test_a_seed_of_workers_replays_exactly_in_another_process() -> None:
    assert difference_in_another_process(history_of, 6) is None
