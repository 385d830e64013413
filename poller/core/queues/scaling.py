"""How many polls of a queue may run at once, and how many batches may be in hand?

    PollScaling   polls in flight: one more after every full receive, half as many after an empty one, never below one.
                  So a backlog adds polls with every round of receives, and an idle queue has one long poll.
    Concurrency   batches in hand: additive increase, multiplicative decrease.  A failure halves the batches in use,
                  once for all batches that were already running; each success gives one back.  A batch that lost
                  messages to their visibility timeout counts as a failure: with fewer batches, each one is invoked
                  sooner.

AWS reduces a mapping's concurrency on errors and throttles "gradually" and documents no numbers.
Source: AWS Lambda Developer Guide, "Configuring scaling behavior for SQS event source mappings" and "Handling errors
for an SQS event source in Lambda".
"""

from __future__ import annotations


class PollScaling:
    """How many receives may be in flight; `wanted` runs from 1 to `ceiling`."""

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
        """The source refused or did not answer: one poll at a time finds out when it is back."""
        self.wanted = 1


class Concurrency:
    """How many batches a mapping may have in hand; `limit` runs from 1 to `ceiling`."""

    __slots__ = ("_round", "ceiling", "limit")

    def __init__(self, *, ceiling: int) -> None:
        assert ceiling >= 1, ceiling
        self.ceiling = ceiling
        self.limit = ceiling
        self._round = 0

    def begin(self) -> int:
        """A batch begins; the number it gets is handed back to `failed`."""
        return self._round

    def succeeded(self) -> None:
        if self.limit < self.ceiling:
            self.limit += 1

    def failed(self, begun: int, *, in_use: int) -> None:
        """A batch failed or was refused while `in_use` batches were in hand, itself among them."""
        if begun != self._round:
            return  # it ran beside the batch that has brought the limit down already
        self._round += 1
        self.limit = max(1, min(self.limit, in_use) // 2)
