"""When is a stream listed? The clock is virtual, and listings take as long as the test says."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Sequence
from math import inf
from typing import Any

import anyio
import pytest

from poller.core.streams.lineage import Lineage
from poller.engine.leases.worker import Worker
from poller.engine.source_health import SourceHealth
from poller.engine.source_pauses import SourcePauses
from poller.engine.streams.listing import PARENTS_ASKED_FOR, Listings
from poller.engine.streams.rows import ShardRows
from poller.errors import ServiceError, Unreachable
from poller.facts import Fact, SourceFailed
from poller.model.arn import Arn
from poller.model.ids import MappingName
from poller.model.lease import Owner, Row, shard_key
from poller.model.stream import (
    Checkpoint,
    Position,
    Read,
    Shard,
    ShardEnd,
    ShardId,
    ShardIterator,
    StateKey,
    TrimHorizon,
)
from poller.ports import SourceClock
from poller.sources.kinesis import LIMITS
from poller.stores.memory_leases import MemoryLeaseStore
from tests.fakes.clock import SteadyClock, VirtualClock, service_clock
from tests.simulation.world import run_seeded

STREAM = Arn.parse("arn:aws:kinesis:eu-west-1:123456789012:stream/s")
KEY = StateKey(MappingName("m"), str(STREAM))
A = ShardId("shard-a")
MEMORY_IN_SECONDS = 1000.0


class SlowSource:
    """A stream of shards that are open until `open_until`. Notes when each listing began.

    A test that splits a shard adds to `children_made`. All of `shard_ids` have these `parents`.
    """

    status = None
    limits = LIMITS

    def __init__(
        self,
        *,
        seconds: float = 0.0,
        errors: list[ServiceError] | None = None,
        shard_ids: Sequence[ShardId] = (A,),
        open_until: float = inf,
    ) -> None:
        self.began: list[float] = []
        self.asked_for_children: list[ShardId] = []
        self.seconds = seconds
        self.shard_ids = shard_ids
        self.children_made: list[Shard] = []
        self.parents: tuple[ShardId, ...] = ()
        self._open_until = open_until
        self._errors = errors or []

    @property
    def clock(self) -> SourceClock:
        return service_clock()

    async def shards(self) -> list[Shard]:
        self.began.append(anyio.current_time())
        is_open = anyio.current_time() < self._open_until
        await anyio.sleep(self.seconds)
        if self._errors:
            raise self._errors.pop()
        own = [Shard(shard_id, self.parents, is_open) for shard_id in self.shard_ids]
        return [*own, *self.children_made]

    async def children(self, shard_id: ShardId) -> list[Shard]:
        self.asked_for_children.append(shard_id)
        return [child for child in self.children_made if shard_id in child.parent_ids]

    async def iterator(self, shard_id: ShardId, position: Position) -> ShardIterator:
        raise AssertionError("nothing is read")

    async def read(self, iterator: ShardIterator, *, limit: int) -> Read:
        raise AssertionError("nothing is read")


def listing_over(
    source: SlowSource,
    then: Callable[[Listings], Coroutine[Any, Any, None]],
    *,
    table: MemoryLeaseStore | None = None,
    is_kcl_table: bool = False,
) -> list[Fact]:
    """Run the listings until `then` returns. They begin at 0 without a first listing."""
    facts: list[Fact] = []
    store = MemoryLeaseStore() if table is None else table

    async def main() -> None:
        clock = VirtualClock()
        mapping, randomness = MappingName("m"), random.Random(1)
        health = SourceHealth(mapping=mapping, source=STREAM, clock=clock, emit=facts.append)
        worker = Worker(Owner("me/1"), store=store, clock=SteadyClock(), randomness=randomness, emit=facts.append)
        listings = Listings(
            source=source,
            rows=ShardRows(worker, KEY, address="memory:"),
            arn=STREAM,
            health=health,
            pauses=SourcePauses(randomness),
            clock=clock,
        )
        lineage = Lineage(source.shard_ids, {}, memory_in_seconds=MEMORY_IN_SECONDS)
        rows = {shard_id: Row(key=shard_key(KEY, shard_id)) for shard_id in source.shard_ids}
        of_kcl = rows if is_kcl_table else {}
        await listings.begin(lineage, [Shard(shard_id, (), True) for shard_id in source.shard_ids], of_kcl=of_kcl)
        lineage.startable()
        async with anyio.create_task_group() as group:
            group.start_soon(listings.run)
            await then(listings)
            group.cancel_scope.cancel()

    run_seeded(1, main)
    return facts


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


def test_only_a_listing_that_begins_after_the_question_shows_that_a_shard_has_left() -> None:
    source = SlowSource(seconds=10.0)
    answers: list[tuple[bool, float]] = []

    async def ask(listings: Listings) -> None:
        await anyio.sleep(5)
        for shard_id in (A, ShardId("shard-b")):
            answers.append((await listings.has_left(shard_id), anyio.current_time()))

    listing_over(source, ask)
    assert answers == [(False, 15), (True, 25)]


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


def test_a_shard_that_is_drained_during_a_long_listing_is_not_mistaken_for_one_of_another_stream() -> None:
    source = SlowSource(seconds=60.0, open_until=25.0)

    async def drain(listings: Listings) -> None:
        await anyio.sleep(25)
        listings.drained(A)
        await anyio.sleep(165)

    facts = listing_over(source, drain)
    assert source.began[:2] == pytest.approx([20, 80])
    assert "AnotherStream" not in [fact.code for fact in facts if isinstance(fact, SourceFailed)]


def test_shards_that_drain_at_the_same_time_cause_one_listing_and_a_later_one_causes_a_request() -> None:
    shard_ids = [ShardId(f"shard-{number}") for number in range(PARENTS_ASKED_FOR + 2)]
    source = SlowSource(shard_ids=shard_ids)

    async def drain(listings: Listings) -> None:
        await anyio.sleep(5)
        for shard_id in shard_ids[:-1]:
            listings.drained(shard_id)
        await anyio.sleep(5)
        assert (source.began, source.asked_for_children) == ([5], [])
        listings.drained(shard_ids[-1])
        await anyio.sleep(5)

    listing_over(source, drain)
    assert (source.began, source.asked_for_children) == ([5], [shard_ids[-1]])


def test_an_answer_with_the_children_of_one_shard_does_not_show_that_the_others_have_left() -> None:
    """Otherwise a shard that was drained long ago and is still listed would be read again from its beginning."""
    b, child = ShardId("shard-b"), ShardId("shard-c")
    source = SlowSource(shard_ids=[A, b], open_until=5.0)
    started: list[ShardId] = []

    async def drain(listings: Listings) -> None:
        await anyio.sleep(5)
        listings.drained(b)
        await anyio.sleep(1.5 * MEMORY_IN_SECONDS)
        source.children_made = [Shard(child, (A,), is_open=True)]
        listings.drained(A)
        await anyio.sleep(200)
        started.extend(listings.lineage.startable())

    listing_over(source, drain)
    assert source.asked_for_children == [b, A]
    assert started == [child]


def test_after_a_listing_that_succeeds_the_next_failure_has_the_shortest_pause_again() -> None:
    lost = Unreachable("no answer", code="Timeout", was_sent=True)
    errors: list[ServiceError] = [lost] * 6

    async def fail_once_more(_: Listings) -> None:
        await anyio.sleep(300)
        errors.append(lost)
        await anyio.sleep(60)

    facts = listing_over(SlowSource(errors=errors), fail_once_more)
    pauses = [fact.retry_in_seconds for fact in facts if isinstance(fact, SourceFailed)]
    assert len(pauses) == 7
    assert pauses[5] > 10
    assert pauses[6] <= 1


@pytest.mark.parametrize(
    ("is_kcl_table", "position"),
    [
        pytest.param(True, ShardEnd(), id="in a table of KCL, which deletes the row of a drained shard"),
        pytest.param(False, TrimHorizon(), id="in our own table, where a parent has a row before its children"),
    ],
)
def test_a_closed_shard_whose_descendant_has_a_row_begins_at_the_right_position(
    is_kcl_table: bool, position: Position
) -> None:
    grandparent, parent, table = ShardId("grandparent"), ShardId("parent"), MemoryLeaseStore()
    source = SlowSource()
    source.parents = (parent,)
    source.children_made = [Shard(grandparent, (), False), Shard(parent, (grandparent,), False)]

    async def list_once(listings: Listings) -> None:
        await listings.run_once()

    listing_over(source, list_once, table=table, is_kcl_table=is_kcl_table)
    rows = anyio.run(table.read, [shard_key(KEY, grandparent), shard_key(KEY, parent)])
    assert [row.checkpoint for row in rows.values()] == [Checkpoint(position), Checkpoint(position)]


def test_a_parent_that_a_listing_of_this_run_has_omitted_is_read_also_in_a_table_of_kcl() -> None:
    """The row of its child is of this run, so KCL has not deleted a row of the parent: its records are not done."""
    parent, child, table = ShardId("parent"), ShardId("child"), MemoryLeaseStore()
    source = SlowSource()

    async def list_twice(listings: Listings) -> None:
        source.children_made = [Shard(child, (parent,), True)]
        await listings.run_once()
        source.children_made.append(Shard(parent, (), False))
        await listings.run_once()

    listing_over(source, list_twice, table=table, is_kcl_table=True)
    rows = anyio.run(table.read, [shard_key(KEY, parent)])
    assert [row.checkpoint for row in rows.values()] == [Checkpoint(TrimHorizon())]
