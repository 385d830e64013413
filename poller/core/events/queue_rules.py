"""May a function's events wait in an SQS queue? Only if the queue loses no event that waits in it.

    FifoQueue                 SQS cannot delay the messages of a FIFO queue one by one
    RedrivePolicy             each wait of an event counts as a receive, so SQS would move the event away
    MessageRetentionPeriod    SQS would delete an event that waits for a longer time
    MaximumMessageSize        SQS refuses larger events; this loses nothing, because their senders get an error

There is one rule for each of these attributes, as GetQueueAttributes returns them.

Sources: Amazon SQS Developer Guide, "Amazon SQS dead-letter queues", "Amazon SQS message quotas"; Amazon SQS API
Reference, "SetQueueAttributes".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from poller.core.finding import Finding

LONGEST_WAIT_IN_SECONDS = 21_600
"""The longest time for which an event may wait. Source: AWS Lambda API Reference, MaximumEventAgeInSeconds."""

Attributes = Mapping[str, Any]


def faults_of(attributes: Attributes) -> dict[str, str]:
    """Return what is wrong with the queue: pairs of an attribute's name and a text that says why its value is wrong."""
    found = {name: rule(attributes) for name, rule in RULES.items()}
    return {name: finding.text for name, finding in found.items() if finding.is_fault}


def _standard(attributes: Attributes) -> Finding:
    if attributes.get("FifoQueue") == "true":
        return Finding("is a FIFO queue: it must be a standard queue", is_fault=True)
    return Finding("is a standard queue")


def _keeps_messages(attributes: Attributes) -> Finding:
    if attributes.get("RedrivePolicy"):
        return Finding("has a redrive policy, which would move waiting events away: remove the policy", is_fault=True)
    return Finding("has no redrive policy")


def _long_enough(attributes: Attributes) -> Finding:
    seconds = number(attributes, "MessageRetentionPeriod")
    if seconds is None:
        return Finding("does not tell its MessageRetentionPeriod: is this SQS?", is_fault=True)
    if seconds < LONGEST_WAIT_IN_SECONDS:
        return Finding(
            "would drop waiting events: its MessageRetentionPeriod must be at least "
            f"{LONGEST_WAIT_IN_SECONDS} seconds, and is {seconds}",
            is_fault=True,
        )
    return Finding(f"keeps an event for {seconds} seconds")


def _message_size(attributes: Attributes) -> Finding:
    size = number(attributes, "MaximumMessageSize")
    if size is None:
        return Finding("does not tell its MaximumMessageSize: is this SQS?", is_fault=True)
    return Finding(f"accepts events of up to {size} bytes, with their attributes")


RULES: Mapping[str, Callable[[Attributes], Finding]] = {
    "FifoQueue": _standard,
    "RedrivePolicy": _keeps_messages,
    "MessageRetentionPeriod": _long_enough,
    "MaximumMessageSize": _message_size,
}


def number(attributes: Attributes, name: str) -> int | None:
    """Return a numeric attribute of the queue, or None if SQS did not return it."""
    value = attributes.get(name)
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12 else None
