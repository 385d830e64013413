"""When is a stream listed? On a virtual clock, over a source whose listings take as long as the test says."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from poller.core.lineage import Lineage
from poller.engine.source_health import SourceHealth
from poller.engine.stop import Stop
from poller.engine.streams.listing import Listings
from poller.errors import ServiceError, Unreachable
from poller.model.arn import Arn
from poller.model.ids import MappingName
from poller.model.stream import Iterator, Position, Read, Shard, ShardId, StateKey, TrimHorizon
from poller.ports import SourceClock
from poller.stores.memory import MemoryStore
from tests.fakes.clock import VirtualClock, service_clock
from tests.simulation.world import run_seeded

STREAM = Arn.parse("arn:aws:kinesis:eu-west-1:123456789012:stream/s")
KEY = StateKey(MappingName("m"), str(STREAM))
A = ShardId("shard-a")


class SlowSource:
    """A stream of one shard without children. Notes when each listing began."""

    status = None

    def __init__(self, *, seconds: float = 0.0, errors: list[ServiceError] | None = None) -> None:
        self.began: list[float] = []
        self.seconds = seconds
        self._errors = errors or []

    @property
    def clock(self) -> SourceClock:
        return service_clock()

    async def shards(self) -> list[Shard]:
        self.began.append(anyio.current_time())
        await anyio.sleep(self.seconds)
        if self._errors:
            raise self._errors.pop()
        return [Shard(A, (), True)]

    async def children(self, shard_id: ShardId) -> list[Shard]:
        return []

    async def iterator(self, shard_id: ShardId, position: Position) -> Iterator:
        raise AssertionError("nothing is read")

    async def read(self, iterator: Iterator, *, limit: int) -> Read:
        raise AssertionError("nothing is read")


def listing_over(source: SlowSource, then: Callable[[Listings], Coroutine[Any, Any, None]]) -> None:
    """Runs the listings, begun at 0 without a listing of their own, until `then` returns."""

    async def main() -> None:
        clock = VirtualClock()
        mapping, luck = MappingName("m"), random.Random(1)
        health = SourceHealth(
            mapping=mapping, source=STREAM, clock=clock, record=lambda _: None, luck=luck, stop=Stop()
        )
        listings = Listings(
            source=source,
            store=MemoryStore(clock.now),
            key=KEY,
            arn=STREAM,
            operation="ListShards",
            health=health,
            clock=clock,
        )
        lineage = Lineage({A: TrimHorizon()}, {}, memory_in_seconds=1000)
        await listings.begin(lineage, [Shard(A, (), True)])
        lineage.startable()
        async with anyio.create_task_group() as group:
            group.start_soon(listings.run)
            await then(listings)
            group.cancel_scope.cancel()

    run_seeded(1, main)


async def three_minutes(_: Listings) -> None:
    await anyio.sleep(190)


@pytest.mark.parametrize(
    ("seconds", "began"),
    [
        (0.0, [20, 40, 60, 80, 100, 120, 140, 160, 180]),
        (2.0, [20, 40, 60, 80, 100, 120, 140, 160, 180]),
        (10.0, [20, 70, 120, 170]),
    ],
)
def test_a_stream_is_listed_every_20_seconds_and_for_a_fifth_of_the_time_at_most(
    seconds: float, began: list[float]
) -> None:
    source = SlowSource(seconds=seconds)
    listing_over(source, three_minutes)
    assert source.began == pytest.approx(began)


def test_a_shard_whose_child_is_listed_late_makes_the_next_listing_come_within_20_seconds() -> None:
    source = SlowSource(seconds=10.0)

    async def drain(listings: Listings) -> None:
        await anyio.sleep(35)
        listings.drained(A)
        await anyio.sleep(165)

    listing_over(source, drain)
    assert source.began[:2] == pytest.approx([20, 55]), "instead of 70"


def test_whether_a_shard_has_left_is_told_by_a_listing_that_begins_after_the_question() -> None:
    source = SlowSource(seconds=10.0)
    told: list[tuple[bool, float]] = []

    async def ask(listings: Listings) -> None:
        await anyio.sleep(5)
        for shard_id in (A, ShardId("shard-b")):
            told.append((await listings.has_left(shard_id), anyio.current_time()))

    listing_over(source, ask)
    assert told == [(False, 15), (True, 25)]


def test_a_question_during_a_listing_waits_for_the_next_one_which_follows_at_once() -> None:
    source = SlowSource(seconds=10.0)
    answered: list[float] = []

    async def ask(listings: Listings) -> None:
        await anyio.sleep(25)
        assert await listings.has_left(ShardId("shard-b"))
        answered.append(anyio.current_time())

    listing_over(source, ask)
    assert source.began == pytest.approx([20, 30])
    assert answered == pytest.approx([40])


def test_a_failed_listing_does_not_show_that_a_shard_has_left() -> None:
    source = SlowSource(seconds=1.0, errors=[Unreachable("lost", code="ConnectionLost", was_sent=True)])

    async def ask(listings: Listings) -> None:
        assert not await listings.has_left(ShardId("shard-b"))
        assert await listings.has_left(ShardId("shard-b"))

    listing_over(source, ask)
    assert len(source.began) == 2
    assert source.began[1] >= 1.5, "after a pause"
