"""How is a document sent to a bucket? The document and its event are stored together as one object.

Source: AWS Lambda Developer Guide, "Retaining discarded batch records for a Kinesis Data Streams event source in
Lambda"; Amazon S3 API Reference, "PutObject". The content type is the one that Lambda's own objects have.
"""

from __future__ import annotations

from datetime import UTC, datetime

from poller.core.document import Document
from poller.destinations.client import DELIVERY_TIMEOUT_IN_SECONDS, Client
from poller.model.arn import Arn

CONTENT_TYPE = "application/octet-stream"


class S3Destination:
    """A bucket, as `ports.Destination`. The client is opened and closed by the composition root.

    The size is not checked: an event has at most 6 MB, and "PutObject" accepts 5 GB.
    """

    def __init__(self, client: Client, *, arn: Arn) -> None:
        self._client = client
        self._bucket = arn.resource

    async def deliver(self, document: Document) -> None:
        """Store the document as an object.

        If it is delivered twice, the second object replaces the first one, with the same key.
        """
        await self._client.call(
            "put_object",
            timeout_in_seconds=DELIVERY_TIMEOUT_IN_SECONDS,
            Bucket=self._bucket,
            Key=key_of(document),
            Body=document.text_with_event,
            ContentType=CONTENT_TYPE,
        )


def key_of(document: Document) -> str:
    """Return the object's key; its date and time are UTC."""
    moment = datetime.fromtimestamp(document.at, UTC)
    return f"{document.folder}/{moment:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{document.document_id}"
