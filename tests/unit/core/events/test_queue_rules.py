"""In which SQS queues could a waiting event be lost?"""

from __future__ import annotations

from typing import Any

import pytest

from poller.core.events.queue_rules import RULES, faults_of

GOOD = {"MessageRetentionPeriod": "21600", "MaximumMessageSize": "1024"}


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({}, None),
        ({"FifoQueue": "true"}, ("FifoQueue", "must be a standard queue")),
        ({"RedrivePolicy": '{"maxReceiveCount":3}'}, ("RedrivePolicy", "remove the policy")),
        (
            {"MessageRetentionPeriod": "21599"},
            ("MessageRetentionPeriod", "at least 21600 seconds, and is 21599"),
        ),
        ({"MessageRetentionPeriod": "soon"}, ("MessageRetentionPeriod", "does not tell")),
        ({"MaximumMessageSize": None}, ("MaximumMessageSize", "does not tell")),
    ],
)
def test_a_rule_that_the_queue_breaks_is_found_with_its_reason(
    changed: dict[str, Any], fault: tuple[str, str] | None
) -> None:
    found = faults_of(GOOD | changed)
    if fault is None:
        assert found == {}
    else:
        ((name, text),) = found.items()
        assert name == fault[0]
        assert fault[1] in text


def test_the_finding_of_a_good_queue_says_what_was_found() -> None:
    assert [rule(GOOD).text for rule in RULES.values()] == [
        "is a standard queue",
        "has no redrive policy",
        "keeps an event for 21600 seconds",
        "accepts events of up to 1024 bytes, with their attributes",
    ]
