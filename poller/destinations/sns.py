"""How is a discarded batch reported to a topic? As one message without a subject, whose text is the failure record.

Source: AWS Lambda Developer Guide, "Retaining discarded batch records for a Kinesis Data Streams event source in
Lambda"; Amazon SNS API Reference, "Publish".
"""

from __future__ import annotations

from poller.core.invocation_record import InvocationRecord, failure_record
from poller.destinations.client import DELIVERY_TIMEOUT_IN_SECONDS, Client
from poller.model.arn import Arn


class SnsDestination:
    """A standard topic, as `ports.Destination`. The client is opened and closed by the composition root."""

    def __init__(self, client: Client, *, arn: Arn) -> None:
        self._client = client
        self._arn = str(arn)

    async def deliver(self, invocation_record: InvocationRecord) -> None:
        """Each delivery is a message of its own, also of the same invocation record."""
        await self._client.call(
            "publish",
            timeout_in_seconds=DELIVERY_TIMEOUT_IN_SECONDS,
            TopicArn=self._arn,
            Message=failure_record(invocation_record.batch).decode(),
        )
