"""What happens to an event before and after an attempt to invoke its function?

    before   the event passed its function 16 times     ends: RecursiveInvocation (a loop, see `trace.py`)
             the event passed it more than 16 times     the same, but no destination receives a record
             the function has no concurrency            ends: ZeroReservedConcurrency
             the message of the event was not JSON      ends: RetriesExhausted, status 400
             the event has reached its maximum age      ends: EventAgeExceeded
             otherwise                                  the function is invoked
    after    the function succeeded                     ends: Success
             the function failed or its answer is lost  counts; the next attempt follows after the next retry wait
                 no attempt is left                     ends: RetriesExhausted
                 the next attempt would be too late     ends: EventAgeExceeded, at once
             the function is throttled or unreachable   does not count; tried again after about 1 s, later up to 5 min
             there is no such function                  ends: RetriesExhausted, status 404

A throttled event waits at most until it reaches its maximum age; then it ends.
The invocation record shows the function's last answer. If the function never answered, the record shows status 429
or 500.

Source: AWS Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation".
AWS also ends an event at once if the next attempt would be too late: we saw an event with a maximum age of 60 seconds
fail, and AWS made no second attempt.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import assert_never

import orjson

from poller.core.backoff import THROTTLED_EVENT, at_least
from poller.core.events.trace import MAXIMUM_PASSES, passes
from poller.core.json_text import as_json
from poller.model.arn import Arn, qualified
from poller.model.event import Condition, Delivery, Ending, Event, LastAttempt
from poller.model.function import Function
from poller.model.invocation import Answered, FunctionError, LostAnswer, Response, Throttled, TooLarge, Unreachable

DEFAULT_RETRY_ATTEMPTS = 2
DEFAULT_EVENT_AGE_IN_SECONDS = 21_600
"""The source of both defaults: AWS Lambda API Reference, "PutFunctionEventInvokeConfig"."""

INVALID_REQUEST = 400
"""The status of an event with which no function can be invoked: it is not JSON, or it has passed its function too
often."""

FUNCTION_IS_GONE = "ResourceNotFoundException"
"""The reason in a response if the function does not exist.

Source: AWS Lambda API Reference, "Invoke", Errors.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPolicy:
    """A function's rules for its events. Times are in seconds."""

    function: Arn
    may_run: bool
    maximum_retry_attempts: int
    maximum_event_age: float
    retry_waits: tuple[float, float]
    after_success: tuple[Delivery, ...]
    after_failure: tuple[Delivery, ...]

    @classmethod
    def of(cls, function: Function) -> EventPolicy:
        config = function.event_invoke_config
        retries, age = config.maximum_retry_attempts, config.maximum_event_age_in_seconds
        failure: tuple[tuple[Delivery, object], ...] = (
            ("on_failure", config.on_failure),
            ("dead_letter", config.dead_letter_arn),
        )
        return cls(
            function=function.arn,
            may_run=function.reserved_concurrency > 0,
            maximum_retry_attempts=DEFAULT_RETRY_ATTEMPTS if retries is None else retries,
            maximum_event_age=DEFAULT_EVENT_AGE_IN_SECONDS if age is None else age,
            retry_waits=config.retry_waits_in_seconds,
            after_success=("on_success",) if config.on_success is not None else (),
            after_failure=tuple(delivery for delivery, receiver in failure if receiver is not None),
        )


def before_attempt(event: Event, policy: EventPolicy, *, now: float) -> Event | None:
    """Return None if the function must be invoked with the event. Otherwise, return the ended event.

    `now` is in epoch seconds.
    """
    assert event.ending is None, "an ended event is not invoked"
    if (passed := passes(event, policy.function)) >= MAXIMUM_PASSES:
        last = LastAttempt(status_code=INVALID_REQUEST, error_message="A loop of invocations was detected.")
        if passed > MAXIMUM_PASSES:  # the destination for failures is part of the loop, so it gets nothing more
            policy = replace(policy, after_failure=())
        return _ended(event, policy, "RecursiveInvocation", last, now)
    if not policy.may_run:
        return _ended(event, policy, "ZeroReservedConcurrency", None, now)
    if event.last is not None and event.last.status_code == INVALID_REQUEST:
        return _ended(event, policy, "RetriesExhausted", event.last, now)
    if now >= event.accepted_at + policy.maximum_event_age:
        return _ended(event, policy, "EventAgeExceeded", event.last, now)
    return None


