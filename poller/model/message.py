"""What is a message? One SQS message as received once: its place in the queue, and its record in the event's shape."""

from __future__ import annotations

from typing import Any, NamedTuple

from poller.model.ids import MessageGroupId, MessageId, ReceiptHandle


class Message(NamedTuple):
    """A received message. A NamedTuple rather than a dataclass because one is made for every message: it costs a third.

    `record` is the record as the function will see it (`core/envelope.py`); nobody changes it after it was made.
    `sent_at` is when the producer sent it, in epoch seconds; if the queue does not tell, when it was received.
    `message_group_id` is None on a standard queue.
    `defect` is None, or why no event can be made of the message.  A defective message has no record, and an empty
    `receipt_handle` if it came without one.
    """

    message_id: MessageId
    receipt_handle: ReceiptHandle
    message_group_id: MessageGroupId | None
    sent_at: float
    record: dict[str, Any]
    defect: str | None = None


class RejectedEntry(NamedTuple):
    """One message that a batch call (delete, extend) did not carry out.

    `is_final` is true when trying again cannot help: the receipt has expired or is not known.
    """

    message: Message
    code: str
    is_final: bool


class QueueAttributes(NamedTuple):
    """What a mapping needs to know of its queue."""

    visibility_timeout_in_seconds: int
