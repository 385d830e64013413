"""What is in hand? Messages received and not yet deleted or left to the queue, in the batch they travel in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from poller.core.queues.ordering import groups_of, without_gaps
from poller.core.queues.visibility import LONGEST_IN_SECONDS
from poller.model.ids import MessageGroupId
from poller.model.message import Message

Phase = Literal["gathering", "waiting", "running", "done"]


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

    def return_at(self, moment: float) -> None:
        """Show it again at this time, not when the queue's own visibility timeout is over."""
        self.returns_at = moment
        self.returns_by_itself = False


class BatchInHand:
    """Messages that are delivered together.

    gathering   the batch is being formed
    waiting     it waits for its function
    running     its function has it; if cancelled now, nobody knows what the function did
    done        what is left in it has succeeded and is to be deleted

    `filtered_out` are messages of the same receives that the filter kept out and that are not deleted yet.
    `undone` are the messages that failed or were not invoked, and are to be shown again.
    `running_until` is when the timeout of its running function ends.
    """

    __slots__ = ("filtered_out", "messages", "phase", "running_until", "undone")

    def __init__(self) -> None:
        self.messages: list[MessageInHand] = []
        self.filtered_out: list[MessageInHand] = []
        self.undone: list[MessageInHand] = []
        self.running_until = 0.0
        self.phase: Phase = "gathering"

    @property
    def groups(self) -> frozenset[MessageGroupId]:
        return groups_of(held.message.message_group_id for held in self.messages)

    def everything(self) -> Iterator[MessageInHand]:
        """The messages that must stay hidden."""
        yield from self.messages
        yield from self.filtered_out
        if self.phase != "done":  # what follows in the groups of the messages
            yield from (held for held in self.undone if held.message.message_group_id is not None)

    def cut(self) -> BatchInHand:
        """Cut it in two: the first half of the messages stays, and the second half is the batch returned."""
        middle = len(self.messages) // 2
        later = BatchInHand()
        self.messages, later.messages = self.messages[:middle], self.messages[middle:]
        return later

    def live(self, now: float) -> list[MessageInHand]:
        """The messages that may still be invoked, in order."""
        return without_gaps(
            self.messages, is_lost=lambda held: held.is_lost or held.visible_until <= now, group_of=_group_of
        )


def _group_of(held: MessageInHand) -> MessageGroupId | None:
    return held.message.message_group_id
