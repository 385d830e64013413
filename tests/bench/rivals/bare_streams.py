"""The floor for streams: read -> invoke in one thread, over blocking sockets. What can Python do at best?

The shards take turns, and each is read as often as the daemon reads it. Nothing else is done: no checkpoint, no
resharding, no second try, no bound, no metrics, no log.
So this is no contender. It shows how much of the daemon's cost is the cost of the calls themselves.
"""

from __future__ import annotations

import argparse
import time
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

import orjson

from tests.bench.rivals.blocking import Blocking
from tests.bench.rivals.plain_streams import BASE_RATE, FASTEST

PREFIX = {"kinesis": "Kinesis_20131202", "dynamodb": "DynamoDBStreams_20120810"}
LIMIT = {"kinesis": 10_000, "dynamodb": 1_000}


@dataclass(slots=True)
class Shard:
    """A shard and its next read: an iterator and a time."""

    shard_id: str
    iterator: str
    due_at: float = 0.0


def main(options: argparse.Namespace) -> None:
    is_kinesis = options.kind == "kinesis"
    prefix = PREFIX[options.kind]
    stream = Blocking(f"{options.endpoint}/", service=options.kind)
    path = f"/2015-03-31/functions/{options.function}/invocations"
    function = Blocking(f"{options.endpoint}{path}", service="lambda")
    shards = found_shards(stream, prefix, options.arn, is_kinesis=is_kinesis)
    while True:
        shard = min(shards, key=lambda each: each.due_at)
        began = time.monotonic()
        if began < shard.due_at:
            time.sleep(shard.due_at - began)
            began = time.monotonic()
        request = {"ShardIterator": shard.iterator, "Limit": LIMIT[options.kind]}
        answer = stream.call(prefix, "GetRecords", request)
        records = answer["Records"]
        if options.filter:
            records = [each for each in records if is_wanted(each, is_kinesis=is_kinesis)]
        for start in range(0, len(records), options.batch_size):
            batch = records[start : start + options.batch_size]
            event = {
                "Records": [event_record(each, shard.shard_id, options.arn, is_kinesis=is_kinesis) for each in batch]
            }
            function.post({"content-type": "application/json"}, orjson.dumps(event))
        shard.iterator = answer["NextShardIterator"]
        is_behind = answer["MillisBehindLatest"] if is_kinesis else answer["Records"]
        shard.due_at = began + (FASTEST if is_behind else BASE_RATE)[options.kind]


def found_shards(stream: Blocking, prefix: str, arn: str, *, is_kinesis: bool) -> list[Shard]:
    name = "StreamARN" if is_kinesis else "StreamArn"
    request = {name: arn}
    if is_kinesis:
        ids = [shard["ShardId"] for shard in stream.call(prefix, "ListShards", request)["Shards"]]
    else:
        description = stream.call(prefix, "DescribeStream", request)["StreamDescription"]
        ids = [shard["ShardId"] for shard in description["Shards"]]
    start = {name: arn, "ShardIteratorType": "TRIM_HORIZON"}
    return [
        Shard(each, stream.call(prefix, "GetShardIterator", start | {"ShardId": each})["ShardIterator"]) for each in ids
    ]


def event_record(record: dict[str, Any], shard_id: str, arn: str, *, is_kinesis: bool) -> dict[str, Any]:
    if not is_kinesis:
        return record | {"eventSourceARN": arn}
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": record["SequenceNumber"],
            "data": record["Data"],
            "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"],
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard_id}:{record['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::000000000000:role/reader",
        "awsRegion": "us-east-1",
        "eventSourceARN": arn,
    }


def is_wanted(record: dict[str, Any], *, is_kinesis: bool) -> bool:
    if is_kinesis:
        return bool(orjson.loads(b64decode(record["Data"]))["kind"] == "click")
    return bool(record["dynamodb"]["NewImage"]["state"] == {"S": "open"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=["dynamodb", "kinesis"], required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--arn", required=True)
    parser.add_argument("--function", default="f")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--filter", action="store_true", help="only records whose data are of the wanted kind")
    main(parser.parse_args())
