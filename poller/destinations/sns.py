"""How is a document sent to a topic? It is the text of one message, which has no subject.

"Publish" has no parameter for a trace. So the trace is a message attribute, AWSTraceHeader, and a W3C trace is the
message attribute `traceparent`. If the topic sends to the SQS event queue of a function, the trace continues there.

Source: AWS Lambda Developer Guide, "Retaining discarded batch records for a Kinesis Data Streams event source in
Lambda"; Amazon SNS API Reference, "Publish".
"""

from __future__ import annotations

from poller.core.document import Document
from poller.core.events.trace import TRACE_HEADER, TRACEPARENT
from poller.destinations.client import DELIVERY_TIMEOUT_IN_SECONDS, Client
from poller.destinations.messages import attributes_of, message_of, with_attribute
from poller.model.arn import Arn

MAXIMUM_MESSAGE_IN_BYTES = 256 * 1024
"""Source: Amazon SNS API Reference, "Publish", Message."""


class SnsDestination:
    """A standard topic, as `ports.Destination`. The client is opened and closed by the composition root."""

    def __init__(self, client: Client, *, arn: Arn) -> None:
        self._client = client
        self._arn = str(arn)

    async def deliver(self, document: Document) -> None:
        """Publish the document as one message. If it is delivered twice, the topic gets two messages."""
        document = with_attribute(document, TRACE_HEADER, document.trace)
        document = with_attribute(document, TRACEPARENT, document.traceparent)
        await self._client.call(
            "publish",
            timeout_in_seconds=DELIVERY_TIMEOUT_IN_SECONDS,
            TopicArn=self._arn,
            Message=message_of(document, limit_in_bytes=MAXIMUM_MESSAGE_IN_BYTES),
            **({"MessageAttributes": attributes_of(document)} if document.attributes else {}),
        )
