"""Which attempt id does a receive from a FIFO queue carry?

When the answer to a receive is lost, the queue holds messages for a consumer that never saw them, and their groups
are blocked until the visibility timeout.
A FIFO queue cures that: a receive repeated under the same ReceiveRequestAttemptId is answered with the same messages.

    begin ──> received                    the id is used up
        └──> lost (no answer, cancelled)  the next receive repeats it, if it asks for as many messages or more

An id may be repeated for five minutes, as long as none of its messages was deleted or had its visibility changed; that
holds, since nobody here has seen them.
If the lost receive had taken nothing, the repetition is an ordinary receive.
The runs of a mapping share their attempts: a reload cancels the receives of one run, and the next run repeats them.

Source: Amazon SQS API Reference, "ReceiveMessage", ReceiveRequestAttemptId.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import uuid4

REPEATABLE_FOR_SECONDS = 300.0 - 30.0
"""An attempt id is good for five minutes; a margin is left for the way there and a long poll."""

MAXIMUM_LOST_ATTEMPTS = 100
"""How many lost attempts are remembered; there are not more polls of a queue at once in any ordinary mapping."""


class Attempt(NamedTuple):
    """One logical receive of up to `asked` messages; `began_at` is on anyio's clock, in seconds."""

    attempt_id: str
    asked: int
    began_at: float


class ReceiveAttempts:
    """The attempts of one queue whose answer was lost. Several polls share it; each attempt is in one hand."""

    def __init__(self) -> None:
        self._prefix = uuid4().hex
        self._begun = 0
        self._lost: list[Attempt] = []

    def begin(self, count: int, *, now: float) -> Attempt:
        """A lost attempt that may be repeated by a receive of `count` messages, or a new one."""
        self._lost = [attempt for attempt in self._lost if now - attempt.began_at < REPEATABLE_FOR_SECONDS]
        for index, attempt in enumerate(self._lost):
            if attempt.asked <= count:
                return self._lost.pop(index)
        self._begun += 1
        return Attempt(f"{self._prefix}-{self._begun}", count, now)

    def lost(self, attempt: Attempt) -> None:
        """The attempt may have taken messages and nobody has them: it is to be repeated."""
        self._lost = [*self._lost, attempt][-MAXIMUM_LOST_ATTEMPTS:]
