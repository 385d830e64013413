"""What does a mapping do if its stream is old, throttled, deleted or created again? The clock is virtual."""

from __future__ import annotations

import anyio
import pytest

from poller.errors import NotFound, Trimmed
from poller.facts import PositionTrimmed, ReadThrottled, SourceFailed, SourceRecovered
from poller.model.ids import MappingName
from poller.model.mapping import StreamMapping
from poller.model.stream import (
    AtTimestamp,
    Latest,
    Position,
    Read,
    Shard,
    ShardEnd,
    ShardId,
    ShardIterator,
    StateKey,
    TrimHorizon,
)
from poller.ports import StreamSource
from poller.sources.client import Client
from tests.fakes.clock import EPOCH
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.simulation.life import Life
from tests.simulation.one_stream import KinesisWorld, TableWorld, play, play_life
from tests.simulation.steps import crashing_after, stopping_after

HOUR = 3_600.0
DAY = 24 * HOUR
MEBIBYTE = 1024 * 1024


class Watch:
    """Ends a process after some time, and records the mapping's state at the given times."""

    def __init__(self, seconds: float, *look_at: float) -> None:
        self._seconds = seconds
        self._look_at = look_at
        self.seen: list[tuple[str, str]] = []

    async def __call__(self, life: Life) -> None:
        passed = 0.0
        for moment in (*self._look_at, self._seconds):
            await anyio.sleep(moment - passed)
            passed = moment
            [status] = life.supervisor.statuses()
            self.seen.append((status.state, status.reason or ""))
        life.begin_stop()


def reshard(world: KinesisWorld, times: int) -> None:
    """Split the only open shard, and merge its children again. This closes three shards each time."""
    for _ in range(times):
        [open_shard] = [shard for shard in world.stream.shards(now=anyio.current_time()) if shard.is_open]
        left, right = world.stream.split(open_shard.shard_id, now=anyio.current_time())
        world.stream.merge(left, right, now=anyio.current_time())


def test_a_start_at_a_time_sends_few_requests_for_shards_that_closed_before() -> None:
    world = KinesisWorld(
        faults=FaultPlan(latency_in_seconds=(0.01, 0.01)),
        starting_position=AtTimestamp(EPOCH + 3600),
    )

    async def main() -> None:
        world.put("a", "before")
        reshard(world, 67)
        await anyio.sleep(3600)
        world.put("a", "a/0")
        reshard(world, 1)
        world.put("a", "a/1")
        await world.live(stopping_after(20))

    play(world, main)
    closed = 3 * 68
    assert world.succeeded == ["a/0", "a/1"]
    assert world.notes.calls["GetShardIterator"] == closed + 1
    assert world.notes.calls["GetRecords"] <= closed + 20
    assert world.notes.calls["ListShards"] <= closed


@pytest.mark.parametrize("finds_times", [True, False])
def test_a_tables_stream_that_began_with_latest_continues_there_and_skips_older_records_without_a_pause(
    finds_times: bool,
) -> None:
    world = TableWorld(starting_position=Latest())
    world.service.finds_times = finds_times

    async def main() -> None:
        world.put("a", *[f"old/{number}" for number in range(8_000)])
        await anyio.sleep(10)
        await world.live(crashing_after(5))
        await anyio.sleep(10)
        world.put("a", "a/0")
        await anyio.sleep(10)
        await world.live(stopping_after(5))

    play(world, main)
    assert world.succeeded == ["a/0"]
    assert world.succeeded_at == [pytest.approx(35, abs=0.3)]


@pytest.mark.parametrize("finds_times", [True, False])
@pytest.mark.parametrize("hour", [0, 13, 30])
@pytest.mark.parity("AT_TIMESTAMP of a table")
def test_a_tables_stream_can_begin_at_a_time_or_at_its_oldest_record_if_that_is_younger(
    hour: int, finds_times: bool
) -> None:
    world = TableWorld(starting_position=AtTimestamp(EPOCH + hour * 3600))
    world.service.finds_times = finds_times

    async def main() -> None:
        for number in range(34):
            world.put("a", f"a/{number}")
            await anyio.sleep(3600)
        await world.live(stopping_after(10))

    play(world, main)
    oldest = 34 - 23
    assert world.succeeded == [f"a/{number}" for number in range(max(hour, oldest), 34)]


def test_records_that_expired_while_the_daemon_was_stopped_are_reported_once_and_reading_continues_at_the_oldest() -> (
    None
):
    world = KinesisWorld()

    async def main() -> None:
        world.put("a", "a/0")
        await world.live(crashing_after(5))
        world.put("a", "lost")
        await anyio.sleep(DAY + 1)
        world.put("a", "a/1", "a/2")
        await world.live(crashing_after(5))
        await world.live(stopping_after(5))

    play(world, main)
    assert world.succeeded == ["a/0", "a/1", "a/2"]
    [trimmed] = world.facts_of(PositionTrimmed)
    assert trimmed.position.startswith("AFTER_SEQUENCE_NUMBER ")


