"""What does a Kinesis mapping do? The real engine and source on a virtual clock, over a fake Kinesis that behaves."""

from __future__ import annotations

import random
from base64 import b64decode
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import anyio
import orjson
import pytest

from poller.core.filtering import compile_filters
from poller.engine.budget import BYTES_OF_THE_PROCESS, Budget
from poller.engine.daemon import Daemon
from poller.engine.lane import LaneParts
from poller.engine.permits import FunctionGate
from poller.engine.stop import Stop
from poller.engine.stream_mapping import StreamMappingRunner, StreamParts
from poller.errors import Unreachable
from poller.model.arn import Arn
from poller.model.function import Function, HttpService
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.invocation import Answered, FunctionError, Invocation, Response
from poller.model.mapping import OnFailure, StreamMapping
from poller.sources.kinesis import KinesisSource
from poller.stores.memory import MemoryStore
from poller.telemetry.facts import Fact, RecordsPolled
from tests.fakes.clock import VirtualClock
from tests.fakes.destinations import FakeDestination
from tests.fakes.faults import FaultPlan
from tests.fakes.kinesis import INVOKE_IDENTITY_ARN, FakeKinesis
from tests.fakes.stream import FakeStream
from tests.simulation.world import run_seeded

FAILURES = OnFailure(destination_arn=Arn.parse("arn:aws:sqs:eu-west-1:123456789012:failures"))
ERROR = FunctionError(error_type="ValueError", message="by plan")


class Process:
    """The way of one process to Kinesis, and to the store. Once it is dead, nothing goes through any more."""

    def __init__(self, service: FakeKinesis, store: MemoryStore) -> None:
        self._service = service
        self._store = store
        self.is_dead = False

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        self._check()
        return await self._service.call(operation, body, timeout_in_seconds=timeout_in_seconds)

    async def load(self, *arguments: Any) -> Any:
        self._check()
        return await self._store.load(*arguments)

    async def save(self, *arguments: Any) -> None:
        await anyio.sleep(0.01)
        self._check()
        await self._store.save(*arguments)

    async def forget(self, *arguments: Any) -> None:
        self._check()
        await self._store.forget(*arguments)

    def _check(self) -> None:
        if self.is_dead:
            raise Unreachable("the process is dead", code="Dead", was_sent=False)


class World:
    """A stream, a function that notes what it gets, and life after life of the daemon."""

    def __init__(self, *, faults: FaultPlan | None = None, **options: Any) -> None:
        self.service = FakeKinesis(faults=faults)
        self.store = MemoryStore()
        self.destination = FakeDestination()
        self.options = options
        self.poison: set[str] = set()
        self.duration = 0.01
        self.calls: list[list[str]] = []
        self.succeeded: list[str] = []
        self.facts: list[Fact] = []
        self.stream: FakeStream
        self._ids = 0

    async def invoke(self, invocation: Invocation) -> Response:
        records = orjson.loads(invocation.payload)["Records"]
        names = [b64decode(record["kinesis"]["data"]).decode() for record in records]
        self.calls.append(names)
        await anyio.sleep(self.duration)
        if self.poison & set(names):
            return ERROR
        self.succeeded += names
        return Answered(b"")

    def put(self, key: str, *names: str) -> None:
        for name in names:
            self.service.put(self.stream, key, name.encode())

    async def live(self, until: Callable[[Stop, Daemon], Coroutine[Any, Any, bool]]) -> None:
        """`until` ends the life: true is a crash, false a stop."""
        stop, process = Stop(), Process(self.service, self.store)
        daemon = Daemon(
            {MappingName("m"): lambda: StreamMappingRunner(self._parts(stop, process))},
            stop=stop,
            grace_in_seconds=10,
            record=self.facts.append,
            luck=random.Random(1),
        )
        with anyio.CancelScope() as scope:

            async def end() -> None:
                if await until(stop, daemon):
                    process.is_dead = True
                    scope.cancel()
                else:
                    stop.begin()

            async with anyio.create_task_group() as group:
                group.start_soon(end)
                await daemon.run()

    def _parts(self, stop: Stop, process: Process) -> StreamParts:
        options = dict(self.options)
        filters = options.get("filters", ())
        mapping = StreamMapping(
            name=MappingName("m"),
            event_source_arn=self.stream.arn,
            function_name=FunctionName("f"),
            region="eu-west-1",
            uuid="u",
            **{"starting_position": "TRIM_HORIZON"} | options,
        )
        function = Function(
            name=FunctionName("f"),
            arn=Arn.parse("arn:aws:lambda:eu-west-1:123456789012:function:f"),
            kind=HttpService(urls=("http://function.fake",)),
            timeout_in_seconds=10,
            reserved_concurrency=50,
        )
        lane = LaneParts(
            mapping=mapping,
            function=function,
            target=self,
            gate=FunctionGate(50),
            destination=self.destination if mapping.on_failure else None,
            clock=VirtualClock(),
            luck=random.Random(1),
            new_request_id=self._new_id,
            record=self.facts.append,
            stop=stop,
        )
        return StreamParts(
            lane=lane,
            source=KinesisSource(process, arn=self.stream.arn, invoke_identity_arn=INVOKE_IDENTITY_ARN),
            store=process,
            filters=compile_filters(filters, data_key="data") if filters else None,
            budget=Budget(BYTES_OF_THE_PROCESS),
        )

    def _new_id(self) -> RequestId:
        self._ids += 1
        return RequestId(f"id-{self._ids}")


