"""Which attempt id does a receive from a FIFO queue carry?

If the answer to a receive is lost, the queue hides messages that no consumer has seen, and their message groups are
blocked until the visibility timeout ends.
To avoid this on a FIFO queue, the next receive has the same ReceiveRequestAttemptId, and returns the same messages.

    begin ──> received                    the id is not used again
        └──> lost (no answer, cancelled)  the next receive that asks for at least as many messages uses the id again

AWS accepts the same id for five minutes, unless one of its messages was deleted or its visibility was changed. The
mapping does not know the messages of a lost receive, so it cannot change them.
If the lost receive took no message, the next receive is an ordinary one.
All runs of all mappings share one `ReceiveAttempts`: a reload cancels the receives of one run, and the next run repeats
them, even if nobody read the queue in between.

Source: Amazon SQS API Reference, "ReceiveMessage", ReceiveRequestAttemptId.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import uuid4

REPEATABLE_FOR_SECONDS = 300.0 - 30.0
"""AWS accepts an attempt id for five minutes. The request and its long poll may take half a minute of this time."""

MAXIMUM_LOST_ATTEMPTS = 100
"""How many lost attempts of a queue are remembered. An ordinary mapping has fewer polls of its queue at one time."""


class Attempt(NamedTuple):
    """One logical receive of up to `asked` messages; `began_at` is on anyio's clock, in seconds."""

    attempt_id: str
    asked: int
    began_at: float


class ReceiveAttempts:
    """The attempts to receive from FIFO queues whose answers were lost.

    No two polls of a queue use the same attempt.
    """

    def __init__(self) -> None:
        self._prefix = uuid4().hex
        self._begun = 0
        self._lost: dict[str, list[Attempt]] = {}

    def begin(self, queue: str, count: int, *, now: float) -> Attempt:
        """Return a lost attempt that a receive of `count` messages may repeat, or a new attempt.

        The lost attempt is forgotten, so no other receive gets it. `now` is on anyio's clock, in seconds.
        `queue` is the ARN of the queue.
        """
        lost = self._lost.get(queue, [])
        for index, attempt in enumerate(lost):
            if attempt.asked <= count and _is_repeatable(attempt, now):
                return lost.pop(index)
        self._begun += 1
        return Attempt(f"{self._prefix}-{self._begun}", count, now)

    def lost(self, queue: str, attempt: Attempt, *, now: float) -> None:
        """Keep an attempt whose answer was lost, so that a later receive gets the same messages by the attempt's id.

        That receive must ask for at least as many messages as this attempt.
        """
        self._lost = {
            name: kept
            for name, lost in self._lost.items()
            if (kept := [one for one in lost if _is_repeatable(one, now)])
        }
        self._lost[queue] = [*self._lost.get(queue, []), attempt][-MAXIMUM_LOST_ATTEMPTS:]


def _is_repeatable(attempt: Attempt, now: float) -> bool:
    return now - attempt.began_at < REPEATABLE_FOR_SECONDS
