"""The contender without a library: an aiobotocore loop of receive -> invoke -> delete, as a user would write it.

It builds the event that Lambda would make, obeys `batchItemFailures`, and deletes ten messages with one call.
It does not filter, extend visibility timeouts, have metrics or adapt its concurrency. So it does less than the daemon,
which makes it faster.
With a window, each loop gathers up to `--batch-size` messages over several receives, until the window is over.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session


async def main(options: argparse.Namespace) -> None:
    config = AioConfig(max_pool_connections=2 * options.loops, read_timeout=60)
    async with AsyncExitStack() as stack:
        session = get_session()
        sqs = await stack.enter_async_context(
            session.create_client("sqs", endpoint_url=options.sqs_endpoint, region_name="us-east-1", config=config)
        )
        functions = await stack.enter_async_context(
            session.create_client(
                "lambda", endpoint_url=options.lambda_endpoint, region_name="us-east-1", config=config
            )
        )
        http = await stack.enter_async_context(aiohttp.ClientSession())

        async def invoke(event: str) -> dict[str, Any]:
            if options.url:
                async with http.post(options.url, data=event) as response:
                    payload = await response.read()
            else:
                answer = await functions.invoke(FunctionName=options.function, Payload=event.encode())
                payload = await answer["Payload"].read()
            parsed: dict[str, Any] = json.loads(payload)
            return parsed

        async def loop() -> None:
            while True:
                messages = await gather(sqs, options)
                if not messages:
                    continue
                answer = await invoke(json.dumps({"Records": [record(m, options.queue_arn) for m in messages]}))
                failed = {failure["itemIdentifier"] for failure in answer.get("batchItemFailures", [])}
                done = [message for message in messages if message["MessageId"] not in failed]
                await delete(sqs, options.queue_url, done)

        await asyncio.gather(*(loop() for _ in range(options.loops)))


async def gather(sqs: Any, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return one batch: the messages of one receive, or of as many receives as the batch size and the window allow."""
    messages = await receive(sqs, options.queue_url, min(10, options.batch_size), 20)
    deadline = time.monotonic() + options.window
    while messages and len(messages) < options.batch_size and time.monotonic() < deadline:
        messages += await receive(sqs, options.queue_url, min(10, options.batch_size - len(messages)), 1)
    return messages


async def receive(sqs: Any, queue_url: str, limit: int, wait: int) -> list[dict[str, Any]]:
    answer = await sqs.receive_message(
        QueueUrl=queue_url,
        MaxNumberOfMessages=limit,
        WaitTimeSeconds=wait,
        MessageSystemAttributeNames=["All"],
        MessageAttributeNames=["All"],
    )
    messages: list[dict[str, Any]] = answer.get("Messages", [])
    return messages


def record(message: dict[str, Any], queue_arn: str) -> dict[str, Any]:
    attributes = message.get("MessageAttributes", {})
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {
            name: {
                "stringValue": value.get("StringValue"),
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": value["DataType"],
            }
            for name, value in attributes.items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": "us-east-1",
    }


async def delete(sqs: Any, queue_url: str, messages: list[dict[str, Any]]) -> None:
    tens = [messages[start : start + 10] for start in range(0, len(messages), 10)]
    await asyncio.gather(*(delete_ten(sqs, queue_url, ten) for ten in tens))


async def delete_ten(sqs: Any, queue_url: str, messages: list[dict[str, Any]]) -> None:
    entries = [{"Id": str(place), "ReceiptHandle": m["ReceiptHandle"]} for place, m in enumerate(messages)]
    answer = await sqs.delete_message_batch(QueueUrl=queue_url, Entries=entries)
    if answer.get("Failed"):
        print("not deleted:", answer["Failed"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sqs-endpoint", required=True)
    parser.add_argument("--queue-url", required=True)
    parser.add_argument("--queue-arn", required=True)
    parser.add_argument("--lambda-endpoint", required=True)
    parser.add_argument("--function", default="f")
    parser.add_argument("--url", help="an HTTP service to call in place of Lambda")
    parser.add_argument("--loops", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=10)
    parser.add_argument("--window", type=float, default=0.0, help="seconds")
    asyncio.run(main(parser.parse_args()))
