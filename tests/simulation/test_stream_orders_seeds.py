"""Are all promises for streams kept for any seed if a person orders what becomes of blocked batches?

The name of a failing test has its seed, and this command replays it exactly: `pytest
tests/simulation/test_stream_orders_seeds.py --first-seed SEED --seeds 1`.
"""

from __future__ import annotations

import pytest

from tests.simulation.orders import Orders
from tests.simulation.scenario import Scenario
from tests.simulation.stream_part import Streams
from tests.simulation.stream_shape import TROUBLE_ENDS_AT, draw
from tests.simulation.world import run_seeded

SEEDS_IN_THE_GATE = 25


def scenario_of(seed: int) -> tuple[Scenario, Orders]:
    streams = Streams(draw(seed))
    orders = Orders(streams.world, seed=seed + 7, end_at=TROUBLE_ENDS_AT)
    return Scenario(streams.world, streams.shape, streams, changes=orders), orders


def test_nothing_is_lost_or_reordered_whatever_a_person_orders(seed: int) -> None:
    async def main() -> None:
        await scenario_of(seed)[0].run()

    run_seeded(seed, main)


@pytest.mark.slow
def test_the_seeds_give_orders_of_all_kinds() -> None:
    given, discards = 0, 0
    for seed in range(9, 25):
        if given > 20 and discards > 0:
            break

        async def main(seed: int = seed) -> None:
            nonlocal given, discards
            scenario, orders = scenario_of(seed)
            await scenario.run()
            given += orders.given
            discards += len(scenario.world.discards_ordered)

        run_seeded(seed, main)
    assert given > 20
    assert discards > 0
