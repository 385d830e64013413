"""Does the source see what aiobotocore sees? The real source and our real client, beside aiobotocore's client."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from poller.aws.clients import Aws, AwsSettings
from poller.core.envelope import encode, event
from poller.errors import NotFound, Unreachable
from poller.model.arn import Arn, queue_url
from poller.model.message import Message
from poller.sources.sqs import SqsSource
from tests.conftest import REGION

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def aws(ministack: str, account: str) -> AsyncIterator[Aws]:
    async with Aws(AwsSettings(region=REGION, endpoint_url=ministack)) as aws:
        yield aws


@pytest.fixture
async def client(aws: Aws) -> AsyncIterator[Any]:
    async with aws.client("sqs") as client:
        yield client


async def source_of(aws: Aws, account: str, name: str) -> SqsSource:
    client = await aws.json_client("sqs")
    arn = Arn(partition="aws", service="sqs", region=REGION, account=account, resource=name)
    url = queue_url(client.endpoint_url, arn)
    return SqsSource(client, arn=arn, queue_url=url, has_batching_window=False)


async def receive(source: SqsSource, visibility: int | None = None) -> list[Message]:
    return await source.receive(count=10, wait_in_seconds=5, visibility_timeout_in_seconds=visibility)


def new_name() -> str:
    return f"source-{uuid4().hex}"


async def test_a_record_has_the_values_that_aiobotocore_receives(aws: Aws, account: str, client: Any) -> None:
    name = new_name()
    url = (await client.create_queue(QueueName=name))["QueueUrl"]
    await client.send_message(
        QueueUrl=url,
        MessageBody="body",
        MessageAttributes={
            "Kind": {"DataType": "String", "StringValue": "ñ"},
            "Blob": {"DataType": "Binary.raw", "BinaryValue": bytes(range(256))},
        },
    )
    [message] = await receive(await source_of(aws, account, name), visibility=0)
    answer = await client.receive_message(
        QueueUrl=url, AttributeNames=["All"], MessageAttributeNames=["All"], WaitTimeSeconds=5
    )
    [theirs] = answer["Messages"]
    ours = json.loads(event([encode(message.record)]))["Records"][0]
    assert (ours["messageId"], ours["body"], ours["md5OfBody"]) == (
        theirs["MessageId"],
        theirs["Body"],
        theirs["MD5OfBody"],
    )
    assert ours["md5OfMessageAttributes"] == theirs["MD5OfMessageAttributes"]
    assert ours["attributes"] | {"ApproximateReceiveCount": "2"} == theirs["Attributes"]
    assert ours["messageAttributes"]["Kind"]["stringValue"] == "ñ"
    assert b64decode(ours["messageAttributes"]["Blob"]["binaryValue"]) == bytes(range(256))


async def test_every_kind_of_character_is_received(aws: Aws, account: str, client: Any) -> None:
    name = new_name()
    body = '\t\n\r "quoted" \\ </script> \x7f \u2028\u2029 ñ 語 \ud7ff\ue000\ufffd 😀 ' + '{"a":[1.0,1e400]}'
    url = (await client.create_queue(QueueName=name))["QueueUrl"]
    await client.send_message(QueueUrl=url, MessageBody=body)
    [message] = await receive(await source_of(aws, account, name))
    assert json.loads(event([encode(message.record)]))["Records"][0]["body"] == body


async def test_ten_long_messages_are_received_at_once(aws: Aws, account: str, client: Any) -> None:
    name = new_name()
    url = (await client.create_queue(QueueName=name))["QueueUrl"]
    for number in range(10):
        await client.send_message(QueueUrl=url, MessageBody=str(number) * 200_000)
    source = await source_of(aws, account, name)
    messages = await receive(source)
    assert sorted(message.record["body"][0] for message in messages) == list("0123456789")
    assert all(len(message.record["body"]) == 200_000 for message in messages)
    assert await source.delete(messages) == []


async def test_a_deleted_queue_is_not_found(aws: Aws, account: str, client: Any) -> None:
    name = new_name()
    url = (await client.create_queue(QueueName=name))["QueueUrl"]
    source = await source_of(aws, account, name)
    await source.describe()
    await client.delete_queue(QueueUrl=url)
    with pytest.raises(NotFound):
        await receive(source)


async def test_an_endpoint_without_a_server_is_unreachable(account: str) -> None:
    async with Aws(AwsSettings(region=REGION, endpoint_url="http://127.0.0.1:1")) as aws:
        source = await source_of(aws, account, "orders")
        with pytest.raises(Unreachable) as raised:
            await receive(source)
    assert not raised.value.was_sent
