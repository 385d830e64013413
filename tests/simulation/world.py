"""What surrounds the daemon in a simulation? Sources and functions that outlive it, a virtual clock, and faults by
seed.

    World ── queues (tests/fakes/sqs.py), streams (kinesis.py, dynamodb_streams.py), functions, destinations, a store
      └ one process after another (life.py): a supervisor over the real engine and sources, until a crash or a stop

The scheduler's randomness is seeded, too, so that a seed replays exactly: `run_seeded(seed, ...)`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import anyio
import trio
import trio._core._run as trio_run
from trio.testing import MockClock

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS
from poller.engine.streams.budget import BYTES_OF_THE_PROCESS
from poller.facts import Fact, MappingReady
from poller.model.arn import Arn
from poller.model.function import Function, HttpService
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import OnFailure, QueueMapping, StreamMapping
from poller.model.order import Ends
from poller.model.stream import TrimHorizon
from poller.ports import StreamSource
from poller.sources.client import Client
from poller.sources.dynamodb_streams import DynamoDbStreamsSource
from poller.sources.kinesis import KinesisSource
from tests.fakes.clock import VirtualClock
from tests.fakes.destinations import FakeDestination
from tests.fakes.faults import FaultPlan
from tests.fakes.kinesis import INVOKE_IDENTITY_ARN, always
from tests.fakes.pauses import FakePauses
from tests.fakes.queue import FakeQueue
from tests.fakes.sqs import FakeSqs
from tests.fakes.store import FakeStore
from tests.fakes.target import Call, FakeTarget, FunctionPlan
from tests.simulation.life import Life
from tests.simulation.process import Killed, Notes
from tests.simulation.streams import SimulatedStream

T = TypeVar("T")

FAILURES = Arn.parse("arn:aws:sqs:eu-west-1:123456789012:failures")


Beside = Callable[[Life], Coroutine[Any, Any, None]]
"""A script that runs at the same time as one process of the daemon, and may end the process."""

ClockStep = tuple[float, float]
"""The time at which the daemon's clock is set, and by how many seconds it is ahead from then on."""


def draw_clock(randomness: random.Random, until: float) -> tuple[ClockStep, ...]:
    """Return the steps of a clock that is right, wrong, or set several times."""
    if randomness.random() < 0.5:
        return ()
    wrong = [-7200.0, -130.0, -1.5, 1.5, 130.0, 7200.0]
    moments = [0.0, *sorted(randomness.uniform(0.0, until) for _ in range(randomness.choice([0, 1, 4])))]
    return tuple((at, randomness.choice([0.0, *wrong])) for at in moments)


def run_seeded(
    seed: int, main: Callable[..., Awaitable[T]], *args: Any, instruments: Sequence[trio.abc.Instrument] = ()
) -> T:
    """Run `main` on a virtual clock that skips all waiting. The seed sets the scheduler's randomness."""
    vars(trio_run)["_ALLOW_DETERMINISTIC_SCHEDULING"] = True  # trio has no public switch; Hypothesis does the same
    trio_run._r.seed(seed)
    options = {"clock": MockClock(autojump_threshold=0), "instruments": instruments}
    return anyio.run(main, *args, backend="trio", backend_options=options)


class Steps(trio.abc.Instrument):
    """Keeps the name of the task of each step of the scheduler, in order."""

    def __init__(self) -> None:
        self.tasks: list[str] = []

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.tasks.append(task.name)


