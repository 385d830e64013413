"""How is a discarded batch reported to a bucket? As one object: the failure record, with the event besides.

Source: AWS Lambda Developer Guide, "Retaining discarded batch records for a Kinesis Data Streams event source in
Lambda"; Amazon S3 API Reference, "PutObject"; the content type was seen on AWS.
"""

from __future__ import annotations

from poller.core.invocation_record import InvocationRecord, s3_key, s3_object
from poller.destinations.client import DELIVERY_TIMEOUT_IN_SECONDS, Client
from poller.model.arn import Arn

CONTENT_TYPE = "application/octet-stream"


class S3Destination:
    """A bucket, as `ports.Destination`. The client is opened and closed by the composition root.

    `mapping_uuid` is the folder's name under `aws/lambda/`.
    """

    def __init__(self, client: Client, *, arn: Arn, mapping_uuid: str) -> None:
        self._client = client
        self._bucket = arn.resource
        self._mapping_uuid = mapping_uuid

    async def deliver(self, invocation_record: InvocationRecord) -> None:
        """An invocation record delivered twice is one object: its key is made of the invocation record alone."""
        await self._client.call(
            "put_object",
            timeout_in_seconds=DELIVERY_TIMEOUT_IN_SECONDS,
            Bucket=self._bucket,
            Key=s3_key(invocation_record.batch, mapping_uuid=self._mapping_uuid, random=invocation_record.record_id),
            Body=s3_object(invocation_record.batch, event=invocation_record.event),
            ContentType=CONTENT_TYPE,
        )
