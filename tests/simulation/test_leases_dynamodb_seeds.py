"""Does the worker keep its promises over the store of DynamoDB, for any seed? See leases_dynamodb.py.

`pytest tests/simulation/test_leases_dynamodb_seeds.py --first-seed SEED --seeds 1` replays a failing seed.
"""

from __future__ import annotations

from tests.simulation.leases_dynamodb import DynamoDbTable
from tests.simulation.leases_scenario import LeaseScenario
from tests.simulation.world import run_seeded

SEEDS_IN_THE_GATE = 3
QUICK_SEEDS = 0


def test_each_shard_has_one_reader_and_nothing_is_lost_in_dynamodb(seed: int) -> None:
    async def main() -> None:
        await LeaseScenario(seed, DynamoDbTable(seed=seed)).run()

    run_seeded(seed, main)
