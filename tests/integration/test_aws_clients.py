"""Do real emulators understand the fast client, next to aiobotocore's own client?"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import orjson
import pytest

from poller import errors
from poller.aws.clients import Aws, AwsSettings
from poller.model.arn import Arn
from poller.model.function import Function, LambdaApi
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.invocation import Answered, FunctionError, Invocation, Unreachable
from poller.targets.lambda_api import LambdaApiTarget

pytestmark = pytest.mark.anyio

REGION = "us-east-1"
HANDLER = """
def handle(event, context):
    print("handling", event["n"])
    if event["n"] < 0:
        raise ValueError("n is negative")
    return event["n"] + 1
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("emulator", ["ministack", "moto"])
async def test_a_message_can_be_received_hidden_shown_and_deleted(
    emulator: str, account: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(emulator)
    async with Aws(AwsSettings(region=REGION, endpoint_url=url)) as aws:
        async with aws.client("sqs") as client:
            queue_url = (await client.create_queue(QueueName=f"queue-{account}"))["QueueUrl"]
            await client.send_message(QueueUrl=queue_url, MessageBody="é ✓")
        sqs = await aws.json_client("sqs")

        async def call(operation: str, **body: Any) -> Any:
            return await sqs.call(operation, orjson.dumps({"QueueUrl": queue_url, **body}), timeout_in_seconds=60)

        [first] = (await call("ReceiveMessage", WaitTimeSeconds=1))["Messages"]
        assert first["Body"] == "é ✓"
        assert not (await call("ReceiveMessage")).get("Messages")
        shown = {"Id": "0", "ReceiptHandle": first["ReceiptHandle"], "VisibilityTimeout": 0}
        assert len((await call("ChangeMessageVisibilityBatch", Entries=[shown]))["Successful"]) == 1
        [second] = (await call("ReceiveMessage", WaitTimeSeconds=1))["Messages"]
        assert second["MessageId"] == first["MessageId"]
        done = {"Id": "0", "ReceiptHandle": second["ReceiptHandle"]}
        assert len((await call("DeleteMessageBatch", Entries=[done]))["Successful"]) == 1


@pytest.mark.parametrize("emulator", ["ministack", "moto"])
async def test_a_missing_queue_is_not_found_by_either_client(
    emulator: str, account: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(emulator)
    queue_url = f"{url}/{account}/absent"
    async with Aws(AwsSettings(region=REGION, endpoint_url=url)) as aws:
        sqs = await aws.json_client("sqs")
        with pytest.raises(errors.NotFound):
            await sqs.call("ReceiveMessage", orjson.dumps({"QueueUrl": queue_url}), timeout_in_seconds=60)
        with pytest.raises(errors.NotFound):
            async with aws.client("sqs") as client:
                await client.get_queue_attributes(QueueUrl=queue_url)


async def test_an_assumed_role_is_the_identity(ministack: str, account: str) -> None:
    role = f"arn:aws:iam::{account}:role/reader"
    async with Aws(AwsSettings(region=REGION, endpoint_url=ministack)) as aws:
        async with aws.client("iam") as client:
            await client.create_role(RoleName="reader", AssumeRolePolicyDocument="{}")
        async with aws.client("sts", role_arn=role) as client:
            assert "assumed-role/reader/poller" in (await client.get_caller_identity())["Arn"]
        await (await aws.json_client("sqs", role_arn=role)).call("ListQueues", b"{}", timeout_in_seconds=60)


async def test_a_function_can_answer_fail_and_be_missing(ministack: str, account: str) -> None:
    async with Aws(AwsSettings(region=REGION, endpoint_url=ministack)) as aws:
        arn = await created_function(aws, account)
        by_name, by_arn, absent = [await target(aws, name, arn) for name in ("adder", arn, "absent")]

        assert await by_name.invoke(invocation(1)) == Answered(b"2")
        assert await by_arn.invoke(invocation(2)) == Answered(b"3")
        failure = await by_name.invoke(invocation(-1))
        assert isinstance(failure, FunctionError)
        assert failure.message == "n is negative"
        assert "handling -1" in failure.log_tail
        missing = await absent.invoke(invocation(1))
        assert isinstance(missing, Unreachable)
        assert missing.reason == "ResourceNotFoundException"
        assert "Function not found" in missing.detail


async def created_function(aws: Aws, account: str) -> str:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("index.py", HANDLER)
    async with aws.client("lambda") as client:
        created = await client.create_function(
            FunctionName="adder",
            Runtime="python3.11",
            Handler="index.handle",
            Role=f"arn:aws:iam::{account}:role/any",
            Code={"ZipFile": code.getvalue()},
        )
    return str(created["FunctionArn"])


async def target(aws: Aws, name: str, arn: str) -> LambdaApiTarget:
    kind = LambdaApi(name=name, qualifier=None, region=REGION)
    function = Function(
        name=FunctionName(name), arn=Arn.parse(arn), kind=kind, timeout_in_seconds=30, reserved_concurrency=1
    )
    return await LambdaApiTarget.of(function, kind, aws)


def invocation(n: int) -> Invocation:
    return Invocation(RequestId("r-1"), orjson.dumps({"n": n}), MappingName("numbers"), 1)
