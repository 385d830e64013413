"""Are all promises for streams kept for any seed? The engine runs on a virtual clock; see stream_part.py.

The name of a failing test has its seed, and this command replays it exactly: `pytest
tests/simulation/test_stream_seeds.py --first-seed SEED --seeds 1`.
"""

from __future__ import annotations

import pytest

from tests.simulation.scenario import Scenario
from tests.simulation.stream_part import Streams
from tests.simulation.stream_shape import draw
from tests.simulation.world import run_seeded

SEEDS_IN_THE_GATE = 80


def scenario_of(seed: int) -> Scenario:
    streams = Streams(draw(seed))
    return Scenario(streams.world, streams.shape, streams)


def test_nothing_is_lost_or_reordered_on_streams(seed: int) -> None:
    async def main() -> None:
        await scenario_of(seed).run()

    run_seeded(seed, main)


@pytest.mark.slow
def test_a_seed_of_streams_replays_exactly() -> None:
    async def main() -> list[str]:
        scenario = scenario_of(17)
        await scenario.run()
        return [repr(fact) for fact in scenario.world.facts]

    assert run_seeded(17, main) == run_seeded(17, main)
