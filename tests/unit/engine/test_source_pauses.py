from __future__ import annotations

import random
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.core.backoff import SOURCE, THROTTLED_READ
from poller.engine.source_pauses import SourcePauses
from poller.errors import Throttled, Unreachable

pytestmark = pytest.mark.anyio

LOST = Unreachable("no answer", code="Timeout", was_sent=True)


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def failures(pauses: SourcePauses, count: int) -> list[float]:
    """Return the pauses after `count` failed calls. Each call begins a second after the failure of the one before."""
    seconds = []
    for _ in range(count):
        await anyio.sleep(1.0)
        asked_at = anyio.current_time()
        seconds.append(pauses.after_failure(LOST, asked_at=asked_at))
    return seconds


async def test_a_pause_is_longer_after_each_failure_in_a_row_until_a_call_succeeds() -> None:
    expected = random.Random(1)
    pauses = SourcePauses(random.Random(1))
    assert await failures(pauses, 4) == [SOURCE.delay(number, expected) for number in range(1, 5)]
    pauses.succeeded()
    assert await failures(pauses, 1) == [SOURCE.delay(1, expected)]


async def test_simultaneous_calls_count_as_one_failure() -> None:
    expected = random.Random(1)
    pauses = SourcePauses(random.Random(1))
    asked_at = anyio.current_time()
    await anyio.sleep(1.0)
    together = {pauses.after_failure(LOST, asked_at=asked_at) for _ in range(5)}
    assert together == {SOURCE.delay(1, expected)}
    assert await failures(pauses, 1) == [SOURCE.delay(2, expected)]


async def test_a_source_that_asks_for_a_longer_pause_gets_it() -> None:
    pauses = SourcePauses(random.Random(1))
    throttled = Throttled("slow down", code="ThrottlingException", retry_after=100.0)
    assert pauses.after_failure(throttled, asked_at=anyio.current_time()) == 100.0
    assert pauses.after_failed_read(throttled, in_a_row=1) == 100.0


async def test_each_shard_has_its_own_count_of_failures() -> None:
    expected = random.Random(1)
    pauses = SourcePauses(random.Random(1))
    throttled = Throttled("Rate exceeded", code="ProvisionedThroughputExceededException")
    assert pauses.after_failed_read(LOST, in_a_row=3) == SOURCE.delay(3, expected)
    assert pauses.after_failed_read(throttled, in_a_row=2) == THROTTLED_READ.delay(2, expected)
    assert await failures(pauses, 1) == [SOURCE.delay(1, expected)]
