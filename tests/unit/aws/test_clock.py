"""Is our clock used for an endpoint, until its answers show that our clock is wrong?"""

from __future__ import annotations

from email.utils import formatdate

import pytest

from poller.aws.clock import ServiceClock

NOON = 1_767_268_800.0


class Clocks:
    """Our two clocks, which stand at a fixed time, and the clock of the endpoint."""

    def __init__(self) -> None:
        self.ours = NOON
        self.steady = 100.0
        self.clock = ServiceClock(ours=lambda: self.ours, steady=lambda: self.steady)

    def wait(self, seconds: float) -> None:
        self.ours += seconds
        self.steady += seconds

    def hear(self, date: float) -> None:
        self.clock.correct(formatdate(date, usegmt=True), asked_at=self.steady)


def test_before_any_answer_our_own_clock_counts() -> None:
    clocks = Clocks()
    assert clocks.clock.now() == clocks.clock.reached() == NOON


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 01 Jan 99999999999 00:00:00 GMT"])
def test_an_answer_without_a_date_changes_nothing(date: str | None) -> None:
    clocks = Clocks()
    clocks.clock.correct(date, asked_at=100.0)
    assert clocks.clock.now() == clocks.clock.reached() == NOON


def test_a_date_that_is_years_off_changes_nothing() -> None:
    clocks = Clocks()
    clocks.hear(NOON - 3600)
    clocks.hear(NOON - 26 * 365 * 86_400)
    assert clocks.clock.now() == NOON - 3600


@pytest.mark.parametrize("step", [-7200.0, 7200.0, 1e9])
def test_a_step_of_our_own_clock_does_not_move_the_services_time(step: float) -> None:
    clocks = Clocks()
    clocks.hear(NOON)
    clocks.ours += step
    clocks.wait(5.0)
    assert clocks.clock.now() == clocks.clock.reached() == NOON + 5


def test_a_later_date_replaces_the_bounds_that_it_contradicts() -> None:
    clocks = Clocks()
    clocks.hear(NOON)
    clocks.wait(10.0)
    clocks.hear(NOON - 3590)
    assert clocks.clock.now() == NOON - 3590


def test_all_answers_within_one_second_count() -> None:
    """The first answer took long. The second one, with the same Date, gives closer bounds."""
    clocks = Clocks()
    clocks.clock.correct(formatdate(NOON, usegmt=True), asked_at=70.0)
    clocks.ours += 20
    assert clocks.clock.now() == NOON + 20, "it may be right"
    clocks.hear(NOON)
    assert clocks.clock.now() == NOON


def test_the_reached_time_is_not_ahead_of_the_service_even_if_our_clock_is() -> None:
    clocks = Clocks()
    clocks.hear(NOON)
    clocks.wait(0.9)
    assert clocks.clock.now() == clocks.clock.reached() == NOON + 0.9
    clocks.ours += 0.5
    assert (clocks.clock.now(), clocks.clock.reached()) == (NOON + 1.4, NOON + 0.9)
