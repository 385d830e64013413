"""Does a tail show each record of a stream once, in order, and without a disturbance of other readers?"""

from __future__ import annotations

import random
from base64 import b64decode
from collections.abc import Callable, Iterator
from itertools import pairwise

import anyio
import pytest

from poller.core.filtering import RecordFilter, compile_filters
from poller.engine.streams.tail import TailedRecord, follow
from poller.errors import AccessDenied, NotFound, Rejected
from poller.model.stream import (
    AtTimestamp,
    Latest,
    Read,
    Shard,
    ShardId,
    ShardIterator,
    StartingPosition,
    TrimHorizon,
)
from poller.ports import StreamSource
from poller.sources.kinesis import KinesisSource
from tests.fakes.clock import EPOCH
from tests.fakes.dynamodb_streams import FakeDynamoDbStreams
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.fakes.kinesis import FakeKinesis
from tests.fakes.stream import FakeStream
from tests.simulation.world import run_seeded

SEEDS_IN_THE_GATE = 10


class Tail:
    """A tail in the background. `shown` has its records, and `remarks` its remarks."""

    def __init__(self, source: StreamSource) -> None:
        self.source = source
        self.shown: list[TailedRecord] = []
        self.remarks: list[str] = []

    async def run(
        self, starting: StartingPosition, *, filters: RecordFilter | None = None, limit: int | None = None
    ) -> None:
        await follow(
            self.source,
            starting,
            filters=filters,
            randomness=random.Random(1),
            show=self.shown.append,
            remark=self.remarks.append,
            limit=limit,
        )

    async def run_for(self, seconds: float, starting: StartingPosition, **options: RecordFilter) -> None:
        with anyio.move_on_after(seconds):
            await self.run(starting, filters=options.get("filters"))

    @property
    def names(self) -> list[str]:
        return [b64decode(one.record.record["kinesis"]["data"]).decode() for one in self.shown]


class Clicks:
    """A Kinesis stream. The data of each record is its name."""

    def __init__(self, *, shards: int = 1, faults: FaultPlan | None = None, **settings: float) -> None:
        self.service = FakeKinesis(faults=faults)
        self.stream: FakeStream = self.service.create_stream("clicks", shard_count=shards, **settings)
        self.source = self.service.source(self.stream)
        self.tail = Tail(self.source)

    def put(self, *names: str, key: str = "k") -> None:
        for name in names:
            self.service.put(self.stream, key, name.encode())

    def shard_ids(self) -> list[str]:
        return [shard.shard_id for shard in self.stream.shards(now=anyio.current_time()) if shard.is_open]


def test_a_tail_from_latest_shows_what_is_written_after_its_begin() -> None:
    async def main() -> None:
        clicks = Clicks(shards=2)
        clicks.put("before")
        async with anyio.create_task_group() as group:
            group.start_soon(clicks.tail.run_for, 10, Latest())
            await anyio.sleep(2)
            assert clicks.tail.remarks == ["every shard is being read; Ctrl-C ends the command"]
            clicks.put("a", "b")
            await anyio.sleep(3)
            clicks.put("c")
        assert clicks.tail.names == ["a", "b", "c"]

    run_seeded(1, main)


def test_a_tail_shows_only_records_that_match_the_filters() -> None:
    filters = compile_filters(('{"data": {"kind": ["order"]}}',), data_key="data")

    async def main() -> None:
        clicks = Clicks()
        clicks.put('{"kind":"order"}', '{"kind":"other"}', "no JSON")
        await clicks.tail.run_for(5, TrimHorizon(), filters=filters)
        assert clicks.tail.names == ['{"kind":"order"}']

    run_seeded(1, main)


def test_a_tail_since_a_time_leaves_out_earlier_records() -> None:
    async def main() -> None:
        clicks = Clicks()
        clicks.put("early")
        await anyio.sleep(100)
        clicks.put("late")
        await anyio.sleep(100)
        await clicks.tail.run_for(5, AtTimestamp(EPOCH + 50))
        assert clicks.tail.names == ["late"]

    run_seeded(1, main)


def test_a_tail_of_a_table_shows_its_changes_over_a_rollover() -> None:
    async def main() -> None:
        service = FakeDynamoDbStreams()
        table = service.create_table("users")
        tail = Tail(service.source(table))
        numbers = [table.put_item({"id": {"S": "a"}, "version": {"N": "1"}})]
        async with anyio.create_task_group() as group:
            group.start_soon(tail.run_for, 60, TrimHorizon())
            await anyio.sleep(2)
            [shard] = table.stream.shards(now=anyio.current_time())
            table.stream.roll_over(shard.shard_id, now=anyio.current_time())
            numbers.append(table.put_item({"id": {"S": "a"}, "version": {"N": "2"}}))
        assert [one.record.sequence_number for one in tail.shown] == numbers

    run_seeded(1, main)