def stopping_after(seconds: float) -> Callable[[Stop, Daemon], Coroutine[Any, Any, bool]]:
    async def until(_stop: Stop, _daemon: Daemon) -> bool:
        await anyio.sleep(seconds)
        return False

    return until


def crashing_after(seconds: float) -> Callable[[Stop, Daemon], Coroutine[Any, Any, bool]]:
    async def until(_stop: Stop, _daemon: Daemon) -> bool:
        await anyio.sleep(seconds)
        return True

    return until


def play(world: World, main: Callable[[], Coroutine[Any, Any, None]], *, shards: int = 1) -> None:
    async def with_a_stream() -> None:
        world.stream = world.service.create_stream("clicks", shard_count=shards)
        await main()

    run_seeded(1, with_a_stream)


def names(key: str, count: int) -> list[str]:
    return [f"{key}/{number}" for number in range(count)]


def by_key(invoked: Sequence[str]) -> dict[str, list[int]]:
    order: defaultdict[str, list[int]] = defaultdict(list)
    for name in invoked:
        key, _, number = name.partition("/")
        order[key].append(int(number))
    return order


def assert_in_order(invoked: Sequence[str]) -> None:
    """For each key, the first time of each record comes in order, and none is left out before it."""
    for key, numbers in by_key(invoked).items():
        firsts = list(dict.fromkeys(numbers))
        assert firsts == sorted(firsts), f"{key}: {firsts}"
        assert firsts == list(range(len(firsts))), f"{key} has gaps: {firsts}"


def test_every_record_goes_once_and_in_order() -> None:
    world = World()

    async def main() -> None:
        for key in "abcdef":
            world.put(key, *names(key, 50))
        await world.live(stopping_after(10))

    play(world, main, shards=3)
    assert len(world.succeeded) == 300
    assert_in_order(world.succeeded)


@pytest.mark.parametrize("factor", [1, 4])
def test_a_split_and_a_merge_keep_the_order(factor: int) -> None:
    world = World(parallelization_factor=factor, batch_size=7)
    keys = [f"k{number}" for number in range(20)]
    sent: defaultdict[str, int] = defaultdict(int)

    def put_some() -> None:
        for key in keys:
            for _ in range(3):
                world.put(key, f"{key}/{sent[key]}")
                sent[key] += 1

    async def main() -> None:
        async def until(_stop: Stop, _daemon: Daemon) -> bool:
            put_some()
            await anyio.sleep(3)
            now = anyio.current_time()
            children = world.stream.split(world.stream.shards(now=now)[0].shard_id, now=now)
            put_some()
            await anyio.sleep(0.5)
            world.stream.merge(*children, now=anyio.current_time())
            put_some()
            await anyio.sleep(120)
            return False

        await world.live(until)

    play(world, main, shards=2)
    assert len(world.succeeded) == 180
    assert_in_order(world.succeeded)


