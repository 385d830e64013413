"""What does the daemon live in? Queues and functions that outlive it, a virtual clock, faults and crashes by seed.

    World ── queues (tests/fakes/sqs.py), functions (tests/fakes/target.py)
      └ life after life: a Daemon over the real engine and the real SQS source, until a crash, a stop, or all is done

A crash is `kill -9`: from that moment on, no call of the dead process reaches anything.
The scheduler's luck is seeded too, so that a seed replays to the letter: `run_seeded(seed, ...)`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import anyio
import trio._core._run as trio_run
from trio.testing import MockClock

from poller.core.filtering import compile_filters
from poller.engine.daemon import Daemon, Runner
from poller.engine.permits import FunctionGate
from poller.engine.queue_mapping import QueueMappingRunner, QueueParts
from poller.engine.stop import Stop
from poller.errors import Unreachable
from poller.model.arn import Arn
from poller.model.function import Function, HttpService
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.mapping import QueueMapping
from poller.sources.sqs import SqsSource
from poller.telemetry.facts import Fact
from tests.fakes.clock import VirtualClock
from tests.fakes.faults import FaultPlan
from tests.fakes.queue import FakeQueue
from tests.fakes.sqs import FakeSqs
from tests.fakes.target import FakeTarget, FunctionPlan

T = TypeVar("T")


def run_seeded(seed: int, main: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run `main` on a virtual clock that jumps, with the scheduler's luck fixed by the seed."""
    vars(trio_run)["_ALLOW_DETERMINISTIC_SCHEDULING"] = True  # what Hypothesis does too; trio has no public switch
    trio_run._r.seed(seed)
    clock = MockClock(autojump_threshold=0)
    return anyio.run(main, *args, backend="trio", backend_options={"clock": clock})


class ProcessCaller:
    """The way of one process to SQS. Once the process is dead, nothing goes through any more."""

    def __init__(self, sqs: FakeSqs) -> None:
        self._sqs = sqs
        self.is_dead = False

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        if self.is_dead:
            raise Unreachable("the process is dead", code="Dead", was_sent=False)
        return await self._sqs.call(operation, body, timeout_in_seconds=timeout_in_seconds)


class World:
    """What outlives a process. Add queues, functions and mappings, then let the daemon live in it.

    `facts` are those of all lives, in order.
    """

    def __init__(self, *, seed: int = 0, faults: FaultPlan | None = None, grace_in_seconds: float = 30.0) -> None:
        self.sqs = FakeSqs(seed=seed, faults=faults)
        self.luck = random.Random(seed)
        self.grace_in_seconds = grace_in_seconds
        self.queues: dict[str, FakeQueue] = {}
        self.targets: dict[str, FakeTarget] = {}
        self.functions: dict[str, Function] = {}
        self.mappings: list[QueueMapping] = []
        self.facts: list[Fact] = []
        self.lives: list[Life] = []

    def add_queue(self, name: str, **settings: Any) -> FakeQueue:
        """`settings` are FakeQueue's fields."""
        self.queues[name] = self.sqs.create_queue(name, **settings)
        return self.queues[name]

    def add_function(
        self, name: str, plan: FunctionPlan | None = None, *, timeout_in_seconds: float = 10.0, concurrency: int = 10
    ) -> FakeTarget:
        self.targets[name] = FakeTarget(plan)
        self.functions[name] = Function(
            name=FunctionName(name),
            arn=Arn.parse(f"arn:aws:lambda:eu-west-1:123456789012:function:{name}"),
            kind=HttpService(urls=("http://function.fake",)),
            timeout_in_seconds=timeout_in_seconds,
            reserved_concurrency=concurrency,
        )
        return self.targets[name]

    def add_mapping(self, name: str, queue: FakeQueue, function: str, **options: Any) -> QueueMapping:
        """`options` are QueueMapping's fields."""
        mapping = QueueMapping(
            name=MappingName(name),
            event_source_arn=queue.arn,
            function_name=FunctionName(function),
            region="eu-west-1",
            **options,
        )
        self.mappings.append(mapping)
        return mapping

    def queue_of(self, mapping: QueueMapping) -> FakeQueue:
        return self.queues[mapping.event_source_arn.resource]

    def facts_of(self, kind: type[T]) -> list[T]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    async def live(self, until: Callable[[Life], Coroutine[Any, Any, None]]) -> Life:
        """One process, from start to end. `until` runs beside it and ends it with `crash`, or by beginning its stop."""
        life = Life(self)
        self.lives.append(life)
        with life.scope:
            async with anyio.create_task_group() as group:
                group.start_soon(until, life)
                await life.daemon.run()
                life.ended_at = anyio.current_time()
                group.cancel_scope.cancel()
        return life


class Life:
    """One process of the daemon."""

    def __init__(self, world: World) -> None:
        self.stop = Stop()
        self.scope = anyio.CancelScope()
        self.caller = ProcessCaller(world.sqs)
        self.ended_at: float | None = None
        self._request_ids = 0
        self._world = world
        self.runners: dict[MappingName, QueueMappingRunner] = {}
        gates = {name: FunctionGate(function.reserved_concurrency) for name, function in world.functions.items()}
        self.daemon = Daemon(
            {mapping.name: self._maker(mapping, gates) for mapping in world.mappings},
            stop=self.stop,
            grace_in_seconds=world.grace_in_seconds,
            record=world.facts.append,
            luck=world.luck,
        )

    def crash(self) -> None:
        self.caller.is_dead = True
        self.scope.cancel()

    def _maker(self, mapping: QueueMapping, gates: dict[str, FunctionGate]) -> Callable[[], Runner]:
        world = self._world
        queue = world.queue_of(mapping)
        function = world.functions[mapping.function_name]
        parts = QueueParts(
            mapping=mapping,
            function=function,
            source=SqsSource(
                self.caller,
                arn=queue.arn,
                queue_url=world.sqs.url(queue),
                has_batching_window=mapping.maximum_batching_window_in_seconds > 0,
            ),
            target=world.targets[mapping.function_name],
            gate=gates[mapping.function_name],
            filters=compile_filters(mapping.filters, data_key="body") if mapping.filters else None,
            clock=VirtualClock(),
            luck=world.luck,
            new_request_id=self._new_request_id,
            record=world.facts.append,
            stop=self.stop,
        )

        def make() -> Runner:
            runner = self.runners[mapping.name] = QueueMappingRunner(parts)
            return runner

        return make

    def _new_request_id(self) -> RequestId:
        self._request_ids += 1
        return RequestId(f"{len(self._world.lives)}-{self._request_ids}")