def split_and_merge(clicks: Clicks) -> Iterator[str]:
    """Split the only shard, split its first child, and merge a grandchild with the second child. Yield before each."""
    yield "whole"
    left, right = clicks.stream.split(clicks.shard_ids()[0], now=anyio.current_time())
    yield "in two"
    _, second = clicks.stream.split(left, now=anyio.current_time())
    yield "in three"
    clicks.stream.merge(second, right, now=anyio.current_time())
    yield "merged"


@pytest.mark.parametrize("pause", [0.0, 0.4, 3.0])
def test_a_tail_shows_each_record_once_and_in_the_order_of_its_key_over_splits_and_merges(
    seed: int, pause: float
) -> None:
    async def main() -> None:
        clicks = Clicks(late_end_rate=0.5, empty_read_rate=0.3, short_read_rate=0.3, seed=seed)
        keys = [f"key-{number}" for number in range(8)]

        async def change() -> None:
            for stage in split_and_merge(clicks):
                for key in keys:
                    clicks.put(f"{key} {stage} 1", f"{key} {stage} 2", key=key)
                await anyio.sleep(pause)

        async with anyio.create_task_group() as group:
            group.start_soon(clicks.tail.run_for, 120, TrimHorizon())
            group.start_soon(change)
        stages = [f"{stage} {number}" for stage in ("whole", "in two", "in three", "merged") for number in (1, 2)]
        assert len(clicks.tail.names) == len(keys) * len(stages)
        for key in keys:
            of_key = [name.partition(" ")[2] for name in clicks.tail.names if name.startswith(f"{key} ")]
            assert of_key == stages

    run_seeded(seed, main)


def lost(plan: FaultPlan) -> None:
    plan.script("GetRecords", Fault.THROTTLED, Fault.ANSWER_LOST, Fault.NONE, Fault.UNREACHABLE)


def count_reads(source: KinesisSource) -> list[float]:
    """Return the times of all reads from now on."""
    read, times = source.read, list[float]()

    async def counted(iterator: ShardIterator, *, limit: int) -> Read:
        times.append(anyio.current_time())
        return await read(iterator, limit=limit)

    source.read = counted  # type: ignore[method-assign]
    return times


def test_a_tail_leaves_a_throttled_shard_at_least_a_second_of_rest() -> None:
    async def main() -> None:
        clicks = Clicks(faults=FaultPlan(outages=[Outage(5, 60, Fault.THROTTLED)]))
        times = count_reads(clicks.source)
        await clicks.tail.run_for(120, TrimHorizon())
        assert len(times) > 60
        assert min(after - before for before, after in pairwise(times)) > 0.999

    run_seeded(1, main)


def test_a_tail_lists_the_shards_again_until_an_ended_shard_has_children() -> None:
    async def main() -> None:
        clicks = Clicks()
        [whole] = clicks.shard_ids()
        listed_late = await clicks.source.shards()
        shards = clicks.source.shards

        async def no_children(shard_id: ShardId) -> list[Shard]:
            return []

        async def shards_after_a_minute() -> list[Shard]:
            return await shards() if anyio.current_time() > 60 else listed_late

        clicks.source.children = no_children  # type: ignore[method-assign]
        clicks.source.shards = shards_after_a_minute  # type: ignore[method-assign]
        clicks.stream.split(whole, now=anyio.current_time())
        clicks.put("in a child")
        await clicks.tail.run_for(90, TrimHorizon())
        assert clicks.tail.names == ["in a child"]

    run_seeded(1, main)


def no_iterators(plan: FaultPlan) -> None:
    plan.script("GetShardIterator", Fault.THROTTLED, Fault.UNREACHABLE)


@pytest.mark.parametrize("harm", [lost, no_iterators])
def test_a_tail_repeats_calls_that_are_throttled_or_without_an_answer(harm: Callable[[FaultPlan], None]) -> None:
    async def main() -> None:
        plan = FaultPlan()
        clicks = Clicks(faults=plan)
        harm(plan)
        async with anyio.create_task_group() as group:
            group.start_soon(clicks.tail.run_for, 60, Latest())
            for name in "abcde":
                await anyio.sleep(1)
                clicks.put(name)
        assert clicks.tail.names == list("abcde")

    run_seeded(1, main)


