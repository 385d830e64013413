"""How long does a mapping need for the records that wait in its shards?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.streams.catching_up import FASTEST, FORGOTTEN_AFTER_IN_SECONDS, SLOWEST, CatchingUp


def answers(*ages: float, every: float = 15.0) -> list[float]:
    """Ask every few seconds, while the records have these ages."""
    catching_up = CatchingUp()
    return [catching_up.seconds(age, now=number * every) for number, age in enumerate(ages)]


def test_a_mapping_without_old_records_needs_no_time() -> None:
    assert answers(0, 0, 0) == [0, 0, 0]


def test_a_mapping_that_stays_equally_far_behind_needs_that_time() -> None:
    assert answers(*[60] * 10) == [60] * 10


def test_a_mapping_whose_records_get_younger_needs_less_than_their_age() -> None:
    ages = [600 - 15 * 2 * number for number in range(20)]  # two seconds a second: speed 3
    assert answers(*ages)[-1] == pytest.approx(ages[-1] / 3, rel=0.02)


def test_a_mapping_that_does_nothing_needs_longer_and_longer_but_has_a_limit() -> None:
    ages = [15 * number for number in range(40)]
    result = answers(*ages)
    assert result == sorted(result)
    assert result[-1] == pytest.approx(ages[-1] / SLOWEST, rel=0.01)


def test_one_large_batch_hardly_changes_the_speed() -> None:
    *_, before, after = answers(*[60] * 10, 75)
    assert before == 60
    assert after == pytest.approx(75 / (1 - 0.9 * (1 - 2.718281828 ** (-15 / 60))))


def test_questions_that_follow_each_other_closely_measure_nothing() -> None:
    catching_up = CatchingUp()
    assert [catching_up.seconds(10.0 + at, now=at) for at in (0.0, 1.0, 2.0, 3.0)] == [10, 11, 12, 13]


def test_a_long_pause_between_two_questions_says_nothing_about_the_speed() -> None:
    catching_up = CatchingUp()
    catching_up.seconds(0.0, now=0.0)
    assert catching_up.seconds(300.0, now=FORGOTTEN_AFTER_IN_SECONDS + 1) == 300.0
    assert catching_up.seconds(300.0, now=FORGOTTEN_AFTER_IN_SECONDS + 16) == 300.0


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0.001, 1e4))))
def test_the_time_to_catch_up_always_has_limits(questions: list[tuple[float, float]]) -> None:
    catching_up, now = CatchingUp(), 0.0
    for age, pause in questions:
        now += pause
        seconds = catching_up.seconds(age, now=now)
        assert age / FASTEST * 0.999 <= seconds <= age / SLOWEST * 1.001
