"""What happens to an event before and after an attempt?

A name in brackets, such as [A1], is the name of a case that was recorded on AWS.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from poller.core.events.attempts import EventPolicy, after_attempt, before_attempt
from poller.core.events.senders import NOT_JSON
from poller.core.events.trace import passed_on
from poller.model.arn import Arn
from poller.model.event import Ending, Event, LastAttempt
from poller.model.function import Function
from poller.model.ids import FunctionName
from poller.model.invocation import Answered, FunctionError, LostAnswer, Response, Throttled, TooLarge, Unreachable
from tests.fakes.ended_events import EVENT, FUNCTION, NOW, function_with

DOCUMENT = b'{"errorMessage":"no","errorType":"ValueError"}'
RAISES = FunctionError(error_type="ValueError", message="no", payload=DOCUMENT)
THROTTLE = Throttled(reason="ConcurrentInvocationLimitExceeded")
GONE = Unreachable(reason="ResourceNotFoundException", detail="gone")
QUEUE, TOPIC = Arn.parse("arn:aws:sqs:eu-west-1:123456789012:q"), Arn.parse("arn:aws:sns:eu-west-1:123456789012:t")


class Life(NamedTuple):
    """The ended event, and the times of its invocations, in seconds since the event was accepted."""

    event: Event
    invoked_at: list[float]
    request_ids: set[str]

    @property
    def ending(self) -> Ending:
        assert self.event.ending is not None
        return self.event.ending


def live(function: Function, *responses: Response, event: Event = EVENT) -> Life:
    """Attempt the event until it ends. Each attempt is on time; the last response repeats."""
    policy, randomness = EventPolicy.of(function), random.Random(0)
    invoked_at, script = list[float](), list(responses)
    request_ids = set[str]()
    while event.ending is None:
        now = event.due_at
        request_ids.add(event.request_id)
        if (over := before_attempt(event, policy, now=now)) is not None:
            event = over
            break
        invoked_at.append(now - event.accepted_at)
        response = script.pop(0) if len(script) > 1 else script[0]
        event = after_attempt(event, response, policy, now=now, randomness=randomness)
    return Life(event, invoked_at, request_ids)


def test_an_event_that_always_fails_has_three_attempts_after_0_1_and_3_minutes() -> None:
    """[A1]"""
    life = live(function_with(on_failure=QUEUE), RAISES)
    assert life.invoked_at == [0, 60, 180]
    assert (life.ending.condition, life.event.attempts) == ("RetriesExhausted", 3)
    assert life.request_ids == {EVENT.request_id}


def test_without_retries_an_event_has_one_attempt() -> None:
    """[A2]"""
    life = live(function_with(maximum_retry_attempts=0), RAISES)
    assert (life.invoked_at, life.ending.condition, life.event.attempts) == ([0], "RetriesExhausted", 1)


def test_an_event_ends_at_once_if_its_next_retry_would_come_too_late() -> None:
    """[A3]"""
    life = live(function_with(maximum_event_age_in_seconds=60), RAISES)
    assert (life.invoked_at, life.ending.condition, life.event.attempts) == ([0], "EventAgeExceeded", 1)
    assert life.ending.at == NOW, "the record comes at once"
    assert life.ending.last == LastAttempt(
        status_code=200,
        executed_version="$LATEST",
        function_error="Unhandled",
        payload=DOCUMENT,
        error_message="no",
    )


def test_an_event_has_only_the_retries_before_its_maximum_age() -> None:
    """[A4]"""
    life = live(function_with(maximum_event_age_in_seconds=90), RAISES)
    assert (life.invoked_at, life.ending.condition, life.event.attempts) == ([0, 60], "EventAgeExceeded", 2)


def test_a_failed_event_goes_to_the_destination_and_to_the_dead_letter_queue() -> None:
    """[A5]"""
    life = live(function_with(on_failure=TOPIC, dead_letter_arn=QUEUE, on_success=TOPIC), RAISES)
    assert life.ending.deliveries == ("on_failure", "dead_letter")


@pytest.mark.parametrize("payload", [b"", b"null"])
def test_a_function_that_returns_nothing_succeeds_with_null(payload: bytes) -> None:
    """[A6]"""
    life = live(function_with(on_failure=TOPIC, on_success=QUEUE), Answered(payload, executed_version="7"))
    assert (life.ending.condition, life.event.attempts, life.ending.deliveries) == ("Success", 1, ("on_success",))
    assert life.ending.last == LastAttempt(status_code=200, executed_version="7", payload=b"null")


def test_a_function_without_concurrency_never_gets_an_event() -> None:
    """[A7]"""
    life = live(function_with(reserved_concurrency=0, on_failure=QUEUE), RAISES)
    assert (life.invoked_at, life.ending.condition, life.event.attempts) == ([], "ZeroReservedConcurrency", 0)
    assert (life.ending.last, life.ending.deliveries) == (None, ("on_failure",))


@pytest.mark.parametrize(
    ("config", "success", "failure"),
    [
        ({}, (), ()),
        ({"on_success": FunctionName("audit")}, ("on_success",), ()),
        ({"on_failure": QUEUE}, (), ("on_failure",)),
        ({"dead_letter_arn": QUEUE}, (), ("dead_letter",)),
    ],
)
def test_an_event_is_delivered_only_to_destinations_that_the_function_names(
    config: dict[str, Any], success: tuple[str, ...], failure: tuple[str, ...]
) -> None:
    function = function_with(maximum_retry_attempts=0, **config)
    assert live(function, Answered(b"1")).ending.deliveries == success
    assert live(function, RAISES).ending.deliveries == failure


def test_an_event_that_succeeds_after_a_failure_has_two_attempts() -> None:
    life = live(FUNCTION, RAISES, Answered(b'"done"'))
    assert (life.invoked_at, life.ending.condition, life.event.attempts) == ([0, 60], "Success", 2)


@pytest.mark.parity("retry waits")
def test_the_settings_may_change_the_retry_waits_even_to_zero() -> None:
    assert live(function_with(retry_waits_in_seconds=(0, 0.5)), RAISES).invoked_at == [0, 0, 0.5]


def test_a_waiting_event_keeps_its_last_answer_without_the_payload() -> None:
    policy = EventPolicy.of(FUNCTION)
    waiting = after_attempt(EVENT, RAISES, policy, now=NOW + 5, randomness=random.Random(0))
    assert (waiting.due_at, waiting.attempts, waiting.ending) == (NOW + 65, 1, None)
    assert waiting.last == LastAttempt(
        status_code=200, executed_version="$LATEST", function_error="Unhandled", error_message="no"
    )
    late = before_attempt(waiting, policy, now=NOW + 21_600)
    assert late is not None
    assert late.ending is not None
    assert (late.ending.condition, late.ending.last, late.last) == ("EventAgeExceeded", waiting.last, None)


@pytest.mark.parametrize(("now", "is_invoked"), [(NOW + 59.9, True), (NOW + 60, False)])
def test_an_event_that_is_too_old_is_not_invoked(now: float, is_invoked: bool) -> None:
    policy = EventPolicy.of(function_with(maximum_event_age_in_seconds=60))
    over = before_attempt(EVENT, policy, now=now)
    assert (over is None) == is_invoked
    if over is not None:
        assert over.ending == Ending(condition="EventAgeExceeded", at=now, last=None, deliveries=())


def test_throttles_and_service_errors_do_not_count_as_attempts_and_the_pauses_grow() -> None:
    responses: list[Response] = [THROTTLE, Unreachable(reason="ServiceException")] * 10
    life = live(FUNCTION, *responses, RAISES)
    waits = [after - before for before, after in zip(life.invoked_at[:20], life.invoked_at[1:21], strict=True)]
    assert 1 <= waits[0] <= 2
    assert all(wait <= 300 for wait in waits)
    assert min(waits[8:]) >= 150
    assert (life.ending.condition, life.event.attempts) == ("RetriesExhausted", 3)


def test_the_first_throttle_after_an_attempt_has_a_short_pause() -> None:
    life = live(FUNCTION, *[THROTTLE] * 8, RAISES, THROTTLE, Answered(b"1"))
    assert life.invoked_at[-1] - life.invoked_at[-2] <= 2


def test_a_throttled_event_waits_as_long_as_the_service_asks_for_up_to_five_minutes() -> None:
    for asked_for, waited in ((100.0, 100.0), (10_000.0, 300.0)):
        life = live(FUNCTION, Throttled(reason="x", retry_after=asked_for), Answered(b"1"))
        assert life.invoked_at == [0, waited]


@pytest.mark.parametrize(
    ("response", "last"),
    [
        (THROTTLE, LastAttempt(status_code=429, error_message="Rate Exceeded.")),
        (
            Unreachable(reason="ServiceException", detail="with a host"),
            LastAttempt(status_code=500, error_message="ServiceException"),
        ),
    ],
)
def test_an_event_that_is_always_throttled_ends_at_its_maximum_age(response: Response, last: LastAttempt) -> None:
    life = live(function_with(maximum_event_age_in_seconds=60), response)
    assert max(life.invoked_at) < 60
    assert life.ending == Ending(condition="EventAgeExceeded", at=NOW + 60, last=last, deliveries=())
    assert (life.event.attempts, life.event.postponements) == (0, 0)


def test_an_event_that_reaches_its_maximum_age_during_a_throttled_attempt_ends_at_once() -> None:
    policy = EventPolicy.of(function_with(maximum_event_age_in_seconds=60))
    after = after_attempt(EVENT, THROTTLE, policy, now=NOW + 70, randomness=random.Random(0))
    assert after.due_at == NOW + 70
    over = before_attempt(after, policy, now=NOW + 70)
    assert over is not None
    assert over.ending is not None
    assert over.ending.condition == "EventAgeExceeded"


def test_an_event_that_failed_once_and_was_then_throttled_keeps_the_answer_of_the_failure() -> None:
    life = live(function_with(maximum_event_age_in_seconds=300), RAISES, THROTTLE)
    assert (life.ending.condition, life.event.attempts) == ("EventAgeExceeded", 1)
    assert life.ending.last == LastAttempt(
        status_code=200, executed_version="$LATEST", function_error="Unhandled", error_message="no"
    )


def test_an_event_of_a_function_that_does_not_exist_ends_at_once() -> None:
    life = live(FUNCTION, RAISES, GONE)
    assert (life.invoked_at, life.ending.condition, life.event.attempts) == ([0, 60], "RetriesExhausted", 1)
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:insert_records:$LATEST"
    assert life.ending.last == LastAttempt(status_code=404, error_message=f"Function not found: {arn}")


@pytest.mark.parametrize(
    ("response", "document", "message"),
    [
        (RAISES, DOCUMENT, "no"),
        (FunctionError(error_type="T", message="m", payload=b""), b'{"errorMessage":"m","errorType":"T"}', "m"),
        (FunctionError(error_type="T", message="m", payload=b"<html>"), b'"<html>"', "m"),
        (TooLarge(error_type="T", message="m"), b'{"errorMessage":"m","errorType":"T"}', "m"),
        (LostAnswer(reason="reset"), b'{"errorMessage":"reset","errorType":"LostAnswer"}', "reset"),
    ],
)
def test_every_failed_attempt_counts_and_has_an_error_document(
    response: Response, document: bytes, message: str
) -> None:
    life = live(function_with(maximum_retry_attempts=0), response)
    assert life.event.attempts == 1
    assert life.ending.last is not None
    assert (life.ending.last.payload, life.ending.last.error_message) == (document, message)
    assert (life.ending.last.status_code, life.ending.last.function_error) == (200, "Unhandled")


def test_a_failed_attempt_keeps_the_version_of_the_function() -> None:
    failure = FunctionError(error_type="T", message="m", executed_version="7")
    last = live(function_with(maximum_retry_attempts=0), failure).ending.last
    assert last is not None
    assert last.executed_version == "7"


def test_an_answer_that_is_not_json_becomes_a_json_string() -> None:
    last = live(FUNCTION, Answered(b"<p>\xff</p>")).ending.last
    assert last is not None
    assert last.payload == '"<p>\ufffd</p>"'.encode()


def test_an_event_that_is_not_json_ends_without_an_attempt() -> None:
    life = live(function_with(on_failure=QUEUE), RAISES, event=replace(EVENT, payload=b"hello", last=NOT_JSON))
    assert (life.invoked_at, life.event.attempts) == ([], 0)
    assert life.ending == Ending(condition="RetriesExhausted", at=NOW, last=NOT_JSON, deliveries=("on_failure",))


@pytest.mark.parity("recursion is seen")
def test_an_event_ends_after_sixteen_passes_of_the_same_function() -> None:
    event, invocations = EVENT, 0
    while (life := live(function_with(on_failure=QUEUE), Answered(b"1"), event=event)).invoked_at and invocations < 99:
        event, invocations = replace(event, trace=passed_on(event, FUNCTION.arn)), invocations + 1
    assert (invocations, life.ending.condition, life.event.attempts) == (16, "RecursiveInvocation", 0)
    assert life.ending.last is not None
    assert (life.ending.last.status_code, life.ending.deliveries) == (400, ("on_failure",))


@pytest.mark.parametrize("reserved_concurrency", [0, 2])
def test_a_loop_of_failure_records_between_two_functions_ends(reserved_concurrency: int) -> None:
    event, ends = EVENT, 0
    while (
        life := live(function_with(reserved_concurrency=reserved_concurrency, on_failure=QUEUE), RAISES, event=event)
    ).ending.deliveries and ends < 99:
        event, ends = replace(event, trace=passed_on(event, FUNCTION.arn)), ends + 1
    assert (ends, life.ending.condition, life.ending.deliveries) == (17, "RecursiveInvocation", ())


def test_an_ended_event_cannot_be_attempted() -> None:
    policy, over = EventPolicy.of(FUNCTION), live(FUNCTION, Answered(b"1")).event
    with pytest.raises(AssertionError):
        before_attempt(over, policy, now=NOW)
    with pytest.raises(AssertionError):
        after_attempt(over, RAISES, policy, now=NOW, randomness=random.Random(0))
