from __future__ import annotations

import random
import statistics

from hypothesis import given
from hypothesis import strategies as st

from poller.core.backoff import STREAM_RETRY, Backoff

BACKOFF = Backoff(initial=0.5, maximum=30.0)


@given(st.integers(1, 10_000), st.randoms(use_true_random=False))
def test_a_delay_lies_between_half_and_all_of_the_doubled_delay(failures: int, randomness: random.Random) -> None:
    full = min(30.0, 0.5 * 2 ** min(failures - 1, 50))
    assert full / 2 <= BACKOFF.delay(failures, randomness) <= full


def test_randomness_spreads_retries_of_simultaneous_failures() -> None:
    randomness = random.Random(1)
    assert len({BACKOFF.delay(3, randomness) for _ in range(20)}) == 20


def test_an_always_failing_stream_batch_is_tried_about_eight_times_in_its_first_minute() -> None:
    """Recorded on AWS: eight invocations of a record with a maximum age of 60 seconds."""
    counts = []
    for seed in range(100):
        randomness, now, invocations = random.Random(seed), 0.0, 0
        while now < 60:
            invocations += 1
            now += STREAM_RETRY.delay(invocations, randomness)
        counts.append(invocations)
    assert set(counts) <= {7, 8, 9}
    assert statistics.median(counts) == 8
