"""What is a message? One received SQS message: its ids, and its record in the shape that the function sees."""

from __future__ import annotations

from typing import Any, NamedTuple

from poller.model.ids import MessageGroupId, MessageId, ReceiptHandle


class Message(NamedTuple):
    """A received message. It is a NamedTuple because creating one takes a third of a dataclass's time.

    `record` is the record as the function will see it (`core/envelope.py`). It never changes.
    `sent_at` is when the producer sent the message, in epoch seconds. If SQS does not say it, this is the time of the
    receive. `message_group_id` is None on a standard queue. `defect` says why no record can be made of the message, or
    is None. A defective message has an empty record, and an empty `receipt_handle` if it came without one.
    """

    message_id: MessageId
    receipt_handle: ReceiptHandle
    message_group_id: MessageGroupId | None
    sent_at: float
    record: dict[str, Any]
    defect: str | None = None


class RejectedEntry(NamedTuple):
    """A message that SQS did not delete, or whose visibility SQS did not change. `code` is SQS's error code.

    `is_final` is true if a second try cannot succeed, because the receipt handle has expired or is unknown.
    """

    message: Message
    code: str
    is_final: bool


class QueueAttributes(NamedTuple):
    """The attributes of a queue that its mapping uses."""

    visibility_timeout_in_seconds: int
