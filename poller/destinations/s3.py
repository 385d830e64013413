"""How is a document sent to a bucket? As one object: the document together with the event.

Source: AWS Lambda Developer Guide, "Retaining discarded batch records for a Kinesis Data Streams event source in
Lambda"; Amazon S3 API Reference, "PutObject"; the content type was seen on AWS.
"""

from __future__ import annotations

from datetime import UTC, datetime

from poller.core.invocation_record import Document
from poller.destinations.client import DELIVERY_TIMEOUT_IN_SECONDS, Client
from poller.model.arn import Arn

CONTENT_TYPE = "application/octet-stream"


class S3Destination:
    """A bucket, as `ports.Destination`. The client is opened and closed by the composition root.

    It has no size limit of its own: an event has 6 MB, and "PutObject" takes 5 GB.
    """

    def __init__(self, client: Client, *, arn: Arn) -> None:
        self._client = client
        self._bucket = arn.resource

    async def deliver(self, document: Document) -> None:
        """A document that is delivered twice is one object, because its key is made of the document alone."""
        await self._client.call(
            "put_object",
            timeout_in_seconds=DELIVERY_TIMEOUT_IN_SECONDS,
            Bucket=self._bucket,
            Key=key_of(document),
            Body=document.text_with_event,
            ContentType=CONTENT_TYPE,
        )


def key_of(document: Document) -> str:
    moment = datetime.fromtimestamp(document.at, UTC)
    return f"{document.folder}/{moment:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{document.document_id}"
