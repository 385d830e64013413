"""Is no accepted event lost, for any seed? The engine runs on a virtual clock (see events_scenario.py).

The name of a failing test has its seed, and this command replays it exactly: `pytest
tests/simulation/test_events_seeds.py --first-seed SEED --seeds 1`.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.events_scenario import EventsScenario
from tests.simulation.world import run_seeded

SEEDS_IN_THE_GATE = 80


def test_no_accepted_event_vanishes(seed: int) -> None:
    async def main() -> None:
        await EventsScenario(seed).run()

    run_seeded(seed, main)


def test_a_seed_of_events_replays_exactly() -> None:
    async def main() -> list[str]:
        scenario = EventsScenario(17)
        await scenario.run()
        return [repr(fact) for fact in scenario.world.facts]

    assert run_seeded(17, main) == run_seeded(17, main)


@pytest.mark.slow
def test_many_events_of_the_first_seeds_have_no_trouble_and_many_have_some() -> None:
    async def main(seed: int) -> Counter[str]:
        return await EventsScenario(seed).run()

    counts: Counter[str] = sum((run_seeded(seed, main, seed) for seed in range(10)), Counter())
    assert counts["without trouble"] > 50
    assert counts["with trouble"] > 20
