"""How is a number written for people?"""

from __future__ import annotations

import pytest

from poller.admin.words import count, duration, of_limit, rate, size, written


def test_a_limit_that_was_lowered_may_be_exceeded() -> None:
    assert [of_limit(number, 2) for number in (0, 2, 9)] == ["0 of 2", "2 of 2", "9, limit 2"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.0001, "1 ms"),
        (0.0034, "3 ms"),
        (0.0994, "99 ms"),
        (0.0995, "0.1 s"),
        (0.44, "0.4 s"),
        (9.9, "9.9 s"),
        (12.4, "12 s"),
        (59.4, "59 s"),
        (60.0, "1.0 min"),
        (210.0, "3.5 min"),
        (7200.0, "2.0 h"),
        (354_240.0, "4.1 d"),
    ],
)
def test_a_duration_is_shown_in_its_largest_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**24, "16.0 MiB"), (2**30, "1.0 GiB")]
)
def test_a_size_is_shown_in_its_largest_unit(number: int, text: str) -> None:
    assert size(number) == text


def test_a_count_of_one_has_a_singular_noun() -> None:
    assert [count(number, "shard") for number in (0, 1, 2500)] == ["0 shards", "1 shard", "2,500 shards"]


def test_a_time_is_shown_in_utc_to_the_second() -> None:
    assert written(1_769_860_800.75) == "2026-01-31T12:00:00Z"


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0"), (0.004, "< 0.01"), (0.03, "0.03"), (4.54, "4.5"), (120.4, "120"), (34_600.2, "34,600")],
)
def test_a_rate_has_few_digits(number: float, expected: str) -> None:
    assert rate(number) == expected
