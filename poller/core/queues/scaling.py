"""How many polls of a queue may run at once, and how many batches may be in hand?

    PollScaling   the number of polls: one more after each full receive, half as many after an empty one, at least
                  one. So the number grows while there is a backlog, and an idle queue has one long poll.
    Concurrency   the number of batches in hand: additive increase, multiplicative decrease. A failure sets this limit
                  to half of the batches in hand; failures of batches that began before do not halve it again. Each
                  success raises the limit by one. A batch whose messages became visible too early counts as a
                  failure, because with fewer batches in hand, each batch waits for a shorter time.

AWS says that it reduces a mapping's concurrency "gradually" on errors and throttles, and documents no numbers.
Source: AWS Lambda Developer Guide, "Configuring scaling behavior for SQS event source mappings" and "Handling errors
for an SQS event source in Lambda".
"""

from __future__ import annotations


class PollScaling:
    """The number of receives that may run at once: `wanted`, from 1 to `ceiling`."""

    __slots__ = ("ceiling", "wanted")

    def __init__(self, *, ceiling: int) -> None:
        assert ceiling >= 1, ceiling
        self.ceiling = ceiling
        self.wanted = 1

    def received(self, count: int, *, asked: int) -> None:
        if count >= asked:
            self.wanted = min(self.ceiling, self.wanted + 1)
        elif count == 0:
            self.wanted = max(1, self.wanted // 2)

    def failed(self) -> None:
        """Lower the number to one poll at a time, because the source refused a poll or did not answer."""
        self.wanted = 1


class Concurrency:
    """The number of batches that a mapping may have in hand: `limit`, from 1 to `ceiling`.

    A round lasts from one lowering of the limit to the next one.
    """

    __slots__ = ("_round", "ceiling", "limit")

    def __init__(self, *, ceiling: int) -> None:
        assert ceiling >= 1, ceiling
        self.ceiling = ceiling
        self.limit = ceiling
        self._round = 0

    def begin(self) -> int:
        """Return the number of the current round. Call this when a batch begins, and pass the number to `failed`."""
        return self._round

    def succeeded(self) -> None:
        if self.limit < self.ceiling:
            self.limit += 1

    def failed(self, begun: int, *, in_use: int) -> None:
        """Lower the limit after a batch of the round `begun` failed or was refused.

        `in_use` is the number of batches in hand, including the failed one.
        """
        if begun != self._round:
            return  # an earlier failure has lowered the limit since this batch began
        self._round += 1
        self.limit = max(1, min(self.limit, in_use) // 2)
