"""Do the attributes of a queue suit its mapping?"""

from __future__ import annotations

import pytest

from poller.core.queues.attributes import redrive_finding, visibility_finding

DEAD = "arn:aws:sqs:eu-west-1:123456789012:dead"


def policy(receives: object) -> dict[str, str]:
    return {"RedrivePolicy": f'{{"deadLetterTargetArn":"{DEAD}","maxReceiveCount":{receives}}}'}


@pytest.mark.parametrize(
    ("timeout", "result"),
    [
        ("35", "ok"),
        ("34", "advice"),
        ("0", "advice"),
        (None, "fault"),
        ("", "fault"),
        ("-1", "fault"),
        ("1.5", "fault"),
    ],
)
def test_a_visibility_timeout_should_be_as_long_as_the_window_and_the_function(
    timeout: str | None, result: str
) -> None:
    attributes = {} if timeout is None else {"VisibilityTimeout": timeout}
    found = visibility_finding(attributes, window_in_seconds=5, function_timeout_in_seconds=30, is_fifo=False)
    assert found.result == result


@pytest.mark.parametrize(
    ("attributes", "result", "text"),
    [
        ({}, "advice", "comes back until the queue deletes it"),
        (policy(1), "advice", f"to {DEAD} after 1 receive; AWS recommends at least 5"),
        (policy(4), "advice", f"to {DEAD} after 4 receives; AWS recommends at least 5"),
        (policy(5), "ok", f"to {DEAD} after 5 receives"),
        (policy('"10"'), "ok", "after 10 receives"),
        ({"RedrivePolicy": "{}"}, "fault", "cannot be read"),
        ({"RedrivePolicy": "[]"}, "fault", "cannot be read"),
        ({"RedrivePolicy": "no JSON"}, "fault", "cannot be read"),
    ],
)
def test_a_queue_should_have_a_redrive_policy_with_enough_receives(
    attributes: dict[str, str], result: str, text: str
) -> None:
    found = redrive_finding(attributes)
    assert (found.result, text in found.text) == (result, True)
