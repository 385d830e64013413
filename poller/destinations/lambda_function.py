"""How is a document sent to a Lambda function? As the event of an asynchronous invocation, together with its trace.

Source: AWS Lambda API Reference, "Invoke".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from poller.aws.wire import Answer
from poller.core.document import Document
from poller.destinations.messages import check_size
from poller.errors import DocumentTooLarge
from poller.model.event import MAXIMUM_PAYLOAD_BYTES


class Invoker(Protocol):
    """The client of one function (`aws/invoker.py`). It raises Unreachable if no answer comes."""

    async def invoke(self, payload: bytes, headers: Mapping[str, str]) -> Answer: ...


class LambdaDestination:
    """Sends invocation records to a function of AWS Lambda, as `ports.Destination`. `invoker` calls this function."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker

    async def deliver(self, document: Document) -> None:
        """Invoke the function asynchronously with the document.

        If it is delivered twice, the function gets two events.
        """
        check_size(len(document.text), limit_in_bytes=MAXIMUM_PAYLOAD_BYTES)
        headers = {"content-type": "application/json", "x-amz-invocation-type": "Event"}
        if document.trace:
            headers["x-amzn-trace-id"] = document.trace
        answer = await self._invoker.invoke(document.text, headers)
        if 200 <= answer.status < 300:
            return
        error = answer.error()
        raise DocumentTooLarge(str(error), code=error.code) if answer.status == 413 else error
