"""How is a document sent to a queue? It is the body of one message, and its trace is the attribute AWSTraceHeader.

A W3C trace is the message attribute `traceparent`.

Source: AWS Lambda Developer Guide, "Retaining discarded batch records for a Kinesis Data Streams event source in
Lambda"; Amazon SQS API Reference, "SendMessage".
"""

from __future__ import annotations

from typing import Any

from poller.core.document import Document
from poller.core.events.trace import TRACE_HEADER, TRACEPARENT
from poller.destinations.client import DELIVERY_TIMEOUT_IN_SECONDS, Client
from poller.destinations.messages import attributes_of, message_of, with_attribute
from poller.errors import DocumentTooLarge, Rejected

MAXIMUM_MESSAGE_IN_BYTES = 1024 * 1024
"""SQS's limit. A queue may have a lower limit. Source: Amazon SQS Developer Guide, "Amazon SQS message quotas"."""


class SqsDestination:
    """A standard queue, as `ports.Destination`. The client is opened and closed by the composition root."""

    def __init__(self, client: Client, *, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    async def deliver(self, document: Document) -> None:
        """Send the document as one message. If it is delivered twice, the queue gets two messages."""
        document = with_attribute(document, TRACEPARENT, document.traceparent)
        message = {"MessageBody": message_of(document, limit_in_bytes=MAXIMUM_MESSAGE_IN_BYTES)} | _attributes(document)
        try:
            await self._client.call(
                "send_message", timeout_in_seconds=DELIVERY_TIMEOUT_IN_SECONDS, QueueUrl=self._queue_url, **message
            )
        except Rejected as error:
            if _TOO_LARGE in str(error):
                raise DocumentTooLarge(str(error), code=error.code) from error
            raise


_TOO_LARGE = "Message must be shorter than"
"""SQS's words for a message above the limit of the queue, under the code InvalidParameterValue."""


def _attributes(document: Document) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if document.attributes:
        attributes["MessageAttributes"] = attributes_of(document)
    if document.trace:
        trace = {"DataType": "String", "StringValue": document.trace}
        attributes["MessageSystemAttributes"] = {TRACE_HEADER: trace}
    return attributes
