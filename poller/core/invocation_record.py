"""What does a destination receive about a discarded batch?

It receives one JSON document for each discarded batch: the invocation record.
The document says where the records are in the stream, but does not contain them.
SQS and SNS destinations get this document. An S3 object also has the invocation's event, as a JSON string in `payload`.

    responseContext     absent if the function did not get the event, or if the records became too old
    functionError       "Unhandled" if the function failed; null if its answer named the failed records
    arrival times       with milliseconds for Kinesis, without milliseconds for DynamoDB
    timeWindowInfo      only for mappings with tumbling windows
    no records          (a window's last invocation failed) the document names only the shard and the stream

Sources: AWS Lambda Developer Guide, "Retaining discarded batch records for a Kinesis Data Streams event source in
Lambda" and the page of the same name for DynamoDB. The absent fields were seen on AWS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from poller.core.document import Document
from poller.core.envelope import iso_milliseconds, iso_seconds
from poller.core.streams.retry import Condition, Deliverable
from poller.model.arn import Arn
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
    """A discarded batch and its last invocation. `function_arn` and `stream_arn` are the ARNs in the settings.

    `invoke_count` is the number of invocations that the document states, at least 1. `response` is the last response;
    it is None if there was no invocation, or if the records became too old.
    `at` is the time of the discard in epoch seconds. `mapping_uuid` is a part of the keys of S3 objects.
    """

    request_id: RequestId
    function_arn: str
    condition: Condition
    invoke_count: int
    response: Response | None
    at: float
    mapping_uuid: str
    shard_id: ShardId
    stream_arn: Arn
    records: Sequence[Deliverable]
    window_call: WindowCall | None = None

    @property
    def is_kinesis(self) -> bool:
        return self.stream_arn.service == "kinesis"


def document_of(batch: DiscardedBatch, *, event: bytes, document_id: UUID) -> Document:
    return Document(
        text=orjson.dumps(_fields(batch)),
        event=event,
        folder=f"aws/lambda/{batch.mapping_uuid}/{batch.shard_id}",
        at=batch.at,
        document_id=document_id,
    )


def _fields(batch: DiscardedBatch) -> dict[str, Any]:
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
    document["timestamp"] = iso_milliseconds(batch.at)
    document["KinesisBatchInfo" if batch.is_kinesis else "DDBStreamBatchInfo"] = _batch_info(batch)
    if batch.window_call is not None:
        document["timeWindowInfo"] = _window_info(batch.window_call)
    return document


def _response_context(response: Response) -> dict[str, Any]:
    """Return the `responseContext` member, or nothing if the event was too large and did not reach the function."""
    if isinstance(response, TooLarge):
        return {}
    version = response.executed_version if isinstance(response, Answered | FunctionError) else "$LATEST"
    error = None if isinstance(response, Answered) else "Unhandled"
    return {"responseContext": {"statusCode": 200, "executedVersion": version, "functionError": error}}


def _batch_info(batch: DiscardedBatch) -> dict[str, Any]:
    if not batch.records:
        return {"shardId": batch.shard_id, "streamArn": str(batch.stream_arn)}
    first, last = batch.records[0], batch.records[-1]
    iso = iso_milliseconds if batch.is_kinesis else iso_seconds
    return {
        "shardId": batch.shard_id,
        "startSequenceNumber": first.sequence_number,
        "endSequenceNumber": last.sequence_number,
        "approximateArrivalOfFirstRecord": iso(first.arrived_at),
        "approximateArrivalOfLastRecord": iso(last.arrived_at),
        "batchSize": len(batch.records),
        "streamArn": str(batch.stream_arn),
    }


def _window_info(call: WindowCall) -> dict[str, Any]:
    return {
        "window": {"start": iso_seconds(call.window.start), "end": iso_seconds(call.window.end)},
        "isFinalInvokeForWindow": call.is_final,
        "isWindowTerminatedEarly": call.is_terminated_early,
    }
