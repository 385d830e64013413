"""How does a test wait for something to happen? Each change rings a `Watch`, which then checks again.

watch.ring()                            something changed
await watch.until(lambda: ...)          return as soon as this holds; give up after a while
History(watch)                          a queue's history that rings, and counts its entries by kind
StreamHistory(watch, …)                 a stream's history that rings
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import SupportsIndex

import anyio

from tests.fakes import stream
from tests.fakes.queue import Entry

LONGEST_WAIT_IN_SECONDS = 60.0
"""The longest wait of a test. It is much longer than any wait takes, so that no test fails on a busy machine."""


class Watch:
    """The watch of a test. Everything in the test's process notifies it."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def ring(self) -> None:
        self._changed.set()

    async def until(self, holds: Callable[[], object], within: float = LONGEST_WAIT_IN_SECONDS) -> None:
        """Wait until the condition is true. Raise AssertionError when the time is over."""
        with anyio.move_on_after(within):
            while not holds():
                self._changed.clear()
                await self._changed.wait()
            return
        raise AssertionError(f"it did not happen within {within:g} s")


class History(list[Entry]):
    """A list for `FakeQueue.history`. `counts` has the number of entries of each kind."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self._watch = watch

    def append(self, entry: Entry) -> None:
        super().append(entry)
        self.counts[entry.kind] += 1
        self._watch.ring()

    def insert(self, index: SupportsIndex, entry: Entry) -> None:
        raise AssertionError("history is only ever appended to")


class StreamHistory(list[stream.Entry]):
    """A list for `FakeStream.history`."""

    def __init__(self, watch: Watch, entries: Iterable[stream.Entry]) -> None:
        super().__init__(entries)
        self._watch = watch

    def append(self, entry: stream.Entry) -> None:
        super().append(entry)
        self._watch.ring()
