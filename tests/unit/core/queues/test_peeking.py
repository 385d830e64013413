"""May a person look at the messages of a queue?"""

from __future__ import annotations

import pytest

from poller.core.queues.peeking import why_no_peek

POLICY = '{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:dead","maxReceiveCount":"5"}'


@pytest.mark.parametrize("attributes", [{}, {"RedrivePolicy": ""}, {"VisibilityTimeout": "30"}])
def test_a_person_may_look_at_a_standard_queue_without_a_redrive_policy(attributes: dict[str, str]) -> None:
    assert why_no_peek(attributes, is_fifo=False) is None


@pytest.mark.parametrize(
    ("attributes", "is_fifo", "why"), [({}, True, "FIFO queue"), ({"RedrivePolicy": POLICY}, False, "redrive policy")]
)
def test_nobody_may_look_at_a_queue_if_a_look_could_harm_a_delivery(
    attributes: dict[str, str], is_fifo: bool, why: str
) -> None:
    assert why in (why_no_peek(attributes, is_fifo=is_fifo) or "")
