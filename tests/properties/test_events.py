"""Does an event do what an obvious model does? The model is a loop over answers, in whole seconds since acceptance."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.events.attempts import EventPolicy, after_attempt, before_attempt
from poller.core.events.senders import of_sender
from poller.core.events.trace import MAXIMUM_PASSES, passed_on, passes
from poller.core.json_text import as_json, parsed
from poller.model.invocation import Answered, FunctionError, LostAnswer, Response, Throttled, Unreachable
from tests.fakes.ended_events import EVENT, FUNCTION, NOW, function_with

RESPONSES: dict[str, Response] = {
    "ok": Answered(b"1"),
    "raise": FunctionError(error_type="E", message="no"),
    "lost": LostAnswer(reason="reset"),
    "throttle": Throttled(reason="x"),
    "down": Unreachable(reason="x"),
    "gone": Unreachable(reason="ResourceNotFoundException"),
}
COUNTED = ("ok", "raise", "lost")

WORDS = st.lists(st.sampled_from(list(RESPONSES)), max_size=8)
"""What the function answers at each call. Then it answers one of these for ever."""


class Shortest(random.Random):
    """Randomness that makes every pause as short as it can be."""

    def random(self) -> float:
        return 0.0


class Story(NamedTuple):
    """When the function was invoked, and how the event ended. `status` is that of the last attempt, None if none."""

    invoked_at: list[float]
    ended_at: float
    condition: str
    attempts: int
    status: int | None


def run(words: list[str], after: str, retries: int, age: int, waits: tuple[int, int], late: int) -> Story:
    function = function_with(
        maximum_retry_attempts=retries, maximum_event_age_in_seconds=age, retry_waits_in_seconds=waits
    )
    policy, event, script, invoked_at = EventPolicy.of(function), EVENT, iter(words), list[float]()
    while event.ending is None:
        now = event.due_at + late
        over = before_attempt(event, policy, now=now)
        if over is None:
            invoked_at.append(now - NOW)
            over = after_attempt(event, RESPONSES[next(script, after)], policy, now=now, randomness=Shortest())
            assert over.due_at >= now
        assert over.request_id == event.request_id
        event = over
    last = event.ending.last
    status = None if last is None else last.status_code
    return Story(invoked_at, event.ending.at - NOW, event.ending.condition, event.attempts, status)


def model(words: list[str], after: str, retries: int, age: int, waits: tuple[int, int], late: int) -> Story:
    now, script, invoked_at = float(late), iter(words), list[float]()
    attempts = throttles = 0
    status = None
    while now < age:
        invoked_at.append(now)
        word = next(script, after)
        if word in COUNTED:
            attempts, throttles, status = attempts + 1, 0, 200
        if word == "ok":
            return Story(invoked_at, now, "Success", attempts, 200)
        if word == "gone":
            return Story(invoked_at, now, "RetriesExhausted", attempts, 404)
        if word in ("throttle", "down"):
            throttles += 1
            if attempts == 0:
                status = 429 if word == "throttle" else 500
            now = min(now + min(2.0**throttles, 300) / 2, age) + late
        elif attempts == retries + 1:
            return Story(invoked_at, now, "RetriesExhausted", attempts, status)
        elif now + waits[attempts - 1] >= age:
            return Story(invoked_at, now, "EventAgeExceeded", attempts, status)
        else:
            now += waits[attempts - 1] + late
    return Story(invoked_at, now, "EventAgeExceeded", attempts, status)


@given(
    WORDS,
    st.sampled_from(list(RESPONSES)),
    st.integers(0, 2),
    st.sampled_from([60, 90, 180, 181, 600, 21_600]),
    st.sampled_from([(60, 120), (0, 0), (0, 1), (300, 600)]),
    st.sampled_from([0, 1, 59, 60, 100]),
)
def test_an_event_lives_as_the_model_says(
    words: list[str], after: str, retries: int, age: int, waits: tuple[int, int], late: int
) -> None:
    assert run(words, after, retries, age, waits, late) == model(words, after, retries, age, waits, late)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_payload_can_stand_in_a_record(payload: bytes) -> None:
    parsed(as_json(payload))


JSON = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@pytest.mark.slow
@given(JSON)
def test_only_a_message_of_sns_changes_on_its_way(document: object) -> None:
    message = replace(EVENT, payload=json.dumps(document).encode())
    assert of_sender(message) == message


@given(st.text(max_size=200) | st.from_regex(r"(Root|Parent|Sampled|Lineage|Self)=[0-9a-f:|;=-]{0,80}", fullmatch=True))
def test_any_header_goes_on_short_printable_and_with_one_more_pass(trace: str) -> None:
    event = replace(EVENT, trace=trace)
    sent = passed_on(event, FUNCTION.arn)
    assert sent.isascii()
    assert sent.isprintable()
    assert len(sent) < 700
    assert passed_on(replace(event, trace=sent), FUNCTION.arn) != sent
    invocations = 0
    while passes(event, FUNCTION.arn) < MAXIMUM_PASSES and invocations < 99:
        event, invocations = replace(event, trace=passed_on(event, FUNCTION.arn)), invocations + 1
    assert invocations <= 16
