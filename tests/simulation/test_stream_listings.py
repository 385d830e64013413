"""What does a mapping do if listings are late, leave out shards or cannot be stored? The clock is virtual."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from itertools import chain
from random import Random
from typing import Any

import anyio
import pytest

from poller.errors import Rejected, Throttled, Unreachable
from poller.facts import LeaseTableFailed, LeaseTableRecovered, MappingCrashed, PositionTrimmed, SourceFailed
from poller.model.ids import MappingName
from poller.model.lease import Row, RowKey, shard_key, shard_of
from poller.model.mapping import StreamMapping
from poller.model.stream import Checkpoint, Latest, Shard, ShardEnd, ShardId, StateKey, TrimHorizon
from poller.ports import StreamSource
from poller.sources.client import Client
from poller.sources.kinesis import KinesisSource
from poller.sources.pacing import Pace, PacedClient
from tests.fakes.dynamodb_streams import FakeDynamoDbStreams
from tests.fakes.faults import Fault
from tests.fakes.kinesis import INVOKE_IDENTITY_ARN, FakeKinesis, always
from tests.fakes.store import FakeStore
from tests.simulation.life import Life
from tests.simulation.one_stream import KinesisWorld, OneStreamWorld, TableWorld, play, play_life
from tests.simulation.process import Process, StreamClient
from tests.simulation.steps import crashing_after, stopping_after
from tests.simulation.streams import SimulatedStream
from tests.simulation.test_stream_source_troubles import Watch
from tests.simulation.world import run_seeded

PARENT = "shardId-000000000000"
HOUR = 3600.0
RETENTION = 600.0


class FailingStore(FakeStore):
    """A state in which the first two tries to create a row fail for a shard other than the first one."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0

    async def create(self, *groups: Collection[Row], life: int = 0) -> frozenset[RowKey]:
        rows = chain(*groups)
        if self.failures < 2 and any(row.checkpoint is not None and shard_of(row.key) != PARENT for row in rows):
            self.failures += 1
            raise Rejected("the disk is full", code="SQLITE_FULL")
        return await super().create(*groups, life=life)


class Flickering(KinesisWorld):
    """A stream whose listings leave out the shards of `left_out` for a while.

    Records go to the first or the last hash key.
    """

    def __init__(self, *, since: float, until: float, left_out: Callable[[Shard], bool], **options: Any) -> None:
        super().__init__(batch_size=1, **options)
        self._since, self._until, self._left_out = since, until, left_out

    def source(self, mapping: StreamMapping, client: Client) -> StreamSource:
        source = super().source(mapping, client)
        listed = source.shards

        async def shards() -> list[Shard]:
            found = await listed()
            if self._since <= anyio.current_time() < self._until:
                found = [shard for shard in found if not self._left_out(shard)]
            return found

        source.shards = shards  # type: ignore[method-assign]
        return source

    def put_low(self, *names: str) -> None:
        for name in names:
            self.put_at(0, name)


class LargeTable(TableWorld):
    """A table's stream with thousands of shards, most of them closed. It allows ten listing calls a second.

    The name of a record is the time at which it was put.
    """

    def __init__(self, *, generations: int, filters: Any = "known", **options: Any) -> None:
        super().__init__(service=FakeDynamoDbStreams(listings_in_a_second=10, filters=filters), **options)
        self._generations = generations

    def new_stream(self, **settings: Any) -> SimulatedStream:
        stream = super().new_stream(shard_lifetime_in_seconds=None, **settings)
        for _ in range(self._generations - 1):
            self.table.roll_over()
        return stream

    def put_now(self) -> None:
        self.put("a", str(anyio.current_time()))

    @property
    def delays(self) -> list[float]:
        """Return the delay of each record, in the order in which the records were put."""
        return [at - float(name) for name, at in zip(self.succeeded, self.succeeded_at, strict=True)]


def key_of(world: OneStreamWorld) -> StateKey:
    return StateKey(MappingName("m"), str(world.stream.arn))


@pytest.mark.parametrize("ending", [stopping_after, crashing_after])
def test_a_found_child_whose_save_failed_is_stored_by_the_next_listing(ending: Any) -> None:
    """Otherwise, no shard would be stored after the parent has expired, and the next start would begin at LATEST."""
    world = KinesisWorld(starting_position=Latest())
    world.store = store = FailingStore()

    async def main() -> None:
        async def go_on(_life: Life) -> None:
            await anyio.sleep(10)
            world.put("a", "a/0")
            await anyio.sleep(10)
            world.stream.split(PARENT, now=anyio.current_time())

        await world.live(ending(RETENTION + 200), beside=go_on)
        assert len(world.store.stored[key_of(world)]) == 3
        world.put("a", "written while down")
        await world.live(stopping_after(60))

    play(world, main, retention_in_seconds=RETENTION)
    assert store.failures == 2
    assert world.succeeded == ["a/0", "written while down"]


