"""Which world does a seed draw for a shape? Streams, functions, mappings and a load of records."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from poller.model.mapping import StreamMapping
from poller.model.stream import AtTimestamp, Latest, StartingPosition, TrimHorizon
from tests.fakes.clock import EPOCH
from tests.fakes.destinations import FakeDestination
from tests.fakes.dynamodb_streams import FakeDynamoDbStreams
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.fakes.kinesis import FakeKinesis
from tests.fakes.store import FakeStore
from tests.fakes.target import FunctionPlan
from tests.simulation.scenario import Load
from tests.simulation.stream_shape import TROUBLE_ENDS_AT, StreamShape
from tests.simulation.streams import CANARY, DynamoDbStream, KinesisStream, SimulatedStream
from tests.simulation.world import World

FOR_EVER = 1e9


class Drawing:
    """The world that was drawn. `load` are the puts and reshards to come.

    `matching` and `sizes` describe the records that were put.
    """

    def __init__(self, shape: StreamShape) -> None:
        self.shape = shape
        randomness = Random(shape.seed + 1)
        self.world = World(
            seed=shape.seed,
            grace_in_seconds=randomness.choice([0.5, 5.0, 60.0]),
            store=FakeStore(faults=self._store_faults(randomness)),
            budget_in_bytes=shape.budget_in_bytes,
        )
        self.load: Load = []
        self.matching: dict[tuple[str, str], bool] = {}
        self.sizes: dict[tuple[str, str], int] = {}
        self._has_function_of_its_own = randomness.random() < 0.3
        for number in range(shape.mappings):
            self._add_mapping(number, randomness)
        if shape.has_queue:
            self._add_queue(shape.mappings, randomness)

    def _store_faults(self, randomness: Random) -> FaultPlan:
        latency = (0.0, randomness.choice([0.0, 0.01, 0.5]))
        if not self.shape.has_store_faults:
            return FaultPlan(seed=self.shape.seed, latency_in_seconds=latency)
        return FaultPlan(
            seed=self.shape.seed,
            latency_in_seconds=latency,
            unreachable_rate=randomness.choice([0.05, 0.3]),
            lost_answer_rate=randomness.choice([0.05, 0.2]),
            slow_answer_rate=0.05,
            slow_answer_in_seconds=randomness.choice([1.0, 8.0]),
            outages=_outages(randomness, Fault.UNREACHABLE),
            ends_at=TROUBLE_ENDS_AT,
        )

    def _faults(self, randomness: Random, *codes: Fault) -> FaultPlan:
        if self.shape.kind == "neighbour":
            return FaultPlan(seed=self.shape.seed, latency_in_seconds=(0.0, randomness.choice([0.0, 0.05])))
        rate = randomness.choice([0.0, 0.04, 0.2])
        return FaultPlan(
            seed=randomness.randrange(2**32),
            latency_in_seconds=(0.0, randomness.choice([0.0, 0.01, 0.15])),
            throttle_rate=rate / 2,
            unreachable_rate=rate / 2,
            lost_answer_rate=rate / 2,
            slow_answer_rate=rate / 4,
            slow_answer_in_seconds=randomness.choice([1.0, 5.0, 12.0]),
            outages=_outages(randomness, *codes),
            ends_at=TROUBLE_ENDS_AT,
        )

    def _function(self, number: int, randomness: Random) -> str:
        """Draw one function for all mappings, or one function for each mapping."""
        name = f"function-{number if self._has_function_of_its_own else 0}"
        if name not in self.world.functions:
            trouble = randomness.choice([0.0, 0.1, 0.4]) if self.shape.kind == "trouble" else 0.0
            timeout = randomness.choice([1.0, 5.0]) if self.shape.kind == "trouble" else 0.3
            plan = FunctionPlan(
                seed=randomness.randrange(2**32),
                duration_in_seconds=(0.0, randomness.choice([0.01, 0.3, timeout])),
                throttle_rate=randomness.choice([0.0, 0.1, 0.5]) if self.shape.kind == "trouble" else 0.0,
                failure_rate=trouble / 2,
                lost_answer_rate=trouble / 4,
                item_failure_rate=trouble / 8,
                names_failures=randomness.random() < 0.5,
                largest_event=self._largest_event(name),
                ends_at=TROUBLE_ENDS_AT,
            )
            self.world.add_function(name, plan, timeout_in_seconds=timeout, concurrency=self.shape.concurrency)
        return name

    def _largest_event(self, function: str) -> int | None:
        """Draw a size limit for events.

        Every record fits with any state of a window, and a large batch does not fit.
        """
        is_limited = self.shape.kind == "trouble" and Random(f"{self.shape.seed} {function}").random() < 0.4
        return 20_000 if is_limited else None

    def _add_mapping(self, number: int, randomness: Random) -> None:
        stream = self._stream(number, randomness)
        function = self._function(number, randomness)
        plan = self.world.targets[function].plan
        options = self._options(stream, plan, randomness)
        destination = None
        if randomness.random() < 0.7:
            destination = FakeDestination(faults=self._faults(randomness, Fault.ACCESS_DENIED, Fault.UNREACHABLE))
            options["if_unreachable"] = randomness.choice(["wait", "wait", "drop"])
        is_limited = options["maximum_retry_attempts"] is not None or options["maximum_record_age_in_seconds"]
        poison_rate = randomness.choice([0.0, 0.05]) if is_limited else 0.0
        if self.shape.kind == "neighbour" and number == 0:
            destination, poison_rate = self._break(stream, options, randomness), 1.0
        mapping = self.world.add_stream_mapping(
            f"mapping-{number}", stream, function, destination=destination, **options
        )
        self._draw_load(mapping, stream, plan, poison_rate, randomness)

    def _add_queue(self, number: int, randomness: Random) -> None:
        """Add a queue to the streams. Its mapping may invoke the same function."""
        queue, function = (
            self.world.add_queue("orders", visibility_timeout_in_seconds=30),
            self._function(number, randomness),
        )
        names_failures = self.world.targets[function].plan.names_failures
        self.world.add_mapping("orders", queue, function, report_batch_item_failures=names_failures)
        for serial in range(self.shape.records):
            body = f"{CANARY}-{serial}"
            self.load.append((randomness.uniform(0, TROUBLE_ENDS_AT), partial(self.world.sqs.send, queue, body)))

    def _break(self, stream: SimulatedStream, options: dict[str, Any], randomness: Random) -> FakeDestination | None:
        """Break a mapping permanently: its source is deleted, or every record fails.

        In the second case, the destination may fail, too.
        """
        what = randomness.choice(["source", "function", "destination"])
        if what == "source":
            outage = Outage(0, FOR_EVER, randomness.choice([Fault.NOT_FOUND, Fault.THROTTLED]))
            stream.service.faults = FaultPlan(outages=[outage])
            return None
        options |= {"maximum_retry_attempts": None, "maximum_record_age_in_seconds": None}
        if what == "function":
            return None
        options |= {"maximum_retry_attempts": 0, "if_unreachable": "wait"}
        return FakeDestination(faults=FaultPlan(outages=[Outage(0, FOR_EVER, Fault.ACCESS_DENIED)]))

    def _stream(self, number: int, randomness: Random) -> SimulatedStream:
        faults = self._faults(randomness, Fault.UNREACHABLE, Fault.ACCESS_DENIED, Fault.THROTTLED)
        rate = randomness.choice([0.0, 0.05]) if self.shape.kind == "trouble" else 0.0
        settings: dict[str, Any] = {
            "shard_count": self.shape.shards if number == 0 else randomness.choice([1, 2]),
            "retention_in_seconds": self.shape.retention_in_seconds,
            "empty_read_rate": rate * 2,
            "short_read_rate": rate * 4,
            "late_end_rate": randomness.choice([0.0, 0.5]),
            "early_expiry_rate": rate,
        }
        stream: SimulatedStream
        if randomness.random() < 0.65:
            kinesis = FakeKinesis(seed=self.shape.seed * 10 + number, faults=faults)
            stream = KinesisStream(f"clicks-{number}", service=kinesis, **settings)
        else:
            settings["shard_lifetime_in_seconds"] = randomness.choice([14_400.0, 30.0])
            settings["split_at_rollover_rate"] = 0.2
            tables = FakeDynamoDbStreams(seed=self.shape.seed * 10 + number, faults=faults)
            stream = DynamoDbStream(f"users-{number}", service=tables, **settings)
        return self.world.add_stream(stream)

    def _options(self, stream: SimulatedStream, plan: FunctionPlan, randomness: Random) -> dict[str, Any]:
        is_kinesis = isinstance(stream, KinesisStream)
        starting: StartingPosition | None = randomness.choice(  # None means AtTimestamp; its time is drawn below
            [TrimHorizon(), TrimHorizon(), Latest(), None if is_kinesis else Latest()]
        )
        is_trouble = self.shape.kind == "trouble"
        has_windows = randomness.random() < 0.2
        timestamp = EPOCH + randomness.uniform(0, self.shape.begins_at)
        return {
            "starting_position": starting or AtTimestamp(timestamp),
            "batch_size": randomness.choice([1, 3, 10, 100]),
            "maximum_batching_window_in_seconds": randomness.choice([0, 0, 1, 5]),
            "tumbling_window_in_seconds": randomness.choice([3, 10, 30]) if has_windows else None,
            "filters": (stream.filter,) if randomness.random() < 0.4 and not has_windows else (),
            "report_batch_item_failures": plan.names_failures,
            "parallelization_factor": 1 if has_windows else randomness.choice([1, 1, 2, 10]),
            "maximum_retry_attempts": randomness.choice([None, 0, 1, 3] if is_trouble else [0, 1]),
            "maximum_record_age_in_seconds": randomness.choice([None, None, None, 60]) if is_trouble else None,
            "bisect_batch_on_function_error": randomness.random() < 0.5,
        }

    def _draw_load(
        self,
        mapping: StreamMapping,
        stream: SimulatedStream,
        plan: FunctionPlan,
        poison_rate: float,
        randomness: Random,
    ) -> None:
        keys = randomness.choice([1, 4, 30])
        for _ in range(self.shape.records):
            at = randomness.choice([0.0, randomness.uniform(0, 10), randomness.uniform(0, TROUBLE_ENDS_AT)])
            key, is_order = f"k{randomness.randrange(keys)}", randomness.random() < 0.7
            size = randomness.choice([10, 2_000])
            is_poison = randomness.random() < poison_rate
            self.load.append((at, self._putting(mapping, stream, plan, key, is_order, size, is_poison)))
        for _ in range(self.shape.reshards):
            at = randomness.uniform(0, TROUBLE_ENDS_AT)
            self.load.append((at, lambda: stream.reshard(randomness)))

    def _putting(
        self,
        mapping: StreamMapping,
        stream: SimulatedStream,
        plan: FunctionPlan,
        key: str,
        is_order: bool,
        size: int,
        is_poison: bool,
    ) -> Callable[[], None]:
        def put() -> None:
            number = stream.put(key, kind="order" if is_order else "other", size=size)
            self.matching[mapping.name, number] = is_order
            self.sizes[mapping.name, number] = size
            if is_poison:
                plan.poison.add(number)

        return put


def _outages(randomness: Random, *faults: Fault) -> list[Outage]:
    if randomness.random() < 0.7:
        return []
    begins_at = randomness.uniform(0, TROUBLE_ENDS_AT / 2)
    return [Outage(begins_at, begins_at + randomness.uniform(2, 25), randomness.choice(faults))]
