"""How does a test see which facts were emitted? It gives the code a `Recorded`, which keeps all facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio

from poller.facts import Fact

F = TypeVar("F")

PATIENCE_IN_SECONDS = 60.0


class Recorded:
    """A callable that takes facts, for use as `emit`. `facts` has all facts in order."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self._came = anyio.Event()

    def __call__(self, fact: Fact) -> None:
        self.facts.append(fact)
        self._came.set()
        self._came = anyio.Event()

    def of(self, kind: type[F]) -> list[F]:
        """Return all facts of one type so far."""
        return [fact for fact in self.facts if isinstance(fact, kind)]

    async def first(self, kind: type[F], such_that: Callable[[F], bool] = lambda _: True) -> F:
        """Wait for the first fact of this type for which `such_that` is true, and return it."""
        with anyio.fail_after(PATIENCE_IN_SECONDS):
            while True:
                for fact in self.of(kind):
                    if such_that(fact):
                        return fact
                await self._came.wait()
