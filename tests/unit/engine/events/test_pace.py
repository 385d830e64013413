"""How fast are events taken while their function is throttled or cannot be reached?"""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.engine.events.pace import Pace

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def pauses_after(pace: Pace, count: int) -> list[float]:
    """Postpone events, each after the pause of the one before. Return the pauses in seconds."""
    pauses = []
    for _ in range(count):
        pace.postponed(retry_after=None, began_at=anyio.current_time())
        pauses.append(pace.pause)
        await anyio.sleep(pace.pause)
    return pauses


async def test_a_new_pace_is_not_slow() -> None:
    pace = Pace(random.Random(1))
    assert not pace.is_slow
    assert pace.pause <= 0


async def test_each_postponement_makes_the_pause_longer_up_to_a_limit() -> None:
    pauses = await pauses_after(pace := Pace(random.Random(1)), 10)
    longest = [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 20, 20, 20]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True)), pauses
    assert pace.is_slow
    assert pace.pause <= 0.001


async def test_postponements_of_parallel_invocations_count_once() -> None:
    pace = Pace(random.Random(1))
    began_at = anyio.current_time()
    await anyio.sleep(1.0)
    for _ in range(50):
        pace.postponed(retry_after=None, began_at=began_at)
    assert pace.pause <= 0.2


async def test_the_pause_is_at_least_as_long_as_the_service_asks_for() -> None:
    pace = Pace(random.Random(1))
    pace.postponed(retry_after=7.0, began_at=0.0)
    pace.postponed(retry_after=None, began_at=-1.0)
    assert pace.pause == 7.0


async def test_an_invocation_that_runs_ends_the_slow_pace_at_once() -> None:
    pace = Pace(random.Random(1))
    await pauses_after(pace, 5)
    pace.postponed(retry_after=None, began_at=anyio.current_time())
    pace.ran()
    assert not pace.is_slow
    assert pace.pause <= 0
    assert (await pauses_after(pace, 1))[0] <= 0.2