def test_a_save_that_fails_at_a_listing_is_a_trouble_of_the_store_until_the_next_try() -> None:
    world = KinesisWorld()
    world.store = store = FailingStore()
    watch = Watch(100, 70)

    async def go_on(_life: Life) -> None:
        await anyio.sleep(10)
        world.stream.split(PARENT, now=anyio.current_time())

    play_life(world, watch, beside=go_on)
    assert [state for state, _ in watch.seen] == ["ready", "ready"]
    assert world.facts_of(SourceFailed) == []
    assert len(world.facts_of(LeaseTableFailed)) == store.failures == 2
    assert len(world.facts_of(LeaseTableRecovered)) == 1


def test_a_drained_shard_that_listings_leave_out_for_a_while_is_not_read_again() -> None:
    world = Flickering(since=60, until=85, left_out=lambda shard: shard.shard_id == PARENT)

    async def main() -> None:
        world.put_low("parent/0", "parent/1")

        async def go_on(_life: Life) -> None:
            await anyio.sleep(10)
            world.stream.split(PARENT, now=anyio.current_time())
            for number in range(100):
                world.put_low(f"child/{number}")
                await anyio.sleep(1)

        await world.live(stopping_after(130), beside=go_on)

    play(world, main)
    assert world.succeeded == ["parent/0", "parent/1", *[f"child/{number}" for number in range(100)]]


def test_a_drained_shard_that_listings_leave_out_is_not_read_again_after_a_restart() -> None:
    world = Flickering(since=60, until=85, left_out=lambda shard: shard.shard_id == PARENT)

    async def main() -> None:
        world.put_low("parent/0")
        await world.live(stopping_after(10))
        world.stream.split(PARENT, now=anyio.current_time())
        await world.live(stopping_after(30))
        await anyio.sleep(25)
        world.put_low("child/0")
        await world.live(stopping_after(60))

    play(world, main)
    assert world.succeeded == ["parent/0", "child/0"]


def test_a_waiting_child_that_listings_leave_out_for_a_while_still_waits_for_its_parent() -> None:
    world = Flickering(since=30, until=55, left_out=lambda shard: PARENT in shard.parent_ids)
    world.poison = {"parent/0"}

    async def main() -> None:
        world.put_low("parent/0")

        async def go_on() -> None:
            await anyio.sleep(5)
            world.stream.split(PARENT, now=anyio.current_time())
            world.put_low("child/0")
            await anyio.sleep(95)
            world.poison.clear()

        async with anyio.create_task_group() as group:
            group.start_soon(go_on)
            await world.live(crashing_after(35))
            await world.live(stopping_after(125))

    play(world, main)
    assert world.succeeded == ["parent/0", "child/0"]
    assert world.facts_of(PositionTrimmed) == []


def test_a_waiting_parent_that_listings_leave_out_for_a_while_is_not_overtaken_by_its_child() -> None:
    """The first shard is blocked. Its two children are merged while no listing shows the children."""
    world = Flickering(since=30, until=70, left_out=lambda shard: shard.parent_ids == (PARENT,))
    world.poison = {"grandparent"}

    async def main() -> None:
        world.put_low("grandparent")

        async def go_on(_life: Life) -> None:
            await anyio.sleep(5)
            left, right = world.stream.split(PARENT, now=anyio.current_time())
            world.put_low("parent")
            await anyio.sleep(35)
            world.stream.merge(left, right, now=anyio.current_time())
            world.put_low("child")
            await anyio.sleep(80)
            world.poison.clear()

        await world.live(stopping_after(200), beside=go_on)

    play(world, main)
    assert world.succeeded == ["grandparent", "parent", "child"]


