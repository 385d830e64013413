"""May the messages of a queue be deleted, and hidden again? The check sends a receipt handle that no message has.

    SQS refuses the handle      the identity has the permission; nothing has changed
    SQS denies the access       it does not have it

The daemon itself sends the same requests. No such request exists for a receive: each receive hides messages and raises
their receive counts.

Source: Amazon SQS API Reference, "DeleteMessageBatch", "ChangeMessageVisibilityBatch".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poller.core.finding import Finding
from poller.errors import AccessDenied, PollerError
from poller.live_checks.rows import Row, asked
from poller.sources.client import Client

ENTRY = {"Id": "0", "ReceiptHandle": "poller-check-live"}

READABLE = Finding("exists; the permission to receive is not checked, because each receive hides messages")

CANNOT_HIDE = "messages cannot be hidden again, because access is denied; the daemon works, but may repeat more records"


async def queue_access(client: Client, queue_url: str, row: Callable[[str, Finding], Row]) -> list[Row]:
    """Return a row for each permission. `row` makes a row from the name of the check and its finding."""
    return [
        row("DeleteMessage", await _deleting(client, queue_url)),
        row("ChangeMessageVisibility", await _hiding(client, queue_url)),
    ]


async def _deleting(client: Client, queue_url: str) -> Finding:
    try:
        await _ask(client, "DeleteMessageBatch", queue_url, ENTRY)
    except PollerError as error:
        return Finding(f"messages cannot be deleted: {error}", is_fault=True)
    return Finding("messages may be deleted")


async def _hiding(client: Client, queue_url: str) -> Finding:
    try:
        await _ask(client, "ChangeMessageVisibilityBatch", queue_url, ENTRY | {"VisibilityTimeout": 0})
    except AccessDenied:
        return Finding(CANNOT_HIDE, is_advice=True)
    except PollerError as error:
        return Finding(f"messages cannot be hidden again: {error}", is_fault=True)
    return Finding("messages may be hidden again")


async def _ask(client: Client, operation: str, queue_url: str, entry: dict[str, Any]) -> None:
    """Send a request with one entry, which fails alone: the answer names it in its list of failed entries."""
    await asked(client, operation, {"QueueUrl": queue_url, "Entries": [entry]})
