"""Which fake replaces a destination? A list of the accepted documents, in order. Requests and answers may get lost.

    deliver ──(faults, latency)──> taken ──(faults, latency)──> return

It waits on anyio's clock, and has the timeouts of the real adapters. A delivery that is cancelled or whose answer is
lost has an effect. A request that is lost before it arrives has no effect.
"""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple

import anyio
import orjson

from poller.core.document import Document
from poller.destinations.client import DELIVERY_TIMEOUT_IN_SECONDS
from poller.errors import DocumentTooLarge, Unreachable
from tests.fakes.faults import FaultPlan


class Report(NamedTuple):
    """The content of an invocation record of a discarded batch. `at` is in epoch seconds."""

    request_id: str
    condition: str
    invoke_count: int
    response_context: dict[str, Any] | None
    shard_id: str
    window: dict[str, Any] | None
    at: float
    batch_info: dict[str, Any]
    event: dict[str, Any]

    @property
    def numbers(self) -> list[str]:
        """Return the sequence numbers of the event's records. They must be the same as in the document."""
        numbers = [_number_of(record) for record in self.event["Records"]]
        assert self.batch_info.get("batchSize", 0) == len(numbers)
        ends = [self.batch_info[key] for key in ("startSequenceNumber", "endSequenceNumber") if key in self.batch_info]
        assert ends == ([numbers[0], numbers[-1]] if numbers else [])
        return numbers

    @classmethod
    def of(cls, document: Document) -> Report:
        content = orjson.loads(document.text)
        context = content["requestContext"]
        assert document.event is not None, "the document of a batch has the batch's event"
        info = content.get("KinesisBatchInfo") or content["DDBStreamBatchInfo"]
        return cls(
            context["requestId"],
            context["condition"],
            context["approximateInvokeCount"],
            content.get("responseContext"),
            info["shardId"],
            content.get("timeWindowInfo"),
            document.at,
            info,
            orjson.loads(document.event),
        )


def _number_of(record: dict[str, Any]) -> str:
    number: str = record["kinesis"]["sequenceNumber"] if "kinesis" in record else record["dynamodb"]["SequenceNumber"]
    return number


class FakeDestination:
    """`ports.Destination`. `taken` has each document as often as it was delivered.

    The fault plan's operation is `deliver`.

    `taken_at` has the time of each delivery, on anyio's clock. `answered` has the documents whose delivery the client
    knows.
    """

    def __init__(self, *, faults: FaultPlan | None = None, limit_in_bytes: float = inf) -> None:
        self.faults = faults or FaultPlan()
        self.limit_in_bytes = limit_in_bytes
        self.taken: list[Document] = []
        self.taken_at: list[float] = []
        self.answered: list[Document] = []

    @property
    def reports(self) -> list[Report]:
        """Return the content of each delivered document."""
        return [Report.of(document) for document in self.taken]

    async def deliver(self, document: Document) -> None:
        if len(document.text) > self.limit_in_bytes:
            raise DocumentTooLarge("the document is too large", code="DocumentTooLarge")
        fault = self.faults.draw("deliver", anyio.current_time())
        with anyio.move_on_after(DELIVERY_TIMEOUT_IN_SECONDS):
            await self.faults.way_there(fault)
            self.taken.append(document)
            self.taken_at.append(anyio.current_time())
            await self.faults.way_back(fault)
            self.answered.append(document)
            return
        raise Unreachable("no answer in time", code="Timeout", was_sent=True)
