"""Do the attributes of a queue suit its mapping? One rule for each attribute that a mapping depends on.

    VisibilityTimeout    it should be as long as the batching window plus the function's timeout; poller hides messages
                         for longer if it is not (visibility.py)
    RedrivePolicy        without one, a message that always fails comes back until the queue deletes it; AWS recommends
                         a maxReceiveCount of at least five

Source: AWS Lambda Developer Guide, "Creating and configuring an Amazon SQS event source mapping", "Configuring a queue
to use with Lambda".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from poller.core.finding import Finding
from poller.core.queues.visibility import effective_visibility

RECOMMENDED_RECEIVES = 5


def visibility_finding(
    attributes: Mapping[str, Any], *, window_in_seconds: int, function_timeout_in_seconds: float, is_fifo: bool
) -> Finding:
    text = str(attributes.get("VisibilityTimeout"))
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        return Finding("does not tell its VisibilityTimeout: is this SQS?", is_fault=True)
    visibility = effective_visibility(
        queue_timeout_in_seconds=int(text),
        window_in_seconds=window_in_seconds,
        function_timeout_in_seconds=function_timeout_in_seconds,
        is_fifo=is_fifo,
    )
    if visibility.advice is not None:
        return Finding(visibility.advice, is_advice=True)
    return Finding(f"hides a message for {text} s, which is as long as the function may need")


def redrive_finding(attributes: Mapping[str, Any]) -> Finding:
    if not attributes.get("RedrivePolicy"):
        text = "has no redrive policy: a message that always fails comes back until the queue deletes it"
        return Finding(text, is_advice=True)
    try:
        policy = json.loads(attributes["RedrivePolicy"])
        count, dead = int(policy["maxReceiveCount"]), str(policy["deadLetterTargetArn"])
    except (ValueError, KeyError, TypeError):
        return Finding("has a redrive policy that cannot be read", is_fault=True)
    moves = f"moves a message to {dead} after {count} receive{'' if count == 1 else 's'}"
    if count < RECOMMENDED_RECEIVES:
        return Finding(f"{moves}; AWS recommends at least {RECOMMENDED_RECEIVES}", is_advice=True)
    return Finding(moves)