@pytest.mark.parametrize("is_known_before", [True, False], ids=["found by a later listing", "found at the first start"])
def test_with_a_table_of_kcl_a_parent_that_a_listing_has_left_out_is_read_after_a_restart(
    is_known_before: bool,
) -> None:
    """KCL deletes the rows of drained shards, and this parent has no row. But it has none because it was not listed."""
    first = "shardId-000000000001"
    world = Flickering(since=0, until=50, left_out=lambda shard: shard.shard_id == first, kcl_table="my-application")
    world.poison = {"grandparent"}

    async def main() -> None:
        world.put_low("grandparent")

        async def split(_life: Life | None) -> None:
            parent, _ = world.stream.split(PARENT, now=anyio.current_time())
            world.put_low("parent")
            world.stream.split(parent, now=anyio.current_time())
            world.put_low("child")

        if is_known_before:
            await world.live(stopping_after(5))
        await split(None)
        await world.live(crashing_after(25))
        await anyio.sleep_until(50)
        world.poison.clear()
        await world.live(stopping_after(60))

    play(world, main)
    assert set(world.succeeded) == {"grandparent", "parent", "child"}


def test_a_waiting_shard_that_left_the_stream_unread_is_logged_and_its_children_are_read() -> None:
    world = KinesisWorld(batch_size=1)
    world.poison = {"grandparent"}

    async def main() -> None:
        world.put_at(0, "grandparent")

        async def go_on(_life: Life) -> None:
            await anyio.sleep(5)
            left, right = world.stream.split(PARENT, now=anyio.current_time())
            world.put_at(0, "lost")
            await anyio.sleep(30)
            world.stream.merge(left, right, now=anyio.current_time())
            await anyio.sleep(RETENTION + 60)
            world.put_at(0, "child")
            world.poison.clear()

        await world.live(stopping_after(RETENTION + 400), beside=go_on)

    play(world, main, retention_in_seconds=RETENTION)
    assert world.succeeded == ["grandparent", "child"]
    assert len(world.facts_of(PositionTrimmed)) == 2, "one for each half"


def test_a_shard_that_listings_leave_out_has_not_left_while_the_whole_stream_is_missing() -> None:
    world = Flickering(since=30, until=100, left_out=lambda shard: shard.shard_id == PARENT)

    async def main() -> None:
        async def hide(_life: Life) -> None:
            await anyio.sleep(60)
            del world.service.streams[str(world.stream.arn)]
            await anyio.sleep(30)
            world.service.streams[str(world.stream.arn)] = world.stream
            world.put_low("after")

        world.put_low("before")
        await world.live(stopping_after(200), beside=hide)

    play(world, main, shards=2)
    assert world.succeeded == ["before", "after"]
    assert world.facts_of(PositionTrimmed) == []


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.THROTTLED, Fault.ACCESS_DENIED])
def test_a_shard_that_listings_leave_out_has_not_left_while_a_read_fails_for_another_reason(fault: Fault) -> None:
    world = Flickering(since=30, until=100, left_out=lambda shard: shard.shard_id == PARENT)

    async def main() -> None:
        async def fail(_life: Life) -> None:
            await anyio.sleep(60)
            world.service.faults.script("GetRecords", *[fault] * 4)
            world.put_low("after")

        world.put_low("before")
        await world.live(stopping_after(200), beside=fail)

    play(world, main, shards=2)
    assert world.succeeded == ["before", "after"]
    assert world.facts_of(PositionTrimmed) == []


def test_stored_ends_of_a_tables_drained_shards_are_removed_after_a_day() -> None:
    world = TableWorld()

    async def main() -> None:
        for number in range(15):
            world.put("a", f"a/{number}")
            await world.live(stopping_after(25))
            await anyio.sleep(4 * HOUR)
        positions = [checkpoint.position for checkpoint in world.store.stored[key_of(world)].values()]
        drained = [position for position in positions if isinstance(position, ShardEnd)]
        assert (len(drained), len(positions)) == (7, 8), "those of 25 hours; one rolls over every four"

    play(world, main)
    assert world.succeeded == [f"a/{number}" for number in range(15)]


def test_the_rows_of_shards_that_were_closed_at_the_first_start_are_removed_after_a_day_also_with_restarts() -> None:
    world = TableWorld(starting_position=Latest())

    def drained() -> list[ShardId]:
        stored = world.store.stored[key_of(world)]
        return [shard_id for shard_id, checkpoint in stored.items() if checkpoint.position == ShardEnd()]

    async def main() -> None:
        world.table.roll_over(children=1)
        await world.live(stopping_after(25))
        [closed] = drained()
        for _ in range(4):
            await anyio.sleep(8 * HOUR)
            await world.live(stopping_after(25))
        assert closed not in drained()

    play(world, main)