def after_attempt(
    event: Event, response: Response, policy: EventPolicy, *, now: float, randomness: random.Random
) -> Event:
    """Return the event after an attempt: ended, or due again later. `now` is in epoch seconds."""
    assert event.ending is None, "an ended event is not invoked"
    match response:
        case Answered(payload=payload, executed_version=version):
            last = LastAttempt(status_code=200, executed_version=version, payload=as_json(payload or b"null"))
            return _ended(_counted(event), policy, "Success", last, now)
        case FunctionError() | TooLarge() | LostAnswer():
            return _failed(_counted(event), _failure(response), policy, now)
        case Unreachable(reason=reason) if reason == FUNCTION_IS_GONE:
            message = f"Function not found: {qualified(policy.function)}"
            last = LastAttempt(status_code=404, error_message=message)
            return _ended(event, policy, "RetriesExhausted", last, now)
        case Throttled(retry_after=retry_after):
            last = LastAttempt(status_code=429, error_message="Rate Exceeded.")
            return _postponed(event, last, policy, retry_after, now, randomness)
        case Unreachable(reason=reason):
            last = LastAttempt(status_code=500, error_message=reason)
            return _postponed(event, last, policy, None, now, randomness)
    assert_never(response)


def _counted(event: Event) -> Event:
    return replace(event, attempts=event.attempts + 1, postponements=0)


def _failure(response: FunctionError | TooLarge | LostAnswer) -> LastAttempt:
    """Return the failed attempt. If the function sent no error document, one is made from the error's type and text."""
    document, version = b"", "$LATEST"
    match response:
        case FunctionError(error_type=error_type, message=message):
            document, version = response.payload, response.executed_version
        case TooLarge(error_type=error_type, message=message):
            pass
        case LostAnswer(reason=message):
            error_type = "LostAnswer"
    made = orjson.dumps({"errorMessage": message, "errorType": error_type})
    return LastAttempt(
        status_code=200,
        executed_version=version,
        function_error="Unhandled",
        payload=as_json(document or made),
        error_message=message,
    )


def _failed(event: Event, last: LastAttempt, policy: EventPolicy, now: float) -> Event:
    if event.attempts > policy.maximum_retry_attempts:
        return _ended(event, policy, "RetriesExhausted", last, now)
    due_at = now + policy.retry_waits[event.attempts - 1]
    if due_at >= event.accepted_at + policy.maximum_event_age:
        return _ended(event, policy, "EventAgeExceeded", last, now)
    return replace(event, due_at=due_at, last=replace(last, payload=None))


def _postponed(
    event: Event,
    last: LastAttempt,
    policy: EventPolicy,
    retry_after: float | None,
    now: float,
    randomness: random.Random,
) -> Event:
    event = replace(event, postponements=event.postponements + 1)
    delay = at_least(retry_after, THROTTLED_EVENT.delay(event.postponements, randomness))
    expires_at = event.accepted_at + policy.maximum_event_age
    return replace(event, due_at=min(now + delay, max(now, expires_at)), last=event.last if event.attempts else last)


def _ended(event: Event, policy: EventPolicy, condition: Condition, last: LastAttempt | None, now: float) -> Event:
    deliveries = policy.after_success if condition == "Success" else policy.after_failure
    return replace(
        event,
        due_at=now,
        postponements=0,
        last=None,
        ending=Ending(condition=condition, at=now, last=last, deliveries=deliveries),
    )
