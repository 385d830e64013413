"""Names and handles, each a type of its own: to mix them up is this field's classic bug."""

from __future__ import annotations

from typing import NewType

MappingName = NewType("MappingName", str)
"""The key of a `[mappings.*]` table."""

FunctionName = NewType("FunctionName", str)
"""The key of a `[functions.*]` table, or the Lambda name or ARN a mapping gave in its place."""

MessageId = NewType("MessageId", str)
"""SQS's id of a message: the same at every receive."""

ReceiptHandle = NewType("ReceiptHandle", str)
"""The right to delete or extend a message; a new one at every receive, and only the newest is good."""

MessageGroupId = NewType("MessageGroupId", str)
"""An ordered sub-sequence of a FIFO queue."""

RequestId = NewType("RequestId", str)
"""Names one invocation to the function; a retry of the unchanged batch keeps it."""
