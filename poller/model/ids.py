"""Which types have names and ids? Each kind has its own type, so that a type checker finds an id in a wrong place."""

from __future__ import annotations

from typing import NewType

MappingName = NewType("MappingName", str)
"""The key of a `[mappings.*]` table."""

FunctionName = NewType("FunctionName", str)
"""The key of a `[functions.*]` table, or the Lambda name or ARN that a mapping names instead of such a table."""

MessageId = NewType("MessageId", str)
"""SQS's id of a message. It is the same at every receive."""

ReceiptHandle = NewType("ReceiptHandle", str)
"""SQS's handle to delete or hide a received message. Every receive gives a new one, and only the newest is valid."""

MessageGroupId = NewType("MessageGroupId", str)
"""An ordered sub-sequence of a FIFO queue."""

RequestId = NewType("RequestId", str)
"""The id of an invocation, which the function sees. A retry of the unchanged batch has the same id."""
