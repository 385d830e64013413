"""Until when does SQS hide a message in hand, and when should the message become visible again?

A message is in hand from its receive until it is deleted, or until nothing keeps it hidden any more.
Two modules change these times: `engine/queues/visibility.py` keeps messages hidden, and `delivery.py` decides when a
message becomes visible.
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

    The message is certainly hidden until `hidden_until`.
    `longest_until` is the end of the twelve hours for which SQS can hide a message.
    `returns_at` is the time at which the message becomes visible if it fails. `returns_by_itself` is true if this needs
    no call to SQS.
    `is_lost` is true if the message may have been visible, so that another receiver may have it.
    `calls_to_hide` counts the calls to keep the message hidden that run or will soon run.
    `is_left` is true once the message is deleted, or must not be kept hidden any more. Then no further call hides it.
    """

    __slots__ = (
        "calls_to_hide",
        "encoded",
        "hidden_until",
        "is_left",
        "is_lost",
        "longest_until",
        "message",
        "returns_at",
        "returns_by_itself",
    )

    def __init__(self, message: Message, encoded: bytes, receive: Receive) -> None:
        asked_at, answered_at, timeout, queue_timeout = receive
        self.message = message
        self.encoded = encoded
        self.hidden_until = asked_at + timeout
        self.longest_until = asked_at + LONGEST_IN_SECONDS
        self.returns_at = answered_at + queue_timeout
        self.returns_by_itself = timeout == queue_timeout
        self.is_lost = False
        self.calls_to_hide = 0
        self.is_left = False

    @property
    def group(self) -> MessageGroupId | None:
        return self.message.message_group_id

    @property
    def asked_at(self) -> float:
        """Return when the receive of the message began."""
        return self.longest_until - LONGEST_IN_SECONDS

    @property
    def receive_count(self) -> int:
        """Return how often SQS has delivered the message, this receive included; 1 if SQS does not say."""
        count = self.message.record.get("attributes", {}).get("ApproximateReceiveCount", "")
        return max(1, int(count)) if count.isascii() and count.isdecimal() and len(count) < 10 else 1

    def return_at(self, moment: float) -> None:
        """Make the message visible at this time, and not at the end of the queue's own visibility timeout."""
        self.returns_at = moment
        self.returns_by_itself = False

    def may_be_visible(self, now: float) -> bool:
        """Return whether another receiver may have the message.

        If so, the function must not get it from this mapping.
        """
        return self.is_lost or self.hidden_until <= now