def test_after_a_crash_only_what_was_not_stored_comes_again() -> None:
    world = World(batch_size=10)

    async def main() -> None:
        for key in "abc":
            world.put(key, *names(key, 200))
        world.duration = 0.1
        for seconds in (1.0, 1.3, 0.7):
            await world.live(crashing_after(seconds))
        await world.live(stopping_after(60))

    play(world, main, shards=2)
    assert set(world.succeeded) == {name for key in "abc" for name in names(key, 200)}
    assert len(world.succeeded) <= 600 + 3 * 2 * 2 * 10, "at each crash, two batches of each shard at most come again"
    assert_in_order(world.succeeded)


def test_a_clean_stop_repeats_nothing() -> None:
    world = World(batch_size=10)

    async def main() -> None:
        world.put("a", *names("a", 200))
        world.duration = 0.2
        for _ in range(5):
            await world.live(stopping_after(1.0))
        await world.live(stopping_after(60))

    play(world, main)
    assert world.succeeded == names("a", 200)


def test_a_poison_record_blocks_its_shard_only_until_it_is_reported() -> None:
    world = World(maximum_retry_attempts=2, bisect_batch_on_function_error=True, on_failure=FAILURES)
    world.poison = {"a/7"}

    async def main() -> None:
        world.put("a", *names("a", 20))
        world.put("b", *names("b", 20))
        await world.live(stopping_after(60))

    play(world, main)
    assert sorted(world.succeeded) == sorted({*names("a", 20), *names("b", 20)} - {"a/7"})
    assert [notice.batch.condition for notice in world.destination.taken] == ["RetryAttemptsExhausted"]


def test_a_blocked_shard_says_so_and_others_go_on() -> None:
    world = World()
    world.poison = {"a/0"}
    reasons: list[str | None] = []

    async def main() -> None:
        async def until(_stop: Stop, daemon: Daemon) -> bool:
            for key in "abcdefgh":
                world.put(key, *names(key, 5))
            await anyio.sleep(30)
            reasons.append(daemon.statuses()[0].reason)
            return False

        await world.live(until)

    play(world, main, shards=8)
    assert reasons == ["1 blocked: ValueError"]
    assert "a/0" not in world.succeeded
    assert len(world.succeeded) >= 5


def test_filtered_records_move_the_checkpoint() -> None:
    world = World(filters=('{"data": {"kind": ["click"]}}',))

    async def main() -> None:
        world.put("a", *['{"kind": "view"}'] * 30)
        await world.live(stopping_after(5))
        before = len(world.facts)
        await world.live(stopping_after(5))
        assert sum(fact.records for fact in world.facts[before:] if isinstance(fact, RecordsPolled)) == 0

    play(world, main)
    assert not world.calls


def test_latest_sees_what_comes_after_the_mapping_is_ready_even_over_a_restart() -> None:
    world = World(starting_position="LATEST")

    async def main() -> None:
        world.put("a", "a/old")
        await anyio.sleep(5)
        await world.live(crashing_after(2))
        world.put("a", "a/new")
        await world.live(stopping_after(5))

    play(world, main)
    assert world.succeeded == ["a/new"]


def test_throttles_and_lost_answers_cost_time_and_nothing_else() -> None:
    faults = FaultPlan(
        seed=3, throttle_rate=0.2, unreachable_rate=0.2, lost_answer_rate=0.2, latency_in_seconds=(0, 0.2), ends_at=200
    )
    world = World(faults=faults)

    async def main() -> None:
        for key in "abcdef":
            world.put(key, *names(key, 50))
        await world.live(stopping_after(400))

    play(world, main, shards=3)
    assert len(world.succeeded) == 300
    assert_in_order(world.succeeded)


def test_an_idle_shard_is_read_once_a_second() -> None:
    world = World()

    async def main() -> None:
        await world.live(stopping_after(60))

    play(world, main)
    assert 55 <= sum(isinstance(fact, RecordsPolled) for fact in world.facts) <= 62