def test_ten_thousand_shards_are_listed_at_the_rate_that_the_service_allows() -> None:
    world = LargeTable(generations=500, starting_position=Latest())
    watch = Watch(40, 9, 13)

    async def put(_life: Life) -> None:
        await anyio.sleep(20)
        world.put_now()

    play_life(world, watch, beside=put, shards=20)
    assert [state for state, _ in watch.seen] == ["starting", "ready", "ready"]
    assert world.notes.calls["DescribeStream"] == 200, "once at the start, and once beside the reading, after a pause"
    assert world.service.throttled_listings == 0
    assert max(world.delays) < 1


@pytest.mark.parametrize(("filters", "longest"), [("known", 1.5), ("ignored", 12.0), ("refused", 12.0)])
def test_the_child_of_one_of_ten_thousand_shards_is_read_soon_after_its_parent(filters: Any, longest: float) -> None:
    world = LargeTable(generations=500, filters=filters, starting_position=Latest())

    async def roll_over(_life: Life) -> None:
        for seconds in (40, 45, 50):
            await anyio.sleep_until(seconds)
            world.table.roll_over_for("a")
            world.put_now()

    play_life(world, stopping_after(70), beside=roll_over, shards=20)
    assert len(world.delays) == 3
    assert max(world.delays) < longest


def test_mappings_of_one_account_share_the_rate_and_only_a_throttled_page_is_repeated() -> None:
    """Another client, of which the daemon does not know, uses up the same limit."""
    world = LargeTable(generations=20)

    async def main() -> None:
        async def ask() -> None:
            for _ in range(150):
                with suppress(Throttled):
                    world.service.limit_listings(anyio.current_time())
                await anyio.sleep(0.1)

        client = StreamClient(Process(1), world.service, run=1, mapping="m", notes=world.notes, ours=world.clock)
        paced = PacedClient(client, Pace("DescribeStream", Random(1)))

        async def whole() -> None:
            shards = await world.service.source(world.table, client=paced).shards()
            assert len(shards) == 2000

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            for _ in range(3):
                group.start_soon(whole)
        assert anyio.current_time() < 20
        assert 60 < world.notes.calls["DescribeStream"] <= 90

    play(world, main, shards=100)


def test_many_shards_that_are_drained_at_once_cost_one_listing() -> None:
    world = LargeTable(generations=1)

    async def main() -> None:
        async def roll_over(_life: Life) -> None:
            await anyio.sleep(3)
            world.notes.calls.clear()
            world.table.roll_over()

        await world.live(stopping_after(8), beside=roll_over)
        assert len(world.store.stored[key_of(world)]) == 600

    play(world, main, shards=300)
    assert world.notes.calls["DescribeStream"] <= 10 + 2 * 6, "some were asked for one by one, before there were many"


def test_ten_thousand_shards_of_kinesis_are_listed_within_the_limits_too() -> None:
    service = FakeKinesis(listings_in_a_second=100)
    listed = []

    async def main() -> None:
        stream = service.create_stream("clicks", shard_count=10_000)
        client = PacedClient(service, Pace("ListShards", Random(1)))
        sources = [KinesisSource(client, arn=stream.arn, reader=always(INVOKE_IDENTITY_ARN)) for _ in range(5)]
        async with anyio.create_task_group() as group:
            for source in sources:

                async def whole(source: StreamSource = source) -> None:
                    listed.append(len(await source.shards()))

                group.start_soon(whole)
        assert anyio.current_time() < 0.6, "fifty pages"

    run_seeded(1, main)
    assert listed == [10_000] * 5
    assert service.throttled_listings == 0


def test_the_children_of_a_kinesis_shard_are_known_without_a_listing() -> None:
    world = KinesisWorld()

    async def split(_life: Life) -> None:
        await anyio.sleep(5)
        world.stream.split(PARENT, now=anyio.current_time())
        world.put("a", "child")

    play_life(world, stopping_after(10), beside=split)
    assert world.succeeded == ["child"]
    assert world.notes.calls["ListShards"] == 1


