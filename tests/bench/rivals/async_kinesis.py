"""The contender from PyPI: the Consumer of async-kinesis.

Its items are gathered to batches, with which a function is invoked.

An item has only the data, without sequence number, partition key and time. So the event has only the data, and is not
the event that Lambda would make. The Consumer mixes the shards, and keeps its checkpoints in memory.
It is configured to read as fast as Kinesis allows and never to sleep. By default, it sleeps two seconds for each shard
without records, one shard after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
from base64 import b64encode
from typing import Any

from aiobotocore.session import get_session

PATIENCE_IN_SECONDS = 0.05
"""How long an incomplete batch waits for the next item."""


async def main(options: argparse.Namespace) -> None:
    sys.path.append(options.packages)
    kinesis = importlib.import_module("kinesis")
    where = {"endpoint_url": options.endpoint, "region_name": "us-east-1"}
    async with (
        get_session().create_client("lambda", **where) as functions,
        kinesis.Consumer(
            options.arn,
            **where,
            processor=kinesis.StringProcessor(),
            use_list_shards=True,
            shard_fetch_rate=5,
            sleep_time_no_records=0,
            idle_timeout=PATIENCE_IN_SECONDS,
        ) as consumer,
    ):

        async def deliver(batch: list[str]) -> None:
            if options.filter:
                batch = [text for text in batch if json.loads(text)["kind"] == "click"]
            event = {"Records": [record(text, options.arn) for text in batch]}
            answer = await functions.invoke(FunctionName=options.function, Payload=json.dumps(event).encode())
            await answer["Payload"].read()

        batch: list[str] = []
        while True:
            async for text in consumer:
                batch.append(text)
                if len(batch) == options.batch_size:
                    await deliver(batch)
                    batch = []
            if batch:
                await deliver(batch)
                batch = []


def record(text: str, arn: str) -> dict[str, Any]:
    return {
        "kinesis": {"kinesisSchemaVersion": "1.0", "data": b64encode(text.encode()).decode()},
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventName": "aws:kinesis:record",
        "awsRegion": "us-east-1",
        "eventSourceARN": arn,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", required=True, help="where async-kinesis is installed")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--arn", required=True)
    parser.add_argument("--function", default="f")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--filter", action="store_true", help="only records whose data are of the wanted kind")
    asyncio.run(main(parser.parse_args()))