class World:
    """Everything that outlives a process.

    Add sources, functions and mappings, and then run processes of the daemon in it.

    `clock` is the daemon's own clock. The clocks of the services are right.
    `facts` has the facts of all processes, in order. `ready_at` has the time at which each mapping was ready for the
    first time.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        faults: FaultPlan | None = None,
        grace_in_seconds: float = 30.0,
        store: FakeStore | None = None,
        budget_in_bytes: int = BYTES_OF_THE_PROCESS,
    ) -> None:
        self.sqs = FakeSqs(seed=seed, faults=faults)
        self.randomness = random.Random(seed)
        self.clock = VirtualClock()
        self.clock_was_wrong = False
        self.grace_in_seconds = grace_in_seconds
        self.store = store or FakeStore()
        self.pauses = FakePauses()
        self.budget_in_bytes = budget_in_bytes
        self.queues: dict[str, FakeQueue] = {}
        self.streams: dict[Arn, SimulatedStream] = {}
        self.targets: dict[str, FakeTarget] = {}
        self.functions: dict[str, Function] = {}
        self.changing: set[str] = set()
        """The functions that are being replaced. Some runs may still have the old function."""
        self.destinations: dict[str, FakeDestination] = {}
        self.mappings: list[QueueMapping] = []
        self.stream_mappings: list[StreamMapping] = []
        self.facts: list[Fact] = []
        self.ready_at: dict[str, float] = {}
        self.notes = Notes()
        self.lives: list[Life] = []
        self.lease_duration = LEASE_DURATION_IN_SECONDS
        """A scene that lasts for a day may set a longer one, because an idle worker has something to do each second."""
        self.crash_rate = 0.0
        """The chance of a fault in poller itself during an invocation, from 0 to 1, until `crashes_end_at`."""
        self.crashes_end_at = 0.0
        self._crash_randomness = random.Random(seed)
        self.has_orders = False
        """Whether a person gives orders about blocked shards (`orders.py`)."""
        self.discards_ordered: set[Ends] = set()

    def add_queue(self, name: str, **settings: Any) -> FakeQueue:
        """Add a queue. `settings` are fields of FakeQueue."""
        self.queues[name] = self.sqs.create_queue(name, **settings)
        return self.queues[name]

    def add_stream(self, stream: SimulatedStream) -> SimulatedStream:
        self.streams[stream.arn] = stream
        return stream

    def add_function(
        self,
        name: str,
        plan: FunctionPlan | None = None,
        *,
        target: FakeTarget | None = None,
        timeout_in_seconds: float = 10.0,
        concurrency: int = 10,
    ) -> FakeTarget:
        self.targets[name] = target or FakeTarget(plan)
        self.functions[name] = Function(
            name=FunctionName(name),
            arn=Arn.parse(f"arn:aws:lambda:eu-west-1:123456789012:function:{name}"),
            kind=HttpService(urls=("http://function.fake",)),
            timeout_in_seconds=timeout_in_seconds,
            reserved_concurrency=concurrency,
        )
        return self.targets[name]

    def add_mapping(self, name: str, queue: FakeQueue, function: str, **options: Any) -> QueueMapping:
        """Add a mapping of a queue. `options` are fields of QueueMapping."""
        mapping = QueueMapping(
            name=MappingName(name),
            event_source_arn=queue.arn,
            function_name=FunctionName(function),
            region="eu-west-1",
            **options,
        )
        self.mappings.append(mapping)
        return mapping

    def add_stream_mapping(
        self,
        name: str,
        stream: SimulatedStream,
        function: str,
        *,
        destination: FakeDestination | None = None,
        if_unreachable: Any = "wait",
        **options: Any,
    ) -> StreamMapping:
        """Add a mapping of a stream. `options` are fields of StreamMapping. By default, it begins at TRIM_HORIZON."""
        if destination is not None:
            self.destinations[name] = destination
            options["on_failure"] = OnFailure(destination_arn=FAILURES, if_unreachable=if_unreachable)
        mapping = StreamMapping(
            name=MappingName(name),
            event_source_arn=stream.arn,
            function_name=FunctionName(function),
            region="eu-west-1",
            uuid=name,
            **{"starting_position": TrimHorizon()} | options,
        )
        self.stream_mappings.append(mapping)
        return mapping

    async def set_clock(self, steps: Sequence[ClockStep]) -> None:
        """Let the daemon's own clock be wrong. Each step sets the clock at its time."""
        for at, ahead in steps:
            await anyio.sleep(max(0.0, at - anyio.current_time()))
            self.clock.ahead = ahead
            self.clock_was_wrong |= ahead != 0

    @property
    def all_mappings(self) -> Sequence[QueueMapping | StreamMapping]:
        return [*self.mappings, *self.stream_mappings]

    def queue_of(self, mapping: QueueMapping) -> FakeQueue:
        return self.queues[mapping.event_source_arn.resource]

    def source(self, mapping: StreamMapping, client: Client) -> StreamSource:
        """Return the source of a mapping. `client` is the client with which its process calls the service."""
        if mapping.is_kinesis:
            return KinesisSource(client, arn=mapping.event_source_arn, reader=always(INVOKE_IDENTITY_ARN))
        return DynamoDbStreamsSource(client, arn=mapping.event_source_arn)

    def calls_of(self, mapping: QueueMapping | StreamMapping) -> list[Call]:
        return [call for call in self.targets[mapping.function_name].calls if call.mapping == mapping.name]

    def facts_of(self, *kinds: type[T]) -> list[T]:
        return [fact for fact in self.facts if isinstance(fact, kinds)]

    def draw_crash(self) -> bool:
        is_possible = self.crash_rate > 0 and anyio.current_time() < self.crashes_end_at
        return is_possible and self._crash_randomness.random() < self.crash_rate

    def note(self, fact: Fact) -> None:
        self.facts.append(fact)
        if isinstance(fact, MappingReady):
            self.ready_at.setdefault(fact.mapping, anyio.current_time())

    async def live(self, until: Beside, *, beside: Beside | None = None) -> Life:
        """Run one process from its start to its end.

        `until` runs at the same time, and ends it by `crash` or by its stop.
        """
        life = Life(self)
        self.lives.append(life)
        try:
            with life.scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(until, life)
                    if beside is not None:
                        group.start_soon(beside, life)
                    await life.run()
                    group.cancel_scope.cancel()
        except* Killed:
            assert life.has_crashed
        life.ended_at = anyio.current_time()
        return life
