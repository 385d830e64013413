"""Are all promises about leases kept for any seed? The real worker runs on a virtual clock; see leases_scenario.py.

The name of a failing test has its seed, and this command replays it exactly: `pytest
tests/simulation/test_leases_seeds.py --first-seed SEED --seeds 1`.
"""

from __future__ import annotations

import pytest

from tests.simulation.leases_scenario import LeaseScenario
from tests.simulation.replaying import difference_in_another_process
from tests.simulation.world import Steps, run_seeded

SEEDS_IN_THE_GATE = 16
QUICK_SEEDS = 0  # the seeds of stream workers play the same worker


def test_each_shard_has_one_reader_and_nothing_is_lost(seed: int) -> None:
    async def main() -> None:
        await LeaseScenario(seed).run()

    run_seeded(seed, main)


def history_of(seed: int) -> list[str]:
    async def main() -> list[str]:
        world = await LeaseScenario(seed).run()
        return [repr(write) for write in world.table.history]

    steps = Steps()
    return run_seeded(seed, main, instruments=[steps]) + steps.tasks


@pytest.mark.slow
def test_a_seed_of_leases_replays_exactly() -> None:
    assert history_of(17) == history_of(17)


@pytest.mark.slow
def test_a_seed_of_leases_replays_exactly_in_another_process() -> None:
    assert difference_in_another_process(history_of, 6) is None
