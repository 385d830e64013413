"""What is in hand? Messages received and not yet deleted or left to the queue, in the batch they travel in."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal

from poller.core.ordering import groups_of, without_gaps
from poller.core.visibility import LONGEST_IN_SECONDS
from poller.model.ids import MessageGroupId
from poller.model.message import Message

Phase = Literal["gathering", "waiting", "running", "done"]


class MessageInHand:
    """A message, its encoded record, and until when it is sure to be hidden (on anyio's clock).

    `longest_until` is when SQS shows it again whatever we do.
    """

    __slots__ = ("encoded", "is_asked_for", "is_lost", "longest_until", "message", "visible_until")

    def __init__(self, message: Message, encoded: bytes, *, asked_at: float, timeout_in_seconds: int) -> None:
        self.message = message
        self.encoded = encoded
        self.visible_until = asked_at + timeout_in_seconds
        self.longest_until = asked_at + LONGEST_IN_SECONDS
        self.is_lost = False
        self.is_asked_for = False  # a call to hide it again is on its way


class BatchInHand:
    """Messages on their way together.

    gathering   the batch is being formed
    waiting     it waits for its function
    running     its function has it; cut here, nobody knows what the function did
    done        what is left in it has succeeded and is to be deleted

    `filtered_out` is what came with it, is not for the function, and could not be deleted yet.
    """

    __slots__ = ("filtered_out", "messages", "phase")

    def __init__(self) -> None:
        self.messages: list[MessageInHand] = []
        self.filtered_out: list[MessageInHand] = []
        self.phase: Phase = "gathering"

    @property
    def groups(self) -> frozenset[MessageGroupId]:
        return groups_of(held.message.message_group_id for held in self.messages)

    def everything(self) -> Iterator[MessageInHand]:
        yield from self.messages
        yield from self.filtered_out

    def leave_out(self, groups: Collection[MessageGroupId]) -> None:
        """Leave the messages of these groups to the queue."""
        if groups:
            self.messages = [held for held in self.messages if held.message.message_group_id not in groups]

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
