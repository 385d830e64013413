"""What does the destination receive?

One JSON document for each discarded batch: where to find its records, not the records.
A queue or topic gets the document; an S3 object has the invocation's event besides, as text within the JSON.

    responseContext     left out when the function was never asked, and when the records became too old
    functionError       "Unhandled" when the function failed; null when its answer named the failed records
    arrival times       with milliseconds for Kinesis, without for DynamoDB
    timeWindowInfo      of mappings with tumbling windows only
    no records          (a window's last invocation failed) only the shard and the stream are named

Sources: AWS Lambda Developer Guide, "Retaining discarded batch records for a Kinesis Data Streams event source in
Lambda" and its DynamoDB counterpart; the omissions were seen on AWS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from poller.core.envelope import iso_seconds
from poller.core.streams.retry import Condition, Deliverable
from poller.model.ids import RequestId
from poller.model.invocation import Answered, FunctionError, Response, TooLarge
from poller.model.stream import ShardId, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCall:
    """The tumbling window that a discarded invocation belonged to."""

    window: Window
    is_final: bool
    is_terminated_early: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardedBatch:
    """What is reported. `function_arn` and `stream_arn` are the configured ones, verbatim; `at` is epoch seconds."""

    request_id: RequestId
    function_arn: str
    condition: Condition
    invoke_count: int
    response: Response | None
    at: float
    is_kinesis: bool
    shard_id: ShardId
    stream_arn: str
    records: Sequence[Deliverable]
    window_call: WindowCall | None = None


class InvocationRecord(NamedTuple):
    """A discarded batch on its way to a destination; each kind of destination takes what it needs of it.

    `event` is the invocation's, whether or not it ever took place.
    `record_id` stays the same at every try to deliver, so that repeating one does no harm where that can be helped.
    """

    batch: DiscardedBatch
    event: bytes
    record_id: UUID


def failure_record(batch: DiscardedBatch) -> bytes:
    """The body of the SQS message, and the text of the SNS message."""
    return orjson.dumps(_document(batch))


def s3_object(batch: DiscardedBatch, *, event: bytes) -> bytes:
    """The S3 object. `event` is the invocation's, whether or not it ever took place."""
    return orjson.dumps({**_document(batch), "payload": event.decode()})


def s3_key(batch: DiscardedBatch, *, mapping_uuid: str, random: UUID) -> str:
    """Where the S3 object goes."""
    moment = datetime.fromtimestamp(batch.at, UTC)
    return f"aws/lambda/{mapping_uuid}/{batch.shard_id}/{moment:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{random}"


def _document(batch: DiscardedBatch) -> dict[str, Any]:
    document: dict[str, Any] = {
        "requestContext": {
            "requestId": batch.request_id,
            "functionArn": batch.function_arn,
            "condition": batch.condition,
            "approximateInvokeCount": batch.invoke_count,
        }
    }
    if batch.response is not None and batch.condition != "RecordAgeExceeded":
        document |= _response_context(batch.response)
    document["version"] = "1.0"
    document["timestamp"] = _iso_milliseconds(batch.at)
    document["KinesisBatchInfo" if batch.is_kinesis else "DDBStreamBatchInfo"] = _batch_info(batch)
    if batch.window_call is not None:
        document["timeWindowInfo"] = _window_info(batch.window_call)
    return document


def _response_context(response: Response) -> dict[str, Any]:
    """Nothing where the event never came to the function."""
    if isinstance(response, TooLarge):
        return {}
    version = response.executed_version if isinstance(response, Answered | FunctionError) else "$LATEST"
    error = None if isinstance(response, Answered) else "Unhandled"
    return {"responseContext": {"statusCode": 200, "executedVersion": version, "functionError": error}}


def _batch_info(batch: DiscardedBatch) -> dict[str, Any]:
    if not batch.records:
        return {"shardId": batch.shard_id, "streamArn": batch.stream_arn}
    first, last = batch.records[0], batch.records[-1]
    iso = _iso_milliseconds if batch.is_kinesis else iso_seconds
    return {
        "shardId": batch.shard_id,
        "startSequenceNumber": first.sequence_number,
        "endSequenceNumber": last.sequence_number,
        "approximateArrivalOfFirstRecord": iso(first.arrived_at),
        "approximateArrivalOfLastRecord": iso(last.arrived_at),
        "batchSize": len(batch.records),
        "streamArn": batch.stream_arn,
    }


def _window_info(call: WindowCall) -> dict[str, Any]:
    return {
        "window": {"start": iso_seconds(call.window.start), "end": iso_seconds(call.window.end)},
        "isFinalInvokeForWindow": call.is_final,
        "isWindowTerminatedEarly": call.is_terminated_early,
    }


def _iso_milliseconds(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