def test_a_restart_reports_no_position_that_still_exists() -> None:
    world = KinesisWorld()

    async def main() -> None:
        for number in range(5):
            world.put("a", f"a/{number}")
            await world.live(crashing_after(5))

    play(world, main)
    assert world.succeeded == [f"a/{number}" for number in range(5)]
    assert world.facts_of(PositionTrimmed) == []


def test_throttled_reads_of_large_records_are_no_trouble() -> None:
    world = KinesisWorld(batch_size=10_000)
    watch = Watch(60, *[float(second) for second in range(1, 60)])

    async def main() -> None:
        for number in range(40):
            world.put_one("", f"{number}".ljust(MEBIBYTE))
        await world.live(watch)

    play(world, main)
    assert [int(name) for name in world.succeeded] == list(range(40))
    assert len(world.facts_of(ReadThrottled)) >= 3
    assert world.facts_of(SourceFailed, SourceRecovered) == []
    assert {state for state, _ in watch.seen} == {"ready"}


def test_reads_that_are_throttled_for_long_are_a_trouble_and_are_tried_often_enough() -> None:
    world = KinesisWorld()
    world.service.faults.script("GetRecords", *[Fault.THROTTLED] * 60)
    watch = Watch(300, 10, 100, 59 * 5)

    async def main() -> None:
        world.put("a", "a/0")
        await world.live(watch)

    play(world, main)
    assert [state for state, _ in watch.seen] == ["ready", "troubled", "ready", "ready"]
    assert "ProvisionedThroughputExceededException" in watch.seen[1][1]
    assert (len(world.facts_of(ReadThrottled)), len(world.facts_of(SourceFailed))) == (9, 51)
    assert len(world.facts_of(SourceRecovered)) == 1
    assert world.succeeded == ["a/0"]


def test_a_shard_that_cannot_be_read_is_a_trouble_while_the_others_are_read() -> None:
    world = KinesisWorld()
    watch = Watch(60, *[20 + second for second in range(40)])

    async def main() -> None:
        world.put("a", "a/0")
        await world.live(crashing_after(5))
        world.service.delete_stream(world.stream)
        world.create_stream(shard_count=4)
        for shard, name in zip(world.stream.shards(now=0), ("a/1", "b/0", "c/0", "d/0"), strict=True):
            world.put_at(shard.hash_keys[0], name)
        await world.live(watch)

    play(world, main)
    assert sorted(world.succeeded) == ["a/0", "b/0", "c/0", "d/0"], "what may have been passed over is left alone"
    assert {state for state, _ in watch.seen} == {"troubled"}
    assert "`poller state set`" in watch.seen[0][1]
    assert world.facts_of(SourceRecovered) == []


def test_a_shard_of_a_new_stream_is_not_mistaken_for_the_drained_one_of_the_old_stream() -> None:
    world = KinesisWorld()
    watch = Watch(60, 30)

    async def main() -> None:
        world.put("a", "a/0")
        reshard(world, 1)
        await world.live(stopping_after(30))
        former = world.stream
        world.service.delete_stream(former)
        world.create_stream(shard_count=1)
        world.put("a", "a/1")
        await world.live(watch)

    play(world, main)
    assert world.succeeded == ["a/0"]
    assert [state for state, _ in watch.seen] == ["starting", "starting"]
    assert "`poller state set`" in watch.seen[0][1]


def test_a_shard_of_a_stream_created_again_while_the_mapping_runs_is_not_mistaken_for_the_drained_one() -> None:
    world = KinesisWorld()
    watch = Watch(200, 10, 60, 199)

    async def main() -> None:
        world.put("a", "a/0")
        reshard(world, 1)

        async def replace(_life: Life) -> None:
            await anyio.sleep(30)
            world.service.delete_stream(world.stream)
            await anyio.sleep(40)
            world.create_stream(shard_count=1)
            world.put("a", "a/1")

        await world.live(watch, beside=replace)

    play(world, main)
    assert world.succeeded == ["a/0"]
    assert [state for state, _ in watch.seen] == ["ready", "troubled", "troubled", "troubled"]
    assert "not found" in watch.seen[1][1]
    assert "`poller state set`" in watch.seen[2][1]


def test_a_mapping_waits_for_a_stream_that_is_missing_for_a_while() -> None:
    world = KinesisWorld()
    watch = Watch(200, 20, 199)

    async def main() -> None:
        world.put("a", "a/0")

        async def hide(_life: Life) -> None:
            await anyio.sleep(5)
            del world.service.streams[str(world.stream.arn)]
            world.put("a", "a/1")
            await anyio.sleep(60)
            world.service.streams[str(world.stream.arn)] = world.stream
            world.put("a", "a/2")

        await world.live(watch, beside=hide)
        [checkpoint] = world.store.stored[StateKey(MappingName("m"), str(world.stream.arn))].values()
        assert not isinstance(checkpoint.position, ShardEnd)

    play(world, main)
    assert world.succeeded == ["a/0", "a/1", "a/2"]
    assert [state for state, _ in watch.seen] == ["troubled", "ready", "ready"]


