"""Are all promises kept while mappings are added, removed, paused and crash? See lifecycle.py.

The name of a failing test has its seed, and this command replays it exactly: `pytest
tests/simulation/test_lifecycle_seeds.py --first-seed SEED --seeds 1`.
"""

from __future__ import annotations

from tests.simulation import queue_part, stream_shape
from tests.simulation.lifecycle import changing_queues, changing_streams
from tests.simulation.world import run_seeded

SEEDS_IN_THE_GATE = 25
QUICK_SEEDS = 2


def test_nothing_is_lost_or_reordered_while_mappings_of_queues_change(seed: int) -> None:
    async def main() -> None:
        await changing_queues(queue_part.draw(seed)).run()

    run_seeded(seed, main)


def test_nothing_is_lost_or_reordered_while_mappings_of_queues_and_streams_change(seed: int) -> None:
    async def main() -> None:
        await changing_streams(stream_shape.draw(seed)).run()

    run_seeded(seed, main)
