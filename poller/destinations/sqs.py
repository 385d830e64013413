"""How is a document sent to a queue? It is the body of one message.

Source: AWS Lambda Developer Guide, "Retaining discarded batch records for a Kinesis Data Streams event source in
Lambda"; Amazon SQS API Reference, "SendMessage".
"""

from __future__ import annotations

from poller.core.document import Document
from poller.destinations.client import DELIVERY_TIMEOUT_IN_SECONDS, Client
from poller.destinations.messages import message_of

MAXIMUM_MESSAGE_IN_BYTES = 1024 * 1024
"""SQS's limit; a queue may have a lower one. Source: Amazon SQS Developer Guide, "Amazon SQS message quotas"."""


class SqsDestination:
    """A standard queue, as `ports.Destination`. The client is opened and closed by the composition root."""

    def __init__(self, client: Client, *, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    async def deliver(self, document: Document) -> None:
        """Send the document as one message. A second delivery of it sends a second message."""
        await self._client.call(
            "send_message",
            timeout_in_seconds=DELIVERY_TIMEOUT_IN_SECONDS,
            QueueUrl=self._queue_url,
            MessageBody=message_of(document, limit_in_bytes=MAXIMUM_MESSAGE_IN_BYTES),
        )
