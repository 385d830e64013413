"""What is in hand? Messages received and not yet deleted or left to the queue, in the batch they travel in."""

from __future__ import annotations

from typing import Literal

from poller.core.ordering import groups_of, without_gaps
from poller.model.ids import MessageGroupId
from poller.model.message import Message

Phase = Literal["gathering", "waiting", "running", "done"]


class MessageInHand:
    """A message, its encoded record, and how long it is hidden (on anyio's clock)."""

    __slots__ = ("encoded", "is_lost", "message", "visible_until")

    def __init__(self, message: Message, encoded: bytes, visible_until: float) -> None:
        self.message = message
        self.encoded = encoded
        self.visible_until = visible_until
        self.is_lost = False


class BatchInHand:
    """Messages on their way together.

    gathering   the batch is being formed
    waiting     it waits for its function
    running     its function has it; cut here, nobody knows what the function did
    done        what is left in it has succeeded and is to be deleted
    """

    __slots__ = ("messages", "phase")

    def __init__(self) -> None:
        self.messages: list[MessageInHand] = []
        self.phase: Phase = "gathering"

    def live(self, now: float) -> list[MessageInHand]:
        """The messages that may still be invoked, in order."""
        return without_gaps(
            self.messages, is_lost=lambda held: held.is_lost or held.visible_until <= now, group_of=_group_of
        )

    @property
    def groups(self) -> frozenset[MessageGroupId]:
        return groups_of(held.message.message_group_id for held in self.messages)


def _group_of(held: MessageInHand) -> MessageGroupId | None:
    return held.message.message_group_id