def test_a_merged_child_waits_for_a_parent_that_no_listing_has_shown_yet() -> None:
    """The first shard is split, and its lower half is merged with the second shard.

    The end of the first shard, which comes late, names the lower half, and the end of the second shard names the merged
    child.
    """
    world = KinesisWorld(batch_size=1)
    first, second = "shardId-000000000000", "shardId-000000000001"

    async def main() -> None:
        lower, upper = 0, 2**127
        world.poison = {"first"}
        world.put_at(lower, "first")
        world.put_at(upper, "second")

        async def go_on(_life: Life) -> None:
            await anyio.sleep(5)
            _, half = world.stream.split(first, now=anyio.current_time())
            world.put_at(upper - 1, "half")
            world.stream.merge(half, second, now=anyio.current_time())
            world.put_at(upper, "child")
            await anyio.sleep(40)
            world.poison.clear()

        await world.live(stopping_after(150), beside=go_on)

    play(world, main, shards=2)
    assert world.succeeded == ["second", "first", "half", "child"]


def test_a_child_that_two_listings_find_at_once_is_stored_once() -> None:
    """Otherwise, the second save of the child could follow its first checkpoint and move the checkpoint backwards."""

    class SlowToStoreFound(FakeStore):
        pauses = iter([1.5, 2.5])

        async def create(self, *groups: Collection[Row], life: int = 0) -> frozenset[RowKey]:
            if any(row.checkpoint == Checkpoint(TrimHorizon()) for row in chain(*groups)):
                await anyio.sleep(next(self.pauses))
            return await super().create(*groups, life=life)

    world = KinesisWorld(starting_position=Latest())
    world.store = SlowToStoreFound()
    world.duration = 1.0

    async def split(_life: Life) -> None:
        await anyio.sleep(19.5)
        world.put("a", "parent")
        world.stream.split(PARENT, now=anyio.current_time())
        world.put("a", "child")

    play_life(world, stopping_after(40), beside=split)
    assert world.calls == [["parent"], ["child"]]
    assert world.facts_of(MappingCrashed) == []


def test_children_whose_request_fails_are_found_by_a_listing_at_once() -> None:
    class Childless(KinesisWorld):
        def source(self, mapping: StreamMapping, client: Client) -> StreamSource:
            source = super().source(mapping, client)

            async def children(shard_id: ShardId) -> list[Shard]:
                raise Unreachable("no answer", code="Timeout", was_sent=True)

            source.children = children  # type: ignore[method-assign]
            return source

    world = Childless()

    async def split(_life: Life) -> None:
        await anyio.sleep(2)
        world.stream.split(PARENT, now=anyio.current_time())
        world.put("a", "child")

    play_life(world, stopping_after(6), beside=split)
    assert world.succeeded == ["child"]


@pytest.mark.parametrize("world", [KinesisWorld(), TableWorld()])
def test_a_child_is_read_at_once_after_its_parent_before_the_next_listing_is_due(world: OneStreamWorld) -> None:
    async def reshard(_life: Life) -> None:
        await anyio.sleep(2)
        [parent] = [shard.shard_id for shard in world.stream.shards(now=anyio.current_time())]
        world.stream.roll_over(parent, now=anyio.current_time())
        world.put("a", "child")

    play_life(world, stopping_after(6), beside=reshard)
    assert world.succeeded == ["child"]


def test_the_row_of_a_drained_shard_names_its_children_as_a_kcl_application_expects() -> None:
    world = KinesisWorld()

    async def reshard(_life: Life) -> None:
        await anyio.sleep(2)
        world.stream.split(PARENT, now=anyio.current_time())

    play_life(world, stopping_after(6), beside=reshard)
    row = world.store.table.rows[shard_key(key_of(world), ShardId(PARENT))]
    assert row.details["children"] == ["shardId-000000000001", "shardId-000000000002"]


def test_children_that_are_already_listed_are_not_requested() -> None:
    world = KinesisWorld()

    async def main() -> None:
        world.put("a", "parent")
        world.stream.split(PARENT, now=anyio.current_time())
        world.put("a", "child")
        await world.live(stopping_after(10))

    play(world, main)
    assert world.succeeded == ["parent", "child"]
    assert world.notes.calls["ListShards"] == 1


def test_a_listing_that_still_shows_a_drained_shard_as_open_is_not_mistaken_for_another_stream() -> None:
    class Late(KinesisWorld):
        """A stream whose listings show the shards of ten seconds ago. Answers to reads do not name children."""

        def source(self, mapping: StreamMapping, client: Client) -> StreamSource:
            source = super().source(mapping, client)
            listed = source.shards
            answers: list[tuple[float, list[Shard]]] = []

            async def shards() -> list[Shard]:
                answers.append((anyio.current_time(), await listed()))
                late = [found for at, found in answers if at <= anyio.current_time() - 10]
                return (late or [answers[0][1]])[-1]

            source.shards = shards  # type: ignore[method-assign]

            async def children(shard_id: ShardId) -> list[Shard]:
                return await shards()

            source.children = children  # type: ignore[method-assign]
            return source

    world = Late()

    async def split(_life: Life) -> None:
        await anyio.sleep(18)
        world.stream.split(PARENT, now=anyio.current_time())
        world.put("a", "child")

    play_life(world, stopping_after(80), beside=split)
    assert world.succeeded == ["child"]
    assert world.facts_of(SourceFailed) == []


