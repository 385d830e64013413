"""Are all promises for queues kept for any seed? The whole engine runs on a virtual clock; see queue_part.py.

The name of a failing test has its seed, and this command replays it exactly: `pytest
tests/simulation/test_queue_seeds.py --first-seed SEED --seeds 1`.
"""

from __future__ import annotations

from tests.simulation.queue_part import Queues, draw
from tests.simulation.scenario import Scenario
from tests.simulation.world import run_seeded

SEEDS_IN_THE_GATE = 250


def scenario_of(seed: int) -> Scenario:
    queues = Queues(draw(seed))
    return Scenario(queues.world, queues.shape, queues)


def test_nothing_is_lost_or_reordered(seed: int) -> None:
    async def main() -> None:
        await scenario_of(seed).run()

    run_seeded(seed, main)


def test_a_seed_replays_exactly() -> None:
    async def main() -> list[str]:
        scenario = scenario_of(17)
        await scenario.run()
        return [repr(fact) for fact in scenario.world.facts]

    assert run_seeded(17, main) == run_seeded(17, main)
