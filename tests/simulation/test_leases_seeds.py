"""Are all promises about leases kept for any seed? The real worker on a virtual clock; see leases_scenario.py.

A failing seed is in the test's name, and replays to the letter:
`pytest tests/simulation/test_leases_seeds.py --first-seed SEED --seeds 1`.
"""

from __future__ import annotations

import pytest

from tests.simulation.leases_scenario import LeaseScenario
from tests.simulation.world import run_seeded

SEEDS_IN_THE_GATE = 16
QUICK_SEEDS = 1


def test_each_shard_has_one_reader_and_nothing_is_lost(seed: int) -> None:
    async def main() -> None:
        await LeaseScenario(seed).run()

    run_seeded(seed, main)


@pytest.mark.slow
def test_a_seed_of_leases_replays_exactly() -> None:
    async def main() -> list[str]:
        world = await LeaseScenario(17).run()
        return [repr(write) for write in world.table.history]

    assert run_seeded(17, main) == run_seeded(17, main)
