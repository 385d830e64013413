"""Until when does SQS hide a message in hand, and when should SQS show it again?

A message is in hand from its receive until it is deleted, or until SQS is left to show it again.
Two modules change these times: `engine/queues/visibility.py`, which keeps messages hidden, and `delivery.py`, which
decides when a message returns.
"""

from __future__ import annotations

from typing import NamedTuple

from poller.core.queues.visibility import LONGEST_IN_SECONDS
from poller.model.ids import MessageGroupId
from poller.model.message import Message


class Receive(NamedTuple):
    """The times of one receive, on anyio's clock. SQS hid its messages between `asked_at` and `answered_at`.

    SQS hides them for `timeout_in_seconds`. The queue's own visibility timeout may be shorter.
    """

    asked_at: float
    answered_at: float
    timeout_in_seconds: int
    queue_timeout_in_seconds: int


class MessageInHand:
    """A message and its encoded record, with times on anyio's clock.

    The message is surely hidden until `visible_until`.
    `longest_until` is the end of the twelve hours for which SQS can hide it.
    `returns_at` is when it should be shown again if it fails. `returns_by_itself` is true if SQS shows it then anyway,
    without a call.
    `is_lost` is true if SQS may have shown it to another receiver.
    `calls_to_hide` counts the calls to hide it again that are in flight or stand in line.
    `is_left` is true once it is deleted or left to SQS. A call to hide it that still stands in line is then not made.
    """

    __slots__ = (
        "calls_to_hide",
        "encoded",
        "is_left",
        "is_lost",
        "longest_until",
        "message",
        "returns_at",
        "returns_by_itself",
        "visible_until",
    )

    def __init__(self, message: Message, encoded: bytes, receive: Receive) -> None:
        asked_at, answered_at, timeout, queue_timeout = receive
        self.message = message
        self.encoded = encoded
        self.visible_until = asked_at + timeout
        self.longest_until = asked_at + LONGEST_IN_SECONDS
        self.returns_at = answered_at + queue_timeout
        self.returns_by_itself = timeout == queue_timeout
        self.is_lost = False
        self.calls_to_hide = 0
        self.is_left = False

    @property
    def group(self) -> MessageGroupId | None:
        return self.message.message_group_id

    def return_at(self, moment: float) -> None:
        """Let SQS show the message again at this time, not at the end of the queue's own visibility timeout."""
        self.returns_at = moment
        self.returns_by_itself = False

    def may_be_visible(self, now: float) -> bool:
        """Return whether SQS may have shown the message to another receiver. It must then not be invoked here."""
        return self.is_lost or self.visible_until <= now
