"""How is a document sent to an event bus? It is the detail of one event.

    detail-type   Lambda Function Invocation Result - Success, or - Failure
    source        lambda
    resources     the bus, and the function with its qualifier

AWS answers with status 200 even if it did not accept the event. Then the answer's entry has an error.
Source: Amazon EventBridge API Reference, "PutEvents". We have seen these members on AWS.
"""

from __future__ import annotations

from typing import Any

from poller.aws.errors import service_error
from poller.core.document import Document
from poller.destinations.client import DELIVERY_TIMEOUT_IN_SECONDS, Client
from poller.destinations.messages import check_size
from poller.model.arn import Arn

SOURCE = "lambda"

MAXIMUM_ENTRY_IN_BYTES = 1024 * 1024
"""Source: Amazon EventBridge User Guide, "Calculating PutEvents event entry size"."""

_BYTES_OF_THE_TIME = 14

_PASSING = frozenset({"InternalException", "InternalFailure", "ServiceUnavailable"})
"""The error codes of an entry that may be accepted later."""


class EventBridgeDestination:
    """An event bus, as `ports.Destination`. The client is opened and closed by the composition root."""

    def __init__(self, client: Client, *, arn: Arn) -> None:
        self._client = client
        self._arn = str(arn)

    async def deliver(self, document: Document) -> None:
        """Send the document to the bus as one event. If it is delivered twice, the bus gets two events."""
        entry: dict[str, Any] = {
            "Time": document.at,
            "Source": SOURCE,
            "DetailType": document.detail_type,
            "Resources": [self._arn, document.function_arn],
            "Detail": document.text.decode(),
            "EventBusName": self._arn,
        }
        if document.trace:
            entry["TraceHeader"] = document.trace
        check_size(_size(entry, document), limit_in_bytes=MAXIMUM_ENTRY_IN_BYTES)
        answer = await self._client.call("put_events", timeout_in_seconds=DELIVERY_TIMEOUT_IN_SECONDS, Entries=[entry])
        _check_entry(answer)


def _size(entry: dict[str, Any], document: Document) -> int:
    texts = (entry["Source"], entry["DetailType"], *entry["Resources"])
    return _BYTES_OF_THE_TIME + len(document.text) + sum(len(text.encode()) for text in texts)


def _check_entry(answer: Any) -> None:
    """Raise an error if the answer's entry has an error code."""
    for entry in answer.get("Entries", ()):
        if code := entry.get("ErrorCode"):
            raise service_error(entry.get("ErrorMessage", ""), code=code, status=500 if code in _PASSING else 400)
