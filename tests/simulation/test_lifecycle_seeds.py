"""Are all promises kept while mappings are added, removed, paused and crash? See lifecycle.py.

The name of a failing test has its seed, and this command replays it exactly: `pytest
tests/simulation/test_lifecycle_seeds.py --first-seed SEED --seeds 1`.
"""

from __future__ import annotations

import pytest

from tests.simulation import queue_part, stream_shape
from tests.simulation.lifecycle import changing_queues, changing_streams
from tests.simulation.replaying import difference_in_another_process
from tests.simulation.world import Steps, run_seeded

SEEDS_IN_THE_GATE = 25


def test_nothing_is_lost_or_reordered_while_mappings_of_queues_change(seed: int) -> None:
    async def main() -> None:
        await changing_queues(queue_part.draw(seed)).run()

    run_seeded(seed, main)


def test_nothing_is_lost_or_reordered_while_mappings_of_queues_and_streams_change(seed: int) -> None:
    async def main() -> None:
        await changing_streams(stream_shape.draw(seed)).run()

    run_seeded(seed, main)


def test_a_run_stores_the_end_of_a_shard_that_the_run_before_could_not_store() -> None:
    """In this seed the state fails at the end of a shard, and the grace of a replaced run ends meanwhile."""

    async def main() -> None:
        await changing_streams(stream_shape.draw(700_044)).run()

    run_seeded(700_044, main)


def steps_of(seed: int) -> list[str]:
    async def main() -> None:
        await changing_streams(stream_shape.draw(seed)).run()

    steps = Steps()
    run_seeded(seed, main, instruments=[steps])
    return steps.tasks


@pytest.mark.slow
def test_a_seed_replays_exactly_in_another_process() -> None:
    assert difference_in_another_process(steps_of, 2) is None