def test_a_tail_takes_a_new_iterator_if_one_has_expired_also_before_the_first_record() -> None:
    async def main() -> None:
        clicks = Clicks(early_expiry_rate=0.5)
        async with anyio.create_task_group() as group:
            group.start_soon(clicks.tail.run_for, 120, Latest())
            await anyio.sleep(5)
            for name in "abcdefgh":
                clicks.put(name)
                await anyio.sleep(2)
        assert clicks.tail.names == list("abcdefgh")

    run_seeded(1, main)


def test_a_tail_goes_on_at_the_oldest_record_if_the_next_records_have_left_the_stream() -> None:
    async def main() -> None:
        service = FakeDynamoDbStreams()
        table = service.create_table("users")
        tail = Tail(service.source(table))
        table.put_item({"id": {"S": "a"}})
        async with anyio.create_task_group() as group:
            group.start_soon(tail.run_for, 20, TrimHorizon())
            await anyio.sleep(2.5)
            table.put_item({"id": {"S": "b"}})
            table.stream.age_out(now=anyio.current_time())
            last = table.put_item({"id": {"S": "c"}})
        assert len(tail.shown) == 2
        assert tail.shown[-1].record.sequence_number == last
        assert len([text for text in tail.remarks if "have left the stream" in text]) == 1

    run_seeded(1, main)


@pytest.mark.parametrize(
    ("operation", "fault", "error"),
    [
        ("ListShards", Fault.ACCESS_DENIED, AccessDenied),
        ("GetShardIterator", Fault.NOT_FOUND, NotFound),
        ("GetRecords", Fault.ACCESS_DENIED, AccessDenied),
    ],
)
def test_an_error_that_waiting_does_not_end_ends_the_tail(operation: str, fault: Fault, error: type[Exception]) -> None:
    async def main() -> None:
        plan = FaultPlan()
        clicks = Clicks(shards=3, faults=plan)
        plan.script(operation, fault)
        with pytest.raises(error):
            await clicks.tail.run(Latest())

    run_seeded(1, main)


def test_a_stream_whose_shards_have_all_ended_is_an_error_for_latest() -> None:
    async def main() -> None:
        clicks = Clicks()
        clicks.stream.end(now=anyio.current_time())
        with pytest.raises(Rejected, match="every shard of the stream has ended"):
            await clicks.tail.run(Latest())

    run_seeded(1, main)


def test_an_error_of_the_output_ends_the_tail_as_it_is() -> None:
    def fail(_: TailedRecord) -> None:
        raise BrokenPipeError

    async def main() -> None:
        clicks = Clicks()
        clicks.put("a")
        with pytest.raises(BrokenPipeError):
            await follow(
                clicks.tail.source,
                TrimHorizon(),
                filters=None,
                randomness=random.Random(1),
                show=fail,
                remark=clicks.tail.remarks.append,
            )

    run_seeded(1, main)


def test_a_tail_ends_after_its_limit() -> None:
    async def main() -> None:
        clicks = Clicks()
        clicks.put(*"abcde")
        await clicks.tail.run(TrimHorizon(), limit=3)
        assert clicks.tail.names == list("abc")

    run_seeded(1, main)


def test_a_tail_reads_a_shard_once_a_second_at_most_also_if_it_is_behind() -> None:
    async def main() -> None:
        clicks = Clicks(short_read_rate=1.0)
        clicks.put(*[str(number) for number in range(3_000)])
        await clicks.tail.run_for(60, TrimHorizon())
        reads = [entry.at for entry in clicks.stream.history if entry.kind == "read"]
        assert len(reads) > 30
        assert min(after - before for before, after in pairwise(reads)) > 0.999

    run_seeded(1, main)


def test_a_tail_of_a_slow_service_reads_a_shard_again_at_once() -> None:
    async def main() -> None:
        clicks = Clicks(short_read_rate=1.0, faults=FaultPlan(latency_in_seconds=(1.0, 1.0)))
        names = [str(number) for number in range(3_000)]
        clicks.put(*names)
        await clicks.tail.run_for(60, TrimHorizon())
        reads = [entry.at for entry in clicks.stream.history if entry.kind == "read"]
        assert {round(after - before) for before, after in pairwise(reads)} == {2}
        assert clicks.tail.names == names[: len(clicks.tail.names)] != []

    run_seeded(1, main)
