"""Which attempt id does a receive from a FIFO queue carry?

If the answer to a receive is lost, the queue hides messages that no consumer has seen, and their message groups are
blocked until the visibility timeout ends.
To avoid this on a FIFO queue, the next receive has the same ReceiveRequestAttemptId, and returns the same messages.

    begin ──> received                    the id is not used again
        └──> lost (no answer, cancelled)  the next receive that asks for at least as many messages uses the id again

AWS accepts the same id for five minutes, unless one of its messages was deleted or its visibility was changed. The
mapping does not know the messages of a lost receive, so it cannot change them.
If the lost receive took no message, the next receive is an ordinary one.
The runs of a mapping share their attempts: a reload cancels the receives of one run, and the next run repeats them.

Source: Amazon SQS API Reference, "ReceiveMessage", ReceiveRequestAttemptId.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import uuid4

REPEATABLE_FOR_SECONDS = 300.0 - 30.0
"""AWS accepts an attempt id for five minutes. The request and its long poll may take half a minute of this time."""

MAXIMUM_LOST_ATTEMPTS = 100
"""How many lost attempts are remembered. An ordinary mapping has fewer polls of its queue at one time."""


class Attempt(NamedTuple):
    """One logical receive of up to `asked` messages; `began_at` is on anyio's clock, in seconds."""

    attempt_id: str
    asked: int
    began_at: float


class ReceiveAttempts:
    """The attempts to receive from one queue whose answers were lost.

    All polls of the queue share this object, but no two polls use the same attempt.
    """

    def __init__(self) -> None:
        self._prefix = uuid4().hex
        self._begun = 0
        self._lost: list[Attempt] = []

    def begin(self, count: int, *, now: float) -> Attempt:
        """Return a lost attempt that a receive of `count` messages may repeat, or a new attempt.

        The lost attempt is forgotten, so no other receive gets it. `now` is on anyio's clock, in seconds.
        """
        self._lost = [attempt for attempt in self._lost if now - attempt.began_at < REPEATABLE_FOR_SECONDS]
        for index, attempt in enumerate(self._lost):
            if attempt.asked <= count:
                return self._lost.pop(index)
        self._begun += 1
        return Attempt(f"{self._prefix}-{self._begun}", count, now)

    def lost(self, attempt: Attempt) -> None:
        """Keep an attempt whose answer was lost, so that a later receive gets the same messages by the attempt's id.

        That receive must ask for at least as many messages as this attempt.
        """
        self._lost = [*self._lost, attempt][-MAXIMUM_LOST_ATTEMPTS:]
