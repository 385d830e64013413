"""What does a check return? Rows: the option, the resource, what was checked, and the finding.

An error of AWS is a fault. If the daemon does not need the permission for the check itself, the finding is only advice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import orjson

from poller.aws.clients import Aws
from poller.core.finding import Finding
from poller.errors import AccessDenied, PollerError
from poller.sources.client import Client

ANSWER_TIMEOUT_IN_SECONDS = 10.0
"""We chose it: longer than a healthy service takes."""


class Row(NamedTuple):
    """One line of the table. `option` is where the settings name the resource, and `check` is what was checked."""

    option: str
    resource: str
    check: str
    finding: Finding


Check = Callable[[Aws], Awaitable[list[Row]]]
"""Asks AWS about one resource. It raises only PollerError."""


def failure(error: PollerError) -> Finding:
    return Finding(f"cannot be read: {error}", is_fault=True)


def unless_denied(error: PollerError, needed: str) -> Finding:
    """Return the finding of a check that has failed. Denied access is not a fault, because only the check needs it.

    `needed` is the permission that the daemon itself needs.
    """
    if isinstance(error, AccessDenied):
        return Finding(f"cannot be checked, because access is denied; the daemon needs only {needed}", is_advice=True)
    return failure(error)


async def asked(client: Client, operation: str, request: dict[str, Any]) -> Any:
    """Return the answer of a service with a JSON protocol. Raises PollerError."""
    return await client.call(operation, orjson.dumps(request), timeout_in_seconds=ANSWER_TIMEOUT_IN_SECONDS)


async def attributes_of(client: Client, queue_url: str) -> dict[str, Any]:
    """Return all attributes of an SQS queue, or none if the answer has none. Raises PollerError."""
    answer = await asked(client, "GetQueueAttributes", {"QueueUrl": queue_url, "AttributeNames": ["All"]})
    attributes = answer.get("Attributes") if isinstance(answer, dict) else None
    return attributes if isinstance(attributes, dict) else {}
