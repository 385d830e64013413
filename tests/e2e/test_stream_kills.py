"""Does `kill -9` lose, disorder or needlessly repeat a record of a stream? A short check; kills.py is the long one."""

from __future__ import annotations

import os
import random

import pytest

from tests.e2e.harness import World
from tests.e2e.killing import Killing

pytestmark = pytest.mark.anyio

KILLS = 6


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells of the end of somebody else's child")
async def test_kills_at_random_moments_lose_no_record_and_repeat_only_records_not_stored(world: World) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}: tests/e2e/kills.py --seed {seed}")
    summaries = await Killing(world, randomness=random.Random(seed)).run(KILLS)
    assert all(summary.lives >= 2 and summary.succeeded > 100 for summary in summaries.values()), summaries
