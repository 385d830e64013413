"""What do tests of one stream mapping live in? The real engine and source on a virtual clock, over a fake that behaves.

World ── a stream, a store, a destination, and a function that notes what it gets
  └ life after life: a supervisor with the one mapping, until a crash or a stop
"""

from __future__ import annotations

import random
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import orjson

from poller.core.filtering import compile_filters
from poller.engine.stop import Stop
from poller.engine.streams.budget import BYTES_OF_THE_PROCESS, Budget
from poller.engine.streams.lane import LaneContext
from poller.engine.streams.mapping import StreamContext, StreamMappingRunner
from poller.engine.streams.shards_in_hand import ShardsInHand
from poller.engine.supervisor import Runner, Supervisor
from poller.errors import Unreachable
from poller.facts import Fact
from poller.functions.opened import OpenFunction
from poller.functions.telling import Invocations
from poller.model.arn import Arn
from poller.model.function import Function, HttpService
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.invocation import Answered, FunctionError, Invocation, Response
from poller.model.mapping import AnyMapping, OnFailure, StreamMapping
from poller.model.stream import TrimHorizon
from poller.ports import CheckpointStore, StreamSource
from poller.sources.kinesis import KinesisSource, known
from poller.stores.memory import MemoryStore
from tests.fakes.clock import VirtualClock, service_clock
from tests.fakes.destinations import FakeDestination
from tests.fakes.faults import FaultPlan
from tests.fakes.kinesis import INVOKE_IDENTITY_ARN, FakeKinesis
from tests.fakes.pauses import FakePauses
from tests.fakes.series import FakeSeries
from tests.fakes.stream import FakeStream
from tests.fakes.stream_service import FakeStreamService
from tests.simulation.world import run_seeded

FAILURES = OnFailure(destination_arn=Arn.parse("arn:aws:sqs:eu-west-1:123456789012:failures"))
ERROR = FunctionError(error_type="ValueError", message="by plan")
FUNCTION = Function(
    name=FunctionName("f"),
    arn=Arn.parse("arn:aws:lambda:eu-west-1:123456789012:function:f"),
    kind=HttpService(urls=("http://function.fake",)),
    timeout_in_seconds=10,
    reserved_concurrency=50,
)


class Process:
    """The way of one process to the stream, and to the store. Once it is dead, nothing goes through any more."""

    def __init__(self, service: FakeStreamService, store: CheckpointStore, *, ours: VirtualClock) -> None:
        self.clock = service_clock(ours)
        self._service = service
        self.store = store
        self.is_dead = False

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        self._check()
        asked_at = anyio.current_time()
        answer = await self._service.call(operation, body, timeout_in_seconds=timeout_in_seconds)
        self.clock.heard(self._service.date, asked_at=asked_at)
        return answer

    async def load(self, *arguments: Any) -> Any:
        self._check()
        return await self.store.load(*arguments)

    async def save(self, *arguments: Any) -> Any:
        await anyio.sleep(0.01)
        self._check()
        return await self.store.save(*arguments)

    async def forget(self, *arguments: Any) -> None:
        self._check()
        await self.store.forget(*arguments)

    async def starting_position(self, *arguments: Any) -> Any:
        self._check()
        return await self.store.starting_position(*arguments)

    def _check(self) -> None:
        if self.is_dead:
            raise Unreachable("the process is dead", code="Dead", was_sent=False)


class World:
    """A stream, a function that notes what it gets, and life after life of the daemon."""

    def __init__(self, *, faults: FaultPlan | None = None, **options: Any) -> None:
        self.service = FakeKinesis(faults=faults)
        self.clock = VirtualClock()
        self.store = MemoryStore(self.clock.now)
        self.destination = FakeDestination()
        self.options = options
        self.poison: set[str] = set()
        self.duration = 0.01
        self.budget_in_bytes = BYTES_OF_THE_PROCESS
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

    def create_stream(self, **settings: Any) -> None:
        """`settings` are FakeStream's fields."""
        self.stream = self.service.create_stream("clicks", **settings)

    def put(self, key: str, *names: str) -> None:
        for name in names:
            self.service.put(self.stream, key, name.encode())

    @property
    def client(self) -> FakeStreamService:
        return self.service

    def source(self, process: Process) -> StreamSource:
        return KinesisSource(process, arn=self.stream.arn, reader=known(INVOKE_IDENTITY_ARN))

    async def live(self, until: Callable[[Stop, Supervisor], Coroutine[Any, Any, bool]]) -> None:
        """`until` ends the life: true is a crash, false a stop."""
        stop, process = Stop(), Process(self.client, self.store, ours=self.clock)
        shards = ShardsInHand()

        @asynccontextmanager
        async def open_runner(_mapping: AnyMapping, _function: Function, stop: Stop) -> AsyncIterator[Runner]:
            await anyio.lowlevel.checkpoint()
            yield StreamMappingRunner(replace(self._parts(stop, process), in_hand=shards))

        supervisor = Supervisor(
            open_runner,
            pauses=FakePauses(),
            series=FakeSeries(),
            stop=stop,
            grace_in_seconds=10,
            clock=self.clock,
            emit=self.facts.append,
            randomness=random.Random(1),
        )
        with anyio.CancelScope() as scope:

            async def end() -> None:
                if await until(stop, supervisor):
                    process.is_dead = True
                    scope.cancel()
                else:
                    stop.begin()

            async with anyio.create_task_group() as group:
                group.start_soon(end)
                async with supervisor.running():
                    await supervisor.add(self._mapping(), FUNCTION)
                    supervisor.begin()

    def _mapping(self) -> StreamMapping:
        return StreamMapping(
            name=MappingName("m"),
            event_source_arn=self.stream.arn,
            function_name=FUNCTION.name,
            region="eu-west-1",
            uuid="u",
            **{"starting_position": TrimHorizon()} | self.options,
        )

    def _parts(self, stop: Stop, process: Process) -> StreamContext:
        mapping = self._mapping()
        source = self.source(process)
        lane = LaneContext(
            mapping=mapping,
            function=OpenFunction(FUNCTION, self),
            invocations=Invocations(
                mapping=mapping.name, function=FUNCTION.name, clock=self.clock, emit=self.facts.append
            ),
            destination=self.destination if mapping.on_failure else None,
            clock=self.clock,
            source_clock=source.clock,
            randomness=random.Random(1),
            new_request_id=self._new_id,
            emit=self.facts.append,
            stop=stop,
        )
        return StreamContext(
            lane=lane,
            source=source,
            store=process,
            filters=compile_filters(mapping.filters, data_key="data") if mapping.filters else None,
            budget=Budget(self.budget_in_bytes),
            in_hand=ShardsInHand(),
        )

    def _new_id(self) -> RequestId:
        self._ids += 1
        return RequestId(f"id-{self._ids}")


def stopping_after(seconds: float) -> Callable[[Stop, Supervisor], Coroutine[Any, Any, bool]]:
    async def until(_stop: Stop, _supervisor: Supervisor) -> bool:
        await anyio.sleep(seconds)
        return False

    return until


def crashing_after(seconds: float) -> Callable[[Stop, Supervisor], Coroutine[Any, Any, bool]]:
    async def until(_stop: Stop, _supervisor: Supervisor) -> bool:
        await anyio.sleep(seconds)
        return True

    return until


def play(
    world: World, main: Callable[[], Coroutine[Any, Any, None]], *, shards: int = 1, seed: int = 1, **settings: Any
) -> None:
    """`settings` are the stream's."""

    async def with_a_stream() -> None:
        world.create_stream(shard_count=shards, **settings)
        await main()

    run_seeded(seed, with_a_stream)
