"""How is a discarded batch reported to a queue? As one message, whose body is the failure record.

Source: AWS Lambda Developer Guide, "Retaining discarded batch records for a Kinesis Data Streams event source in
Lambda"; Amazon SQS API Reference, "SendMessage".
"""

from __future__ import annotations

from poller.core.invocation_record import InvocationRecord, failure_record
from poller.destinations.client import DELIVERY_TIMEOUT_IN_SECONDS, Client


class SqsDestination:
    """A standard queue, as `ports.Destination`. The client is opened and closed by the composition root."""

    def __init__(self, client: Client, *, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    async def deliver(self, invocation_record: InvocationRecord) -> None:
        """Each delivery is a message of its own, also of the same invocation record."""
        await self._client.call(
            "send_message",
            timeout_in_seconds=DELIVERY_TIMEOUT_IN_SECONDS,
            QueueUrl=self._queue_url,
            MessageBody=failure_record(invocation_record.batch).decode(),
        )
