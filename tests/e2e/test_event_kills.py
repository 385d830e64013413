"""Does `kill -9` lose an accepted event, or repeat one without need? A short check; event_kills.py is the long one."""

from __future__ import annotations

import os
import random

import pytest

from tests.e2e.event_killing import EventKilling
from tests.e2e.harness import World

pytestmark = pytest.mark.anyio

KILLS = 8


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells of the end of somebody else's child")
async def test_kills_at_random_moments_lose_no_accepted_event_and_repeat_only_what_a_kill_explains(
    world: World,
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}: tests/e2e/event_kills.py --seed {seed}")
    summary = await EventKilling(world, randomness=random.Random(seed)).run(KILLS)
    assert min(summary.from_senders, summary.succeeded, summary.failed) > 10, summary