def test_a_stream_that_its_table_has_switched_off_is_read_to_its_end_and_troubles_the_mapping() -> None:
    world = TableWorld()
    watch = Watch(400, 10, 60, 120, 390)

    async def disable(_life: Life) -> None:
        await anyio.sleep(20)
        world.put("a", "last")
        world.table.disable()

    play_life(world, watch, beside=disable)
    assert world.succeeded == ["last"]
    assert [state for state, _ in watch.seen] == ["ready", *["troubled"] * 4]
    assert all("the stream is DISABLED" in reason for _, reason in watch.seen[1:])
    assert "table users has another stream" in watch.seen[1][1]
    assert {(fact.code, fact.needs_action) for fact in world.facts_of(SourceFailed)} == {("StreamEnded", True)}
    assert len(world.facts_of(SourceFailed)) == 7, "once a minute"


def test_a_stream_that_is_already_switched_off_is_reported_at_the_start() -> None:
    world = TableWorld()
    watch = Watch(10, 1)

    async def main() -> None:
        world.put("a", "last")
        world.table.disable()
        await world.live(watch)

    play(world, main)
    assert world.succeeded == ["last"]
    assert [state for state, _ in watch.seen] == ["troubled", "troubled"]


def test_a_stream_whose_shards_are_all_drained_without_children_troubles_the_mapping() -> None:
    world = KinesisWorld()
    watch = Watch(100, 15, 35)

    async def end(_life: Life) -> None:
        await anyio.sleep(10)
        world.put("a", "last")
        world.stream.end(now=anyio.current_time())

    play_life(world, watch, beside=end)
    assert world.succeeded == ["last"]
    assert [state for state, _ in watch.seen] == ["ready", "ready", "troubled"]
    assert "every shard of the stream is closed" in watch.seen[2][1]


@pytest.mark.parametrize(("failures", "calls", "facts"), [(3, 103, 0), (101, 201, 1)])
def test_with_latest_only_failed_iterators_are_requested_again(failures: int, calls: int, facts: int) -> None:
    world = KinesisWorld(starting_position=Latest())
    world.service.faults.script("GetShardIterator", *[Fault.UNREACHABLE] * failures)

    play_life(world, stopping_after(10), shards=100)
    assert len(world.facts_of(SourceFailed)) == facts
    assert world.notes.calls["GetShardIterator"] == calls


def test_a_stream_without_listed_shards_has_no_positions() -> None:
    """Otherwise, a restart before the next listing would begin at LATEST again, and skip the records before it."""

    class New(TableWorld):
        """A stream that has just been switched on."""

        def source(self, mapping: StreamMapping, client: Client) -> StreamSource:
            source = super().source(mapping, client)
            listed = source.shards

            async def shards() -> list[Shard]:
                return await listed() if anyio.current_time() >= 5 else []

            source.shards = shards  # type: ignore[method-assign]
            return source

    world = New(starting_position=Latest())

    async def until(life: Life) -> None:
        for _ in range(150):
            if any(status.state == "ready" for status in life.supervisor.statuses()):
                break
            await anyio.sleep(0.1)
        world.put("a", "written once the mapping is ready")
        life.crash()

    async def main() -> None:
        await world.live(until)
        await anyio.sleep(5)
        await world.live(stopping_after(60))

    play(world, main)
    assert world.succeeded == ["written once the mapping is ready"]
    assert {fact.code for fact in world.facts_of(SourceFailed)} == {"NoShards"}


def test_a_switched_off_stream_without_shards_is_reported() -> None:
    world = TableWorld(starting_position=Latest())
    watch = Watch(100, 30)

    async def main() -> None:
        world.table.disable()
        await anyio.sleep(25 * HOUR)
        await world.live(watch)

    play(world, main)
    assert [state for state, _ in watch.seen] == ["troubled", "troubled"]
    assert "the stream is DISABLED" in watch.seen[0][1]
