"""When is the record of an ended event sent again, and when is the event stuck?"""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from poller.core.events.deliveries import after_deliveries, retried
from poller.errors import (
    AccessDenied,
    DocumentTooLarge,
    NotFound,
    QueueFull,
    Rejected,
    ServiceError,
    Throttled,
    Unreachable,
)
from poller.model.event import Delivery, Event
from tests.fakes.ended_events import EVENT, NOW, ended

DENIED = AccessDenied("AccessDenied (403): no", code="AccessDenied")
AWAY = Unreachable("connection refused", code="ConnectionRefused", was_sent=False)
BOTH: tuple[Delivery, ...] = ("on_failure", "dead_letter")


def round_of(event: Event, failures: dict[Delivery, ServiceError], *, now: float = NOW) -> Event:
    after = after_deliveries(event, failures, now=now, randomness=random.Random(0))
    assert after is not None
    return after


def until_stuck(error: ServiceError, *, rounds: int = 30) -> tuple[Event, list[float]]:
    """Do rounds until the event is stuck, at most `rounds`. Return the event, and the times of the rounds."""
    event, times, randomness = ended(), list[float](), random.Random(1)
    while not event.stuck and len(times) < rounds:
        times.append(event.due_at - NOW)
        after = after_deliveries(event, {"on_failure": error}, now=event.due_at, randomness=randomness)
        assert after is not None
        event = after
    return event, times


def test_an_event_is_done_if_all_its_deliveries_succeeded() -> None:
    assert after_deliveries(ended(deliveries=BOTH), {}, now=NOW, randomness=random.Random(0)) is None


def test_only_the_failed_deliveries_are_tried_again_after_a_pause() -> None:
    after = round_of(ended(deliveries=BOTH), {"dead_letter": AWAY})
    assert after.ending is not None
    assert after.ending.deliveries == ("dead_letter",)
    assert NOW + 1 <= after.due_at <= NOW + 2
    assert after.stuck == ""


@pytest.mark.parametrize(
    "error",
    [
        DENIED,
        NotFound("no queue", code="QueueDoesNotExist"),
        Rejected("invalid", code="ValidationException"),
        DocumentTooLarge("too large", code="DocumentTooLarge"),
    ],
)
def test_an_event_is_stuck_after_three_lasting_errors_and_one_minute(error: ServiceError) -> None:
    event, times = until_stuck(error)
    assert event.stuck == f"on_failure: {error}"
    assert len(times) >= 3
    assert times[-2] < 60 <= times[-1]
    assert event.ending is not None
    assert (event.ending.rejections, event.ending.rejected_since) == (len(times), NOW)


def test_an_event_is_not_stuck_after_two_rejections_in_an_hour() -> None:
    event = round_of(round_of(ended(), {"on_failure": DENIED}), {"on_failure": DENIED}, now=NOW + 3600)
    assert event.stuck == ""
    assert round_of(event, {"on_failure": DENIED}, now=NOW + 3601).stuck


@pytest.mark.parametrize(
    "error", [AWAY, Throttled("slow", code="Throttling"), QueueFull("full", code="QueueFull", retry_after=5)]
)
def test_an_event_is_never_stuck_because_of_temporary_errors(error: ServiceError) -> None:
    event, times = until_stuck(error)
    assert event.stuck == ""
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert max(waits) <= 300
    assert min(waits[10:]) >= 150


def test_an_event_is_not_stuck_while_one_of_its_errors_is_temporary() -> None:
    event = ended(deliveries=BOTH)
    for number in range(10):
        event = round_of(event, {"on_failure": DENIED, "dead_letter": AWAY}, now=NOW + number * 60)
    assert event.stuck == ""
    for number in range(10, 13):
        event = round_of(event, {"on_failure": DENIED}, now=NOW + number * 60)
    assert event.stuck == f"on_failure: {DENIED}"


@pytest.mark.parametrize(
    "error",
    [Throttled("slow", code="Throttling", retry_after=100), QueueFull("full", code="QueueFull", retry_after=100)],
)
def test_a_delivery_waits_as_long_as_the_service_asks_for(error: ServiceError) -> None:
    assert round_of(ended(), {"on_failure": error}).due_at == NOW + 100


def test_the_reason_of_a_stuck_event_has_at_most_500_characters() -> None:
    event, _ = until_stuck(Rejected("x" * 10_000, code="x"))
    assert len(event.stuck) == 500


def test_a_stuck_event_that_a_person_retries_is_due_at_once_without_rejections() -> None:
    event, _ = until_stuck(DENIED)
    again = retried(event, now=NOW + 5000)
    assert (again.stuck, again.due_at, again.postponements) == ("", NOW + 5000, 0)
    assert again.ending == replace(event.ending, rejections=0, rejected_since=None) if event.ending else False
    assert retried(replace(EVENT, stuck="its function is gone"), now=NOW + 1) == replace(EVENT, due_at=NOW + 1)


def test_a_delivery_that_the_event_does_not_need_is_an_error() -> None:
    with pytest.raises(AssertionError):
        round_of(EVENT, {"on_failure": AWAY})
    with pytest.raises(AssertionError):
        round_of(ended(), {"dead_letter": AWAY})
