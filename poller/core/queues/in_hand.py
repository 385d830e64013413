"""What is known of a message in hand? Until when the queue hides it, and when the queue is to show it again.

A message is in hand from its receive until it is deleted or left to the queue.
Two owners write here: who keeps it hidden (`engine/queues/visibility.py`), and who decides what becomes of it
(`delivery.py`).
"""

from __future__ import annotations

from typing import NamedTuple

from poller.core.queues.visibility import LONGEST_IN_SECONDS
from poller.model.ids import MessageGroupId
from poller.model.message import Message


class Receive(NamedTuple):
    """When a receive was sent and answered, on anyio's clock: SQS hid its messages at some time between.

    It hides them for `timeout_in_seconds`; the queue's own visibility timeout may be shorter.
    """

    asked_at: float
    answered_at: float
    timeout_in_seconds: int
    queue_timeout_in_seconds: int


class MessageInHand:
    """A message, its encoded record, and until when it is sure to be hidden (on anyio's clock).

    `longest_until` is when SQS shows it again at the latest, `returns_at` when it should be shown if it fails.
    `returns_by_itself` says that SQS shows it at that time anyway, so that no call is needed.
    """

    __slots__ = (
        "encoded",
        "is_asked_for",
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
        self.is_asked_for = False  # a call to hide it again is on its way

    @property
    def group(self) -> MessageGroupId | None:
        return self.message.message_group_id

    def return_at(self, moment: float) -> None:
        """Show it again at this time, not when the queue's own visibility timeout is over."""
        self.returns_at = moment
        self.returns_by_itself = False

    def may_be_visible(self, now: float) -> bool:
        """Whether the queue may have shown it to others, so that it must not be invoked here."""
        return self.is_lost or self.visible_until <= now
