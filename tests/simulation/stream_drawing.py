"""Which world belongs to a shape? Streams, functions, mappings and a load, drawn by its seed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from poller.model.mapping import StreamMapping
from tests.fakes.clock import EPOCH
from tests.fakes.destinations import FakeDestination
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.fakes.store import FakeStore
from tests.fakes.target import FunctionPlan
from tests.simulation.stream_shape import TROUBLE_ENDS_AT, Shape
from tests.simulation.streams import CANARY, DynamoDbStream, KinesisStream, SimulatedStream
from tests.simulation.world import World

FOR_EVER = 1e9


class Drawing:
    """`load` are the puts and reshards to come; `matching` and `sizes` are of the records that were put."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        luck = Random(shape.seed + 1)
        self.world = World(
            seed=shape.seed,
            grace_in_seconds=luck.choice([0.5, 5.0, 60.0]),
            store=FakeStore(faults=self._store_faults(luck)),
            budget_in_bytes=shape.budget_in_bytes,
        )
        self.load: list[tuple[float, Callable[[], object]]] = []
        self.matching: dict[tuple[str, str], bool] = {}
        self.sizes: dict[tuple[str, str], int] = {}
        self._has_function_of_its_own = luck.random() < 0.3
        for number in range(shape.mappings):
            self._add_mapping(number, luck)
        if shape.has_queue:
            self._add_queue(shape.mappings, luck)

    def _store_faults(self, luck: Random) -> FaultPlan:
        latency = (0.0, luck.choice([0.0, 0.01, 0.5]))
        if not self.shape.has_store_faults:
            return FaultPlan(seed=self.shape.seed, latency_in_seconds=latency)
        return FaultPlan(
            seed=self.shape.seed,
            latency_in_seconds=latency,
            unreachable_rate=luck.choice([0.05, 0.3]),
            lost_answer_rate=luck.choice([0.05, 0.2]),
            slow_answer_rate=0.05,
            slow_answer_in_seconds=luck.choice([1.0, 8.0]),
            outages=_outages(luck, Fault.UNREACHABLE),
            ends_at=TROUBLE_ENDS_AT,
        )

    def _faults(self, luck: Random, *codes: Fault) -> FaultPlan:
        if self.shape.kind == "neighbour":
            return FaultPlan(seed=self.shape.seed, latency_in_seconds=(0.0, luck.choice([0.0, 0.05])))
        rate = luck.choice([0.0, 0.04, 0.2])
        return FaultPlan(
            seed=luck.randrange(2**32),
            latency_in_seconds=(0.0, luck.choice([0.0, 0.01, 0.15])),
            throttle_rate=rate / 2,
            unreachable_rate=rate / 2,
            lost_answer_rate=rate / 2,
            slow_answer_rate=rate / 4,
            slow_answer_in_seconds=luck.choice([1.0, 5.0, 12.0]),
            outages=_outages(luck, *codes),
            ends_at=TROUBLE_ENDS_AT,
        )

    def _function(self, number: int, luck: Random) -> str:
        """One for all mappings, or one for each."""
        name = f"function-{number if self._has_function_of_its_own else 0}"
        if name not in self.world.functions:
            trouble = luck.choice([0.0, 0.1, 0.4]) if self.shape.kind == "trouble" else 0.0
            timeout = luck.choice([1.0, 5.0]) if self.shape.kind == "trouble" else 0.3
            plan = FunctionPlan(
                seed=luck.randrange(2**32),
                duration_in_seconds=(0.0, luck.choice([0.01, 0.3, timeout])),
                busy_rate=luck.choice([0.0, 0.1, 0.5]) if self.shape.kind == "trouble" else 0.0,
                failure_rate=trouble / 2,
                lost_answer_rate=trouble / 4,
                item_failure_rate=trouble / 8,
                names_failures=luck.random() < 0.5,
                largest_event=self._largest_event(name),
                ends_at=TROUBLE_ENDS_AT,
            )
            self.world.add_function(name, plan, timeout_in_seconds=timeout, concurrency=self.shape.concurrency)
        return name

    def _largest_event(self, function: str) -> int | None:
        """Every record fits, beside any state of a window; a large batch does not."""
        is_limited = self.shape.kind == "trouble" and Random(f"{self.shape.seed} {function}").random() < 0.4
        return 20_000 if is_limited else None

    def _add_mapping(self, number: int, luck: Random) -> None:
        stream = self._stream(number, luck)
        function = self._function(number, luck)
        plan = self.world.targets[function].plan
        options = self._options(stream, plan, luck)
        destination = None
        if luck.random() < 0.7:
            destination = FakeDestination(faults=self._faults(luck, Fault.ACCESS_DENIED, Fault.UNREACHABLE))
            options["if_unreachable"] = luck.choice(["wait", "wait", "drop"])
        is_limited = options["maximum_retry_attempts"] is not None or options["maximum_record_age_in_seconds"]
        poison_rate = luck.choice([0.0, 0.05]) if is_limited else 0.0
        if self.shape.kind == "neighbour" and number == 0:
            destination, poison_rate = self._break(stream, options, luck), 1.0
        mapping = self.world.add_stream_mapping(
            f"mapping-{number}", stream, function, destination=destination, **options
        )
        self._draw_load(mapping, stream, plan, poison_rate, luck)

    def _add_queue(self, number: int, luck: Random) -> None:
        """Beside the streams, perhaps with the same function."""
        queue, function = self.world.add_queue("orders", visibility_timeout_in_seconds=30), self._function(number, luck)
        names_failures = self.world.targets[function].plan.names_failures
        self.world.add_mapping("orders", queue, function, report_batch_item_failures=names_failures)
        for serial in range(self.shape.records):
            body = f"{CANARY}-{serial}"
            self.load.append((luck.uniform(0, TROUBLE_ENDS_AT), partial(self.world.sqs.send, queue, body)))

    def _break(self, stream: SimulatedStream, options: dict[str, Any], luck: Random) -> FakeDestination | None:
        """For good: the source is gone, or every record is poison, and perhaps the destination refuses too."""
        what = luck.choice(["source", "function", "destination"])
        if what == "source":
            outage = Outage(0, FOR_EVER, luck.choice([Fault.NOT_FOUND, Fault.THROTTLED]))
            stream.service.faults = FaultPlan(outages=[outage])
            return None
        options |= {"maximum_retry_attempts": None, "maximum_record_age_in_seconds": None}
        if what == "function":
            return None
        options |= {"maximum_retry_attempts": 0, "if_unreachable": "wait"}
        return FakeDestination(faults=FaultPlan(outages=[Outage(0, FOR_EVER, Fault.ACCESS_DENIED)]))

    def _stream(self, number: int, luck: Random) -> SimulatedStream:
        faults = self._faults(luck, Fault.UNREACHABLE, Fault.ACCESS_DENIED, Fault.THROTTLED)
        rate = luck.choice([0.0, 0.05]) if self.shape.kind == "trouble" else 0.0
        settings: dict[str, Any] = {
            "shard_count": self.shape.shards if number == 0 else luck.choice([1, 2]),
            "retention_in_seconds": self.shape.retention_in_seconds,
            "empty_read_rate": rate * 2,
            "short_read_rate": rate * 4,
            "late_end_rate": luck.choice([0.0, 0.5]),
            "early_expiry_rate": rate,
        }
        stream: SimulatedStream
        if luck.random() < 0.65:
            stream = KinesisStream(f"clicks-{number}", seed=self.shape.seed * 10 + number, faults=faults, **settings)
        else:
            settings["shard_lifetime_in_seconds"] = luck.choice([14_400.0, 30.0])
            settings["split_at_rollover_rate"] = 0.2
            stream = DynamoDbStream(f"users-{number}", seed=self.shape.seed * 10 + number, faults=faults, **settings)
        return self.world.add_stream(stream)

    def _options(self, stream: SimulatedStream, plan: FunctionPlan, luck: Random) -> dict[str, Any]:
        is_kinesis = isinstance(stream, KinesisStream)
        starting = luck.choice(["TRIM_HORIZON", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP" if is_kinesis else "LATEST"])
        is_trouble = self.shape.kind == "trouble"
        has_windows = luck.random() < 0.2
        timestamp = EPOCH + luck.uniform(0, self.shape.begins_at)
        return {
            "starting_position": starting,
            "starting_position_timestamp": timestamp if starting == "AT_TIMESTAMP" else None,
            "batch_size": luck.choice([1, 3, 10, 100]),
            "maximum_batching_window_in_seconds": luck.choice([0, 0, 1, 5]),
            "tumbling_window_in_seconds": luck.choice([3, 10, 30]) if has_windows else None,
            "filters": (stream.filter,) if luck.random() < 0.4 and not has_windows else (),
            "report_batch_item_failures": plan.names_failures,
            "parallelization_factor": 1 if has_windows else luck.choice([1, 1, 2, 10]),
            "maximum_retry_attempts": luck.choice([None, 0, 1, 3] if is_trouble else [0, 1]),
            "maximum_record_age_in_seconds": luck.choice([None, None, None, 60]) if is_trouble else None,
            "bisect_batch_on_function_error": luck.random() < 0.5,
        }

    def _draw_load(
        self, mapping: StreamMapping, stream: SimulatedStream, plan: FunctionPlan, poison_rate: float, luck: Random
    ) -> None:
        keys = luck.choice([1, 4, 30])
        for _ in range(self.shape.records):
            at = luck.choice([0.0, luck.uniform(0, 10), luck.uniform(0, TROUBLE_ENDS_AT)])
            key, is_order = f"k{luck.randrange(keys)}", luck.random() < 0.7
            size = luck.choice([10, 2_000])
            is_poison = luck.random() < poison_rate
            self.load.append((at, self._putting(mapping, stream, plan, key, is_order, size, is_poison)))
        for _ in range(self.shape.reshards):
            at = luck.uniform(0, TROUBLE_ENDS_AT)
            self.load.append((at, lambda: stream.reshard(luck)))

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


def _outages(luck: Random, *faults: Fault) -> list[Outage]:
    if luck.random() < 0.7:
        return []
    begins_at = luck.uniform(0, TROUBLE_ENDS_AT / 2)
    return [Outage(begins_at, begins_at + luck.uniform(2, 25), luck.choice(faults))]
