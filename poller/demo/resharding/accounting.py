"""Was every parent drained before its children? The function's trace is compared with the stream's lineage.

In the trace, all records of a parent must come before the first record of its child, for all users together.
At the end, the daemon must have drained as many shards as the stream has closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from poller.demo.books import Book, Line, Table, differ
from poller.demo.clicks.stage import Shard
from poller.demo.clicks.trace import Sighting


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageBook(Book):
    """The order of the shards. `shards` are all shards, also the closed ones. At the end there must be `wanted_shards`.

    `seen` is the function's trace. `drained` is the number of drained shards in the daemon's metrics.
    """

    shards: Sequence[Shard]
    wanted_shards: int
    seen: Sequence[Sighting]
    drained: int

    @property
    def name(self) -> str:
        return "shards"

    @property
    def done(self) -> int:
        return self.drained

    @property
    def total(self) -> int:
        return self.closed

    @property
    def news(self) -> str:
        return f"{len(self.shards)} shards, {self.closed} closed, {self.drained} drained"

    @property
    def closed(self) -> int:
        return sum(shard.is_closed for shard in self.shards)

    def lines_of(self, shard: str) -> list[int]:
        """Return the line numbers, from 1, at which the trace has a click of this shard."""
        return [number for number, sighting in enumerate(self.seen, start=1) if sighting.shard == shard]

    def faults(self) -> Iterator[str]:
        yield from differ("shards", len(self.shards), self.wanted_shards)
        yield from differ("shards that the daemon has drained", self.drained, self.closed)
        for shard in self.shards:
            lines = self.lines_of(shard.name)
            if not lines:
                yield f"nothing of {shard.name} was seen"
            for parent in shard.parents:
                if lines and max(self.lines_of(parent), default=0) > lines[0]:
                    yield f"{shard.name} was read before its parent {parent} was drained"


def table(book: LineageBook) -> Table:
    lines = []
    for shard in book.shards:
        numbers = book.lines_of(shard.name)
        span = f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
        parents = " and ".join(map(_short, shard.parents)) or "none"
        state = "closed" if shard.is_closed else "open"
        lines.append(Line(_short(shard.name), [parents, state, len(numbers), span], "the function's file"))
    return Table("The shards", ["shard", "parents", "now", "clicks", "first to last line"], lines)


def _short(shard: str) -> str:
    return shard.rpartition("-")[2].lstrip("0") or "0"
