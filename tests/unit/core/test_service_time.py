"""Is a service's time known from the Dates of its answers, even of late ones, and never later than they prove?"""

from __future__ import annotations

from email.utils import formatdate
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.service_time import Bounds, bounds, is_plausible, narrowed, parsed_date, time_at

NOON = 1_767_268_800.0
HOUR = 3600.0


def bounds_after(*answers: tuple[float, float, float]) -> Bounds:
    """Return what these answers show: each has its Date, and the times of the request and of the answer."""
    known: Bounds | None = None
    for date, asked_at, answered_at in answers:
        known = narrowed(known, bounds(date, asked_at=asked_at, answered_at=answered_at))
    assert known is not None
    return known


def test_our_clock_is_used_if_it_agrees_with_the_answers() -> None:
    known = bounds_after((NOON, 10.1, 10.2))
    assert time_at(known, ours=NOON + 0.7, steady=10.5) == NOON + 0.7


@pytest.mark.parametrize("wrong_by", [-HOUR, -3.0, 3.0, HOUR])
def test_our_clock_is_not_used_if_it_contradicts_the_answers(wrong_by: float) -> None:
    known = bounds_after((NOON, 10.1, 10.2))
    assert time_at(known, ours=NOON + wrong_by, steady=10.2) == NOON
    assert time_at(known, ours=NOON + wrong_by + 1, steady=11.2) == NOON + 1, "it goes on by the steady clock"


def test_a_slow_answer_changes_nothing() -> None:
    prompt = (NOON, 10.1, 10.2)
    known = bounds_after(prompt, (NOON + 20, 15.3, 45.0))
    assert known == bounds_after(prompt)


def test_a_late_answer_does_not_contradict_a_correct_clock() -> None:
    known = bounds_after((NOON, 10.0, 40.0))
    assert time_at(known, ours=NOON + 29, steady=40.0) == NOON + 29


def test_after_a_service_sets_its_clock_the_new_time_counts() -> None:
    known = bounds_after((NOON, 10.1, 10.2), (NOON - HOUR, 20.1, 20.2))
    assert time_at(known, ours=NOON + 10, steady=20.2) == NOON - HOUR
    known = bounds_after((NOON, 10.1, 10.2), (NOON + HOUR, 20.1, 20.2))
    assert time_at(known, ours=NOON + 10, steady=20.2) == NOON + HOUR


@pytest.mark.parametrize(("difference", "expected"), [(0, True), (86_000, True), (87_000, False)])
def test_a_date_of_another_day_is_not_plausible(difference: float, expected: bool) -> None:
    new = bounds(NOON, asked_at=10.0, answered_at=10.0)
    for ours in (NOON + difference, NOON - difference):
        assert is_plausible(new, ours=ours, steady=10.0) is expected


@given(
    st.floats(-HOUR, HOUR),
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 30), st.floats(0, 30), st.floats(0, 1)), min_size=1, max_size=8),
)
def test_the_services_time_is_never_later_than_its_answers_prove(
    ahead: float, answers: list[tuple[float, float, float, float]]
) -> None:
    """Requests and answers take any time, and the server wrote its Date up to a second before."""
    now = 0.0
    known: Bounds | None = None
    for pause, there, back, stale in answers:
        asked_at, now = now + pause, now + pause + there + back
        date = floor(NOON + ahead + asked_at + there - stale)
        known = narrowed(known, bounds(date, asked_at=asked_at, answered_at=now))
        assert known.low <= NOON + ahead <= known.high
    assert known is not None
    assert time_at(known, ours=NOON + ahead + now, steady=now) == NOON + ahead + now
    assert time_at(known, ours=NOON + 2 * HOUR + now, steady=now) <= NOON + ahead + now + 1e-3


@given(st.integers(0, 253_402_300_799))
def test_every_date_format_of_servers_is_read(moment: int) -> None:
    assert parsed_date(formatdate(moment, usegmt=True)) == moment


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "Mon, 01 Jan 99999999999 00:00:00 GMT", "Thu, 01 Jan 0000 00:00:00 GMT"),
        *("Thu, 31 Feb 2026 00:00:00 GMT", "Thu, 01 Foo 2026 00:00:00 GMT", "Thu, 01 Jan 2026 24:00:00 GMT"),
        *("Thu, 01 Jan 2026 00:00:00 -0000", "Thu, 01 Jan 2026 00:00:00 +9999", "Thu, ٠١ Jan 2026 00:00:00 GMT"),
        *("Thu, 01 Jan 2026 00:00:00 GMT+02:00", " Thu, 01 Jan 2026 00:00:00 GMT"),
    ],
)
def test_any_other_text_is_not_a_date(text: str) -> None:
    assert parsed_date(text) is None
