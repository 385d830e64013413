"""What does the dead-letter queue receive?"""

from __future__ import annotations

from typing import Any

import pytest

from poller.core.events.dead_letter import attributes_of
from poller.core.events.record import dead_letter_of
from poller.model.event import LastAttempt
from tests.fakes.ended_events import EVENT, FUNCTION, ended

ID = ("RequestID", "String", EVENT.request_id)


def test_a_dead_letter_is_the_event_as_it_was_sent() -> None:
    letter = dead_letter_of(ended(), FUNCTION)
    assert letter.text == EVENT.payload
    assert letter.attributes == (ID, ("ErrorCode", "Number", "200"), ("ErrorMessage", "String", "no"))
    assert letter.trace.startswith("Root=")


@pytest.mark.parametrize(
    ("ending", "code", "message"),
    [
        (
            {"last": LastAttempt(status_code=429, error_message="Rate Exceeded."), "condition": "EventAgeExceeded"},
            "429",
            "Rate Exceeded.",
        ),
        (
            {"last": None, "condition": "ZeroReservedConcurrency"},
            None,
            "Function not invoked. Function isconfigured with zero reserved concurrent executions",
        ),
        ({"last": None, "condition": "EventAgeExceeded"}, None, "Event age exceeded."),
        ({"last": LastAttempt(status_code=200, error_message="")}, "200", None),
    ],
)
def test_the_attributes_of_a_dead_letter_say_why_the_event_failed(
    ending: dict[str, Any], code: str | None, message: str | None
) -> None:
    expected = [ID, ("ErrorCode", "Number", code), ("ErrorMessage", "String", message)]
    assert list(attributes_of(ended(**ending))) == [one for one in expected if one[2] is not None]


@pytest.mark.parametrize(
    ("message", "kept"),
    [("x" * 1025, "x" * 1024), ("ñ" * 512, "ñ" * 512), ("x" + "ñ" * 512, "x" + "ñ" * 511), ("\ud800", "?")],
)
def test_a_long_error_message_is_cut_between_two_characters(message: str, kept: str) -> None:
    *_, shown = attributes_of(ended(last=LastAttempt(status_code=200, error_message=message)))
    assert shown == ("ErrorMessage", "String", kept)