def test_iterators_that_expire_at_once_are_a_trouble_and_requested_no_more_often_than_kinesis_allows() -> None:
    world = KinesisWorld()
    watch = Watch(120, 1, 10, 59)

    async def end(_life: Life) -> None:
        await anyio.sleep(60)
        world.stream.early_expiry_rate = 0.0
        world.put("a", "a/0")

    play_life(world, watch, beside=end, early_expiry_rate=1.0)
    assert len(world.facts_of(ReadThrottled)) <= 3, "five a second, to the limit"
    assert [state for state, _ in watch.seen] == ["ready", "troubled", "troubled", "ready"]
    assert {fact.code for fact in world.facts_of(SourceFailed)} == {"ExpiredIteratorException"}
    assert world.notes.calls["GetShardIterator"] < 25, "with a pause that grows"
    assert world.succeeded == ["a/0"]


def test_iterators_that_expire_between_good_reads_are_no_trouble() -> None:
    world = KinesisWorld()

    play_life(world, stopping_after(120), early_expiry_rate=0.3)
    assert world.notes.calls["GetShardIterator"] > 20
    assert world.facts_of(SourceFailed) == []


def test_a_shard_that_no_longer_exists_is_left_even_if_the_service_reports_only_trimmed_records() -> None:
    class Forgetful(TableWorld):
        def source(self, mapping: StreamMapping, client: Client) -> StreamSource:
            source = super().source(mapping, client)
            take = source.iterator

            async def iterator(shard_id: ShardId, position: Position) -> ShardIterator:
                try:
                    return await take(shard_id, position)
                except NotFound as error:
                    raise Trimmed("the shard has been trimmed", code="TrimmedDataAccessException") from error

            source.iterator = iterator  # type: ignore[method-assign]
            return source

    world = Forgetful()

    async def main() -> None:
        world.put("a", "a/0")
        await world.live(crashing_after(30))
        world.put("a", "lost")
        world.table.roll_over()
        await anyio.sleep(25 * 3600)
        world.put("a", "child")
        await world.live(stopping_after(120))

    play(world, main, shard_lifetime_in_seconds=None)
    assert world.succeeded == ["a/0", "child"]
    assert 1 <= len(world.facts_of(PositionTrimmed)) <= 2


def test_oldest_records_that_expire_just_before_the_read_are_reported_as_trimmed_once() -> None:
    class Ageing(TableWorld):
        """A stream whose first two iterators are at a record that has expired when the read begins."""

        def source(self, mapping: StreamMapping, client: Client) -> StreamSource:
            source = super().source(mapping, client)
            read = source.read
            left = ["aged out", "aged out"]

            async def read_or_trimmed(iterator: ShardIterator, *, limit: int) -> Read:
                if left:
                    raise Trimmed(left.pop(), code="TrimmedDataAccessException")
                return await read(iterator, limit=limit)

            source.read = read_or_trimmed  # type: ignore[method-assign]
            return source

    world = Ageing(starting_position=TrimHorizon())

    async def main() -> None:
        world.put("a", "a/0")
        await world.live(stopping_after(30))

    play(world, main)
    assert world.succeeded == ["a/0"]
    assert len(world.facts_of(PositionTrimmed)) == 1
    assert world.facts_of(SourceFailed) == []


def test_a_listing_without_shards_does_not_show_that_a_shard_has_left() -> None:
    class Unlisted(KinesisWorld):
        """A stream that has no shards for some time, and then has all of them again."""

        def source(self, mapping: StreamMapping, client: Client) -> StreamSource:
            source = super().source(mapping, client)
            listed, read = source.shards, source.read

            async def shards() -> list[Shard]:
                return [] if 5 <= anyio.current_time() < 60 else await listed()

            async def read_or_not_found(iterator: ShardIterator, *, limit: int) -> Read:
                if 5 <= anyio.current_time() < 60:
                    raise NotFound("no such shard", code="ResourceNotFoundException")
                return await read(iterator, limit=limit)

            source.shards = shards  # type: ignore[method-assign]
            source.read = read_or_not_found  # type: ignore[method-assign]
            return source

    world = Unlisted()

    async def main() -> None:
        world.put("a", "a/0")

        async def put_later(_life: Life) -> None:
            await anyio.sleep(30)
            world.put("a", "a/1")

        await world.live(stopping_after(150), beside=put_later)

    play(world, main)
    assert world.succeeded == ["a/0", "a/1"]
    assert world.facts_of(PositionTrimmed) == []


def test_a_shard_that_left_before_it_was_read_to_its_end_is_reported_and_blocks_no_other() -> None:
    world = KinesisWorld(faults=FaultPlan(outages=[Outage(5, DAY + 60, Fault.UNREACHABLE)]))
    world.lease_duration = HOUR
    watch = Watch(DAY + 300, 60)

    async def go_on(_life: Life) -> None:
        await anyio.sleep(20)
        world.put("a", "lost")
        reshard(world, 1)
        await anyio.sleep(DAY)
        world.put("a", "a/0")

    play_life(world, watch, beside=go_on)
    assert world.succeeded == ["a/0"]
    assert len(world.facts_of(PositionTrimmed)) == 1
    assert [state for state, _ in watch.seen] == ["troubled", "ready"]
