"""What surrounds a test of one stream mapping? A world with one stream and its mapping `m`. Its records have names.

The world itself is the function: it keeps the names of the records of each invocation, and fails with the records in
`poison`. A test can override `invoke` or `source` to change the function or the source.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import orjson

from poller.model.invocation import Answered, FunctionError, Invocation, Response
from poller.model.mapping import OnFailure, StreamMapping
from tests.fakes.destinations import FakeDestination
from tests.fakes.dynamodb_streams import FakeDynamoDbStreams, FakeTable
from tests.fakes.faults import FaultPlan
from tests.fakes.kinesis import FakeKinesis
from tests.fakes.stream import FakeStream
from tests.fakes.target import FakeTarget
from tests.simulation.life import Life
from tests.simulation.streams import DynamoDbStream, KinesisStream, SimulatedStream
from tests.simulation.world import FAILURES as FAILURES_QUEUE
from tests.simulation.world import Beside, World, run_seeded

FAILURES = OnFailure(destination_arn=FAILURES_QUEUE)
ERROR = FunctionError(error_type="ValueError", message="by plan")


class OneStreamWorld(World, ABC):
    """The world of one stream. `options` are fields of StreamMapping. Each life begins with their present values.

    `calls` has the names of the records of each invocation. `succeeded` has the names of the records that have
    succeeded, and `succeeded_at` the times.
    """

    stream: FakeStream

    def __init__(self, **options: Any) -> None:
        super().__init__(seed=1, grace_in_seconds=10)
        self.options = options
        self.destination = FakeDestination()
        self.poison: set[str] = set()
        self.duration = 0.01
        self.calls: list[list[str]] = []
        self.succeeded: list[str] = []
        self.succeeded_at: list[float] = []
        self.add_function("f", target=_Function(self), concurrency=50)

    @abstractmethod
    def new_stream(self, **settings: Any) -> SimulatedStream:
        """Create the stream. `settings` are fields of FakeStream."""

    @abstractmethod
    def put_one(self, key: str = "a", name: str = "") -> str:
        """Put a record, and return its sequence number."""

    def put(self, key: str, *names: str) -> None:
        for name in names:
            self.put_one(key, name)

    def create_stream(self, **settings: Any) -> None:
        self.stream = self.add_stream(self.new_stream(**settings)).stream

    async def invoke(self, invocation: Invocation) -> Response:
        names = [name_of(record) for record in orjson.loads(invocation.payload)["Records"]]
        self.calls.append(names)
        await anyio.sleep(self.duration)
        if self.poison & set(names):
            return ERROR
        self.succeeded += names
        self.succeeded_at += [anyio.current_time()] * len(names)
        return Answered(b"")

    @property
    def mapping(self) -> StreamMapping:
        return self.stream_mappings[0]

    async def live(self, until: Beside, *, beside: Beside | None = None) -> Life:
        self.stream_mappings.clear()
        self.add_stream_mapping("m", self.streams[self.stream.arn], "f", **self.options)
        if self.mapping.on_failure is not None:
            self.destinations["m"] = self.destination
        return await super().live(until, beside=beside)


class KinesisWorld(OneStreamWorld):
    """A Kinesis stream, in which the data of each record is its name."""

    def __init__(self, *, faults: FaultPlan | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.service = FakeKinesis(faults=faults)

    def new_stream(self, **settings: Any) -> SimulatedStream:
        return KinesisStream("clicks", service=self.service, **settings)

    def put_one(self, key: str = "a", name: str = "") -> str:
        return self.service.put(self.stream, key, name.encode())

    def put_at(self, hash_key: int, name: str, *, key: str = "") -> str:
        """Put a record into the shard that has this hash key, and return its sequence number."""
        return self.service.put(self.stream, key, name.encode(), hash_key=hash_key)


class TableWorld(OneStreamWorld):
    """A table's stream, whose reads do not say how far they are behind. The new image of each record has its name."""

    def __init__(self, *, service: FakeDynamoDbStreams | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.service = service or FakeDynamoDbStreams()
        self.table: FakeTable
        self._puts = 0

    def new_stream(self, **settings: Any) -> SimulatedStream:
        stream = DynamoDbStream("users", service=self.service, **settings)
        self.table = stream.table
        return stream

    def put_one(self, key: str = "a", name: str = "") -> str:
        self._puts += 1
        number = self.table.put_item({"id": {"S": key}, "name": {"S": name}, "version": {"N": str(self._puts)}})
        assert number is not None, "each put changes the version"
        return number


def play(
    world: OneStreamWorld,
    main: Callable[[], Coroutine[Any, Any, None]],
    *,
    shards: int = 1,
    seed: int = 1,
    **settings: Any,
) -> None:
    """Create the stream of the world, and run `main` on a virtual clock. `settings` are fields of FakeStream."""

    async def with_a_stream() -> None:
        world.create_stream(shard_count=shards, **settings)
        await main()

    run_seeded(seed, with_a_stream)


def play_life(world: OneStreamWorld, until: Beside, *, beside: Beside | None = None, **options: Any) -> None:
    """Create the stream of the world, and run one process. `options` are arguments of `play`."""

    async def main() -> None:
        await world.live(until, beside=beside)

    play(world, main, **options)


def name_of(record: dict[str, Any]) -> str:
    if "kinesis" in record:
        return b64decode(record["kinesis"]["data"]).decode()
    return str(record["dynamodb"]["NewImage"]["name"]["S"])


class _Function(FakeTarget):
    """The target that invokes the world."""

    def __init__(self, world: OneStreamWorld) -> None:
        super().__init__()
        self._world = world

    async def invoke(self, invocation: Invocation) -> Response:
        return await self._world.invoke(invocation)
