"""When is which shard split or merged? Between two rounds of clicks, so that every shard has some clicks:

    shard 0 ──┬── shard 2 ────────────── open     split after half of the clicks, before the daemon starts
              └── shard 3 ──┐
    shard 1 ────────────────┴── shard 4  open     merged after three quarters, while the daemon reads

So when the daemon starts, shard 0 already has two children with clicks. Later, shard 4 appears.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from poller.demo.books import Book, Table
from poller.demo.clicks.part import Clicks
from poller.demo.clicks.story import MAPPING, POISON, rounds
from poller.demo.metrics import Metrics
from poller.demo.resharding.accounting import LineageBook, table

SHARDS_AT_FIRST = 2
SHARDS_IN_THE_END = 5
"""The number of all shards at the end, with the closed ones."""

ROUNDS = rounds()
BEFORE_THE_SPLIT, BEFORE_THE_MERGE = POISON.number + 1, 15
"""How many rounds of clicks come before the split, and before the merge.

The poison is in a parent, together with a later click of the same user. The children must wait until the poison is
discarded.
"""


SPLIT = (
    "Three quarters of the clicks are in the stream already, and a shard was split after half of them;\n"
    "  the click that is not JSON is in the shard that was split, so the two new shards wait until it is discarded"
)


class Resharding(Clicks):
    """A `books.Part`: the clicks, and the lineage of their shards."""

    async def build(self, shards: int = SHARDS_AT_FIRST) -> Sequence[str]:
        steps = await super().build(shards)
        for clicks in ROUNDS[:BEFORE_THE_SPLIT]:
            await self.put(clicks)
        first, _second = await self.stage.shards()
        await self.stage.split(first)
        for clicks in ROUNDS[BEFORE_THE_SPLIT:BEFORE_THE_MERGE]:
            await self.put(clicks)
        return [*steps, SPLIT]

    def intention(self) -> str:
        return "Two shards are merged, and the other clicks go into the stream"

    async def send(self) -> AsyncIterator[None]:
        _first, second, _lower, upper = await self.stage.shards()
        await self.stage.merge(upper, second)
        for clicks in ROUNDS[BEFORE_THE_MERGE:]:
            await self.put(clicks)
            yield

    async def look(self, metrics: Metrics) -> Sequence[Book]:
        clicks = await self.book(metrics)
        lineage = LineageBook(
            shards=await self.stage.shards(),
            wanted_shards=SHARDS_IN_THE_END,
            seen=clicks.seen,
            drained=metrics.by("state", "poller_shards", mapping=MAPPING)["drained"],
        )
        return [clicks, lineage]

    def tables(self, books: Sequence[Book]) -> Sequence[Table]:
        lineage = [table(book) for book in books if isinstance(book, LineageBook)]
        return [*super().tables(books), *lineage]
