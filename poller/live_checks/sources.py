"""Are the sources of mappings there, can they be read, and do they suit their functions?

a queue     GetQueueAttributes; its visibility timeout and its redrive policy; the permissions that SQS tells
            (queue_access.py)
a stream    a listing of its shards, and a read at the end of one shard, which takes nothing from another reader
"""

from __future__ import annotations

from functools import partial

from poller.aws.clients import Aws
from poller.aws.json_client import JsonClient
from poller.core.finding import Finding
from poller.core.queues.attributes import redrive_finding, visibility_finding
from poller.core.streams.stream_end import why_nothing_comes
from poller.errors import PollerError
from poller.live_checks.queue_access import READABLE, queue_access
from poller.live_checks.rows import Row, asked, attributes_of, failure
from poller.model.arn import queue_url, stream_arn
from poller.model.function import Function
from poller.model.mapping import QueueMapping, StreamMapping
from poller.sources.answers import token, understood


async def queue(mapping: QueueMapping, function: Function, aws: Aws) -> list[Row]:
    arn = mapping.event_source_arn
    row = partial(Row, f"mappings.{mapping.name}.event_source_arn", str(arn))
    try:
        client = await aws.json_client("sqs", region=mapping.region, role_arn=mapping.role_arn)
        attributes = await attributes_of(client, queue_url(client.endpoint_url, arn))
    except PollerError as error:
        return [row("GetQueueAttributes", failure(error))]
    visibility = visibility_finding(
        attributes,
        window_in_seconds=mapping.maximum_batching_window_in_seconds,
        function_timeout_in_seconds=function.timeout_in_seconds,
        is_fifo=mapping.is_fifo,
    )
    return [
        row("GetQueueAttributes", READABLE),
        *await queue_access(client, queue_url(client.endpoint_url, arn), row),
        row("VisibilityTimeout", visibility),
        row("RedrivePolicy", redrive_finding(attributes)),
    ]


async def stream(mapping: StreamMapping, aws: Aws) -> list[Row]:
    row = partial(Row, f"mappings.{mapping.name}.event_source_arn", str(mapping.event_source_arn))
    service, operation = ("kinesis", "ListShards") if mapping.is_kinesis else ("dynamodbstreams", "DescribeStream")
    name = {"StreamARN" if mapping.is_kinesis else "StreamArn": stream_arn(mapping.event_source_arn)}
    try:
        client = await aws.json_client(service, region=mapping.region, role_arn=mapping.role_arn)
        answer = await asked(client, operation, name | {"MaxResults" if mapping.is_kinesis else "Limit": 1})
        with understood(service, "description of a stream"):
            description = answer if mapping.is_kinesis else answer["StreamDescription"]
            status = description.get("StreamStatus")
            shard_ids = [token(shard["ShardId"]) for shard in description.get("Shards") or ()]
    except PollerError as error:
        return [row(operation, failure(error))]
    reason = why_nothing_comes(mapping.event_source_arn, status, is_drained=False)
    found = Finding("exists, and its shards can be listed") if reason is None else Finding(reason, is_advice=True)
    reads = [row("GetRecords", await _read(client, service, name, shard_id)) for shard_id in shard_ids[:1]]
    return [row(operation, found), *reads]


async def _read(client: JsonClient, service: str, name: dict[str, str], shard_id: str) -> Finding:
    """Read the end of the shard, where a read takes no record. A closed shard has an end, too."""
    where = {"ShardId": shard_id, "ShardIteratorType": "LATEST"}
    try:
        answer = await asked(client, "GetShardIterator", name | where)
        with understood(service, "iterator"):
            iterator = token(answer["ShardIterator"])
        await asked(client, "GetRecords", {"ShardIterator": iterator, "Limit": 1})
    except PollerError as error:
        return failure(error)
    return Finding("can be read")
