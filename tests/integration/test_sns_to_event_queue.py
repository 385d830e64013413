"""Does the trace of an invocation record reach the next function if the record goes through a topic of SNS?"""

from __future__ import annotations

from uuid import UUID, uuid4

import orjson
import pytest

from poller.aws.clients import Aws, AwsSettings
from poller.aws.kept_client import KeptClient
from poller.composition.mappings import WallClock
from poller.core.document import Document
from poller.core.events.senders import of_sender
from poller.destinations.sns import SnsDestination
from poller.event_queues.sqs import SqsEventQueue
from poller.model.arn import Arn, queue_url
from poller.model.ids import FunctionName
from poller.sources.sqs import SqsSource
from tests.conftest import REGION
from tests.fakes.functions import TRACE, TRACEPARENT

pytestmark = pytest.mark.anyio

FUNCTION = FunctionName("resize")
RECORD = Document(
    text=b'{"version":"1.0"}',
    event=None,
    folder="",
    at=0.0,
    document_id=UUID(int=0),
    trace=TRACE,
    traceparent=TRACEPARENT,
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("is_raw", [False, True])
async def test_the_trace_of_a_record_goes_through_a_topic_into_an_event_queue(
    ministack: str, account: str, is_raw: bool
) -> None:
    arn = Arn(partition="aws", service="sqs", region=REGION, account=account, resource=f"events-{uuid4().hex}")
    async with Aws(AwsSettings(region=REGION, endpoint_url=ministack)) as aws:
        async with aws.client("sqs") as sqs:
            await sqs.create_queue(QueueName=arn.resource)
        async with KeptClient(lambda: aws.client("sns")) as sns, aws.client("sns") as client:
            topic = (await client.create_topic(Name=arn.resource))["TopicArn"]
            attributes = {"RawMessageDelivery": "true"} if is_raw else {}
            await client.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=str(arn), Attributes=attributes)
            await SnsDestination(sns, arn=Arn.parse(topic)).deliver(RECORD)
        json_client = await aws.json_client("sqs")
        url = queue_url(json_client.endpoint_url, arn)
        source = SqsSource(json_client, arn=arn, queue_url=url, has_batching_window=False)
        queue = SqsEventQueue(
            json_client, source, queue_url=url, function=FUNCTION, clock=WallClock(), of_sender=of_sender
        )
        (taken,) = await queue.take(FUNCTION, count=1, wait_in_seconds=20)
    assert (taken.event.trace, taken.event.traceparent) == (TRACE, TRACEPARENT)
    if is_raw:
        assert taken.event.payload == RECORD.text
    else:
        (record,) = orjson.loads(taken.event.payload)["Records"]
        assert record["Sns"]["Message"] == RECORD.text.decode()
