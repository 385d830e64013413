"""The contender without a library: an aiobotocore loop of read -> invoke -> remember for each shard of a stream.

It builds the event that Lambda would make, in batches, ignores partial failures, and keeps its checkpoints in memory.
It reads as often as the daemon does. It does not follow resharding, retry, have metrics or limit its memory. So it does
less than the daemon, which makes it faster.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from base64 import b64encode
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

BASE_RATE = {"kinesis": 1.0, "dynamodb": 0.25}
FASTEST = {"kinesis": 0.2, "dynamodb": 0.0}
"""Seconds between two reads of a shard that is caught up, and of one that is behind."""


async def main(options: argparse.Namespace) -> None:
    is_kinesis = options.kind == "kinesis"
    async with AsyncExitStack() as stack:
        session = get_session()
        config = AioConfig(max_pool_connections=1100, read_timeout=60)
        where = {"endpoint_url": options.endpoint, "region_name": "us-east-1", "config": config}
        service = "kinesis" if is_kinesis else "dynamodbstreams"
        stream = await stack.enter_async_context(session.create_client(service, **where))
        functions = await stack.enter_async_context(session.create_client("lambda", **where))
        checkpoints: dict[str, str] = {}

        async def deliver(shard_id: str, records: list[dict[str, Any]]) -> None:
            if options.filter:
                records = [record for record in records if is_wanted(record)]
            for start in range(0, len(records), options.batch_size):
                batch = records[start : start + options.batch_size]
                if is_kinesis:
                    event = [kinesis_record(record, shard_id, options.arn) for record in batch]
                else:
                    event = [record | {"eventSourceARN": options.arn} for record in batch]
                payload = json.dumps({"Records": event}, default=encoded).encode()
                answer = await functions.invoke(FunctionName=options.function, Payload=payload)
                await answer["Payload"].read()
            if records:
                last = records[-1]
                checkpoints[shard_id] = last["SequenceNumber"] if is_kinesis else last["dynamodb"]["SequenceNumber"]

        async def follow(shard_id: str) -> None:
            loop = asyncio.get_running_loop()
            name = "StreamARN" if is_kinesis else "StreamArn"
            answer = await stream.get_shard_iterator(
                **{name: options.arn}, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
            )
            iterator = answer["ShardIterator"]
            while iterator:
                began = loop.time()
                answer = await stream.get_records(ShardIterator=iterator, Limit=10_000 if is_kinesis else 1_000)
                await deliver(shard_id, answer["Records"])
                iterator = answer.get("NextShardIterator")
                is_behind = answer["MillisBehindLatest"] if is_kinesis else answer["Records"]
                pause = FASTEST[options.kind] if is_behind else BASE_RATE[options.kind]
                await asyncio.sleep(max(0.0, began + pause - loop.time()))

        def is_wanted(record: dict[str, Any]) -> bool:
            if is_kinesis:
                return bool(json.loads(record["Data"])["kind"] == "click")
            return bool(record["dynamodb"]["NewImage"]["state"] == {"S": "open"})

        await asyncio.gather(*(follow(shard_id) for shard_id in await shards(stream, options)))


async def shards(stream: Any, options: argparse.Namespace) -> list[str]:
    if options.kind == "kinesis":
        answer = await stream.list_shards(StreamARN=options.arn)
        return [shard["ShardId"] for shard in answer["Shards"]]
    found: list[str] = []
    request = {"StreamArn": options.arn}
    while True:
        description = (await stream.describe_stream(**request))["StreamDescription"]
        found += [shard["ShardId"] for shard in description["Shards"]]
        if "LastEvaluatedShardId" not in description:
            return found
        request = {"StreamArn": options.arn, "ExclusiveStartShardId": description["LastEvaluatedShardId"]}


def kinesis_record(record: dict[str, Any], shard_id: str, arn: str) -> dict[str, Any]:
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": record["SequenceNumber"],
            "data": b64encode(record["Data"]).decode(),
            "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard_id}:{record['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::000000000000:role/reader",
        "awsRegion": "us-east-1",
        "eventSourceARN": arn,
    }


def encoded(value: object) -> object:
    """Return the value as JSON has it: botocore has made objects of times and binary values."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, bytes):
        return b64encode(value).decode()
    raise TypeError(value)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=["dynamodb", "kinesis"], required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--arn", required=True)
    parser.add_argument("--function", default="f")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--filter", action="store_true", help="only records whose data are of the wanted kind")
    asyncio.run(main(parser.parse_args()))
