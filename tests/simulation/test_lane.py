"""What does one lane of a shard do? The real lane runs on a virtual clock, with a fake function and destination.

A name in brackets, such as [S5], is the name of a case that was recorded on AWS.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import anyio
import orjson
import pytest

from poller.core.batching import MAXIMUM_EVENT_BYTES
from poller.core.event_limit import EventLimit
from poller.core.leases.holding import Held
from poller.core.streams.tumbling import MAXIMUM_STATE_BYTES
from poller.engine.leases.lease import Lease
from poller.engine.leases.rate import Rate
from poller.engine.stop import Stop
from poller.engine.streams.blocking import KEY_LIMIT_IN_CHARACTERS
from poller.engine.streams.in_hand import LaneInHand
from poller.engine.streams.lane import Lane, LaneContext
from poller.facts import (
    BatchBisected,
    BatchInvoked,
    BatchItemFailuresIgnored,
    DestinationFailed,
    Fact,
    InvocationRecordDelivered,
    RecordsDropped,
    ShardBlocked,
)
from poller.functions.opened import OpenFunction
from poller.functions.telling import Invocations
from poller.model.arn import Arn
from poller.model.function import Function, HttpService
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.invocation import Answered, FunctionError, Invocation, Response, Throttled, TooLarge
from poller.model.lease import Owner, Row, RowKey
from poller.model.mapping import OnFailure, StreamMapping
from poller.model.order import Action
from poller.model.status import BLOCKED_KEYS_SHOWN, BlockedShard
from poller.model.stream import Checkpoint, SequenceNumber, ShardId, StreamRecord, TrimHorizon, Window
from tests.fakes.clock import EPOCH, SteadyClock, VirtualClock, service_clock
from tests.fakes.destinations import FakeDestination
from tests.fakes.faults import Fault, FaultPlan
from tests.simulation.world import run_seeded

SHARD = ShardId("shardId-000000000001")
Answer = Callable[[list[str]], Response]
FAILURES = Arn.parse("arn:aws:sqs:eu-west-1:123456789012:failures")
ERROR = FunctionError(error_type="ValueError", message="by plan")
FULL = Throttled(reason="TooManyRequests", detail="the function's own words")


def lease(*, duration: float = 1e6) -> Lease:
    """Return the lease of the lane's shard, which was taken at 0 and is never renewed."""
    row = Row(key=RowKey(f"m/stream/{SHARD}"), checkpoint=Checkpoint(TrimHorizon()))
    held = Held(row, Owner("me"), lease_duration=duration)
    held.take(0.0)
    held.accepted(0.0)
    return Lease(held, rate=Rate(row, 0.0), clock=SteadyClock(), hurry=lambda: None)


@dataclass
class Scene:
    """A lane and its surroundings.

    `invoked` has the time, the request id and the names of the records of each invocation. `sizes` has the sizes of
    events, and `shards` the shards that the invocations name.
    """

    answer: Answer = lambda _names: Answered(b"")
    options: dict[str, Any] = field(default_factory=dict)
    faults: FaultPlan = field(default_factory=FaultPlan)
    duration: float = 0.0
    invoked: list[tuple[float, str, list[str]]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    new_lease: Callable[[], Lease] = lambda: lease()
    shards: list[ShardId | None] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stop = Stop()
        self.destination = FakeDestination(faults=self.faults)
        self._ids = 0
        mapping = StreamMapping(
            name=MappingName("m"),
            event_source_arn=Arn.parse("arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"),
            function_name=FunctionName("f"),
            starting_position=TrimHorizon(),
            region="eu-west-1",
            uuid="u",
            **self.options,
        )
        function = Function(
            name=FunctionName("f"),
            arn=Arn.parse("arn:aws:lambda:eu-west-1:123456789012:function:f"),
            kind=HttpService(urls=("http://function.fake",)),
            timeout_in_seconds=10,
            reserved_concurrency=1,
        )
        self.function = OpenFunction(function, self)
        parts = LaneContext(
            mapping=mapping,
            function=self.function,
            invocations=Invocations(
                mapping=mapping.name, function=function.name, clock=VirtualClock(), emit=self.facts.append
            ),
            destination=self.destination if mapping.on_failure else None,
            clock=VirtualClock(),
            source_clock=service_clock(),
            randomness=random.Random(1),
            new_request_id=self._new_id,
            emit=self.facts.append,
            stop=self.stop,
        )
        self.context = parts
        self.lease: Lease
        self.lane: Lane

    async def invoke(self, invocation: Invocation) -> Response:
        names = [record["name"] for record in orjson.loads(invocation.payload)["Records"]]
        self.invoked.append((anyio.current_time(), invocation.request_id, names))
        self.sizes.append(len(invocation.payload))
        self.shards.append(invocation.shard_id)
        await anyio.sleep(self.duration)
        return self.answer(names)

    def put(self, *names: str, arrived_at: float | None = None) -> None:
        at = EPOCH + (anyio.current_time() if arrived_at is None else arrived_at)
        for name in names:
            self.lane.put([StreamRecord(SequenceNumber(name), "key", at, orjson.dumps({"name": name}))])

    def play(self, script: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run the lane and the script at the same time, until the lane ends."""

        async def main() -> None:
            self.lease = self.new_lease()
            self.lane = Lane(self.context, SHARD, self.lease, LaneInHand(), self._finished)
            async with anyio.create_task_group() as group:
                group.start_soon(script)
                await self.lane.run()
                group.cancel_scope.cancel()

        run_seeded(1, main)

    def batches(self) -> list[list[str]]:
        return [names for _, _, names in self.invoked]

    def _new_id(self) -> RequestId:
        self._ids += 1
        return RequestId(f"id-{self._ids}")

    def _finished(self, records: Any, _window: Window | None) -> None:
        self.done += [record.sequence_number for record in records]


def putting(scene: Scene, *names: str) -> Callable[[], Coroutine[Any, Any, None]]:
    async def script() -> None:
        scene.put(*names)
        scene.lane.close()

    return script


def test_batches_are_invoked_one_after_another_in_order() -> None:
    scene = Scene(options={"batch_size": 2}, duration=1.0)
    scene.play(putting(scene, "1", "2", "3", "4", "5"))
    assert scene.batches() == [["1", "2"], ["3", "4"], ["5"]]
    assert [at for at, _, _ in scene.invoked] == [0, 1, 2]
    assert scene.done == ["1", "2", "3", "4", "5"]


def test_each_invocation_names_the_shard_of_its_records() -> None:
    scene = Scene(options={"batch_size": 1})
    scene.play(putting(scene, "1", "2"))
    assert scene.shards == ["shardId-000000000001"] * 2


def test_a_failing_batch_is_retried_unchanged_with_the_same_request_id() -> None:
    scene = Scene(
        answer=lambda names: ERROR if "2" in names and len(scene.invoked) < 3 else Answered(b""),
        options={"batch_size": 2},
    )
    scene.play(putting(scene, "1", "2", "3"))
    assert [(request_id, names) for _, request_id, names in scene.invoked] == [
        ("id-1", ["1", "2"]),
        ("id-1", ["1", "2"]),
        ("id-1", ["1", "2"]),
        ("id-2", ["3"]),
    ]
    assert scene.invoked[1][0] < scene.invoked[2][0], "it waits in between"
    assert scene.done == ["1", "2", "3"]


@pytest.mark.parity(
    "CreateEventSourceMapping.BisectBatchOnFunctionError",
    "CreateEventSourceMapping.DestinationConfig.OnFailure.Destination",
)
def test_a_poison_record_is_isolated_and_reported_before_it_is_done() -> None:
    """[S5]"""
    scene = Scene(
        answer=lambda names: ERROR if "2" in names else Answered(b""),
        options={
            "maximum_retry_attempts": 1,
            "bisect_batch_on_function_error": True,
            "on_failure": OnFailure(destination_arn=FAILURES),
        },
    )
    scene.play(putting(scene, "1", "2", "3", "4"))
    assert scene.batches() == [["1", "2", "3", "4"], ["1", "2"], ["1"], ["2"], ["2"], ["3", "4"]]
    assert scene.done == ["1", "2", "3", "4"]
    (report,) = scene.destination.reports
    assert (report.condition, report.invoke_count) == ("RetryAttemptsExhausted", 2)
    (delivered,) = [fact for fact in scene.facts if isinstance(fact, InvocationRecordDelivered)]
    assert (delivered.records, delivered.destination) == (1, str(FAILURES))


@pytest.mark.parity("unreachable destination")
def test_a_failing_destination_blocks_the_lane_until_it_accepts_the_invocation_record() -> None:
    faults = FaultPlan()
    faults.script("deliver", Fault.ACCESS_DENIED, Fault.UNREACHABLE)
    scene = Scene(
        answer=lambda names: ERROR if "1" in names else Answered(b""),
        options={"maximum_retry_attempts": 0, "batch_size": 1, "on_failure": OnFailure(destination_arn=FAILURES)},
        faults=faults,
    )
    blocked: list[str | None] = []

    async def script() -> None:
        scene.put("1", "2")
        scene.lane.close()
        await anyio.sleep(0.1)
        blocked.append(scene.lane.blocked and scene.lane.blocked.reason)
        assert not scene.done, "nothing is done before it is reported"

    scene.play(script)
    assert blocked == ["destination: AccessDenied"]
    assert scene.done == ["1", "2"]
    assert len(scene.destination.taken) == 1
    assert len({document.document_id for document in scene.destination.taken}) == 1


@pytest.mark.parity("unreachable destination")
def test_with_drop_a_destination_that_rejects_the_invocation_record_does_not_get_it() -> None:
    """[S16]"""
    faults = FaultPlan()
    faults.script("deliver", Fault.ACCESS_DENIED)
    scene = Scene(
        answer=lambda names: ERROR if "1" in names else Answered(b""),
        options={
            "maximum_retry_attempts": 0,
            "batch_size": 1,
            "on_failure": OnFailure(destination_arn=FAILURES, if_unreachable="drop"),
        },
        faults=faults,
    )
    scene.play(putting(scene, "1", "2"))
    assert scene.done == ["1", "2"]
    assert not scene.destination.taken
    assert [fact.is_given_up for fact in scene.facts if isinstance(fact, DestinationFailed)] == [True]
    assert [fact.records for fact in scene.facts if isinstance(fact, RecordsDropped)] == [1]


@pytest.mark.parametrize(("throttles", "reported"), [(2, 1), (3, 0)])
def test_with_drop_a_throttled_destination_is_tried_three_times(throttles: int, reported: int) -> None:
    faults = FaultPlan()
    for _ in range(throttles):
        faults.script("deliver", Fault.THROTTLED)
    scene = Scene(
        answer=lambda _names: ERROR,
        options={
            "maximum_retry_attempts": 0,
            "on_failure": OnFailure(destination_arn=FAILURES, if_unreachable="drop"),
        },
        faults=faults,
    )
    scene.play(putting(scene, "1"))
    assert scene.done == ["1"]
    assert len(scene.destination.taken) == reported
    given_up = [fact.is_given_up for fact in scene.facts if isinstance(fact, DestinationFailed)]
    assert given_up == [False, False, not reported][:throttles]
    assert len([fact for fact in scene.facts if isinstance(fact, RecordsDropped)]) == 1 - reported


def test_without_a_destination_discarded_records_are_dropped_and_counted() -> None:
    scene = Scene(answer=lambda _names: ERROR, options={"maximum_retry_attempts": 0})
    scene.play(putting(scene, "1", "2", "3"))
    assert scene.done == ["1", "2", "3"]
    (dropped,) = [fact for fact in scene.facts if isinstance(fact, RecordsDropped)]
    assert (dropped.records, dropped.condition) == (3, "RetryAttemptsExhausted")
    assert (dropped.start_sequence_number, dropped.end_sequence_number) == ("1", "3")


def test_a_batching_window_gathers_records_and_the_last_one_waits_for_its_end() -> None:
    """[S13]"""
    scene = Scene(options={"batch_size": 2, "maximum_batching_window_in_seconds": 5})

    async def script() -> None:
        scene.put("1", "2", "3", "4", "5")
        await anyio.sleep(20)
        scene.lane.close()

    scene.play(script)
    assert [(at, names) for at, _, names in scene.invoked] == [(0, ["1", "2"]), (0, ["3", "4"]), (5, ["5"])]


@pytest.mark.parity("CreateEventSourceMapping.MaximumRecordAgeInSeconds")
def test_a_record_that_becomes_too_old_in_a_batching_window_is_discarded_at_once() -> None:
    scene = Scene(options={"maximum_batching_window_in_seconds": 300, "maximum_record_age_in_seconds": 60})

    async def script() -> None:
        scene.put("1", arrived_at=-30.0)
        await anyio.sleep(31)
        assert scene.done == ["1"]
        scene.lane.close()

    scene.play(script)
    assert not scene.invoked


@pytest.mark.parametrize("answer", [ERROR, Throttled(reason="TooManyRequests")])
def test_a_stop_ends_the_wait_and_leaves_undone_records_undone(answer: Response) -> None:
    scene = Scene(answer=lambda _names: answer)

    async def script() -> None:
        scene.put("1")
        await anyio.sleep(3)
        scene.stop.begin()

    scene.play(script)
    assert scene.done == []
    assert scene.invoked


def test_a_stop_lets_the_running_invocation_finish_and_begins_no_other() -> None:
    scene = Scene(options={"batch_size": 1}, duration=4.0)

    async def script() -> None:
        scene.put("1", "2")
        await anyio.sleep(1)
        scene.stop.begin()

    scene.play(script)
    assert scene.batches() == [["1"]]
    assert scene.done == ["1"]


def test_throttles_use_no_retry() -> None:
    """[S15]"""
    scene = Scene(
        answer=lambda _names: Throttled(reason="TooManyRequests") if len(scene.invoked) < 9 else Answered(b""),
        options={"maximum_retry_attempts": 0, "bisect_batch_on_function_error": True},
    )
    scene.play(putting(scene, "1", "2"))
    assert scene.batches() == [["1", "2"]] * 9
    assert scene.done == ["1", "2"]


def test_a_record_that_becomes_too_old_in_line_at_the_gate_is_not_invoked() -> None:
    scene = Scene(options={"maximum_record_age_in_seconds": 60})

    async def script() -> None:
        async with scene.function.gate.slot(unless=anyio.Event()):
            scene.put("1", arrived_at=-30.0)
            scene.put("2")
            scene.lane.close()
            await anyio.sleep(31)

    scene.play(script)
    assert scene.batches() == [["2"]]
    assert scene.done == ["1", "2"]
    dropped = [(fact.records, fact.condition) for fact in scene.facts if isinstance(fact, RecordsDropped)]
    assert dropped == [(1, "RecordAgeExceeded")]


def test_a_record_that_is_young_enough_after_the_gate_is_invoked() -> None:
    scene = Scene(options={"maximum_record_age_in_seconds": 60})

    async def script() -> None:
        async with scene.function.gate.slot(unless=anyio.Event()):
            scene.put("1", arrived_at=-30.0)
            scene.lane.close()
            await anyio.sleep(29)

    scene.play(script)
    assert scene.batches() == [["1"]]
    assert not [fact for fact in scene.facts if isinstance(fact, RecordsDropped)]


def test_a_lane_reports_since_when_it_is_blocked_until_the_batch_is_done() -> None:
    scene = Scene(
        answer=lambda _names: Answered(b"") if len(scene.invoked) > 6 else ERROR if len(scene.invoked) % 2 else FULL,
        options={"batch_size": 1},
        duration=2.0,
    )
    seen: list[BlockedShard | None] = []

    async def script() -> None:
        assert scene.lane.blocked is None
        scene.put("1")
        while not scene.done:
            await anyio.sleep(0.1)
            seen.append(scene.lane.blocked)
        scene.lane.close()

    scene.play(script)
    assert list(dict.fromkeys(each and each.reason for each in seen)) == [None, "ValueError", "TooManyRequests"]
    begun = list(dict.fromkeys(each and each.since for each in seen))
    assert begun == [None, EPOCH + 2.0], "one block, however often it is tried in between"
    assert seen[-1] is None


def test_a_blocked_lane_reports_the_range_of_its_records_which_shrinks_with_each_half() -> None:
    scene = Scene(
        answer=lambda names: ERROR if "3" in names else Answered(b""),
        options={"batch_size": 4, "bisect_batch_on_function_error": True, "maximum_retry_attempts": 3},
    )
    seen: list[tuple[Any, ...]] = []

    async def script() -> None:
        scene.put("1", "2", "3", "4")
        scene.lane.close()
        while len(scene.done) < 4:
            await anyio.sleep(0.1)
            if scene.lane.blocked is not None:
                seen.append(scene.lane.blocked[3:7])

    scene.play(script)
    assert list(dict.fromkeys(seen)) == [(1, "3", "3", "by plan")]


def test_a_blocked_batch_that_is_not_bisected_is_reported_as_a_whole() -> None:
    scene = Scene(answer=lambda names: ERROR if "3" in names else Answered(b""), options={"batch_size": 4})
    seen: list[BlockedShard | None] = []

    async def script() -> None:
        scene.put("1", "2", "3", "4")
        await anyio.sleep(5)
        seen.append(scene.lane.blocked)
        scene.stop.begin()

    scene.play(script)
    [blocked] = seen
    assert blocked is not None
    assert blocked[3:7] == (4, "1", "4", "by plan")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ERROR, ("ValueError", "by plan")),
        (FULL, ("TooManyRequests", "the function's own words")),
        (TooLarge(error_type="HTTP.413", message="413 Content Too Large"), ("HTTP.413", "413 Content Too Large")),
    ],
)
def test_a_blocked_lane_has_the_reason_and_the_message_of_the_last_answer(
    answer: Response, expected: tuple[str, str]
) -> None:
    scene = Scene(answer=lambda _names: answer)
    seen: list[BlockedShard | None] = []

    async def script() -> None:
        scene.put("1")
        await anyio.sleep(5)
        seen.append(scene.lane.blocked)
        scene.stop.begin()

    scene.play(script)
    [blocked] = seen
    [fact] = [fact for fact in scene.facts if isinstance(fact, ShardBlocked)]
    assert blocked is not None
    assert (blocked.reason, blocked.detail) == (fact.reason, fact.detail) == expected


def test_the_message_of_a_blocked_lane_is_shortened() -> None:
    scene = Scene(answer=lambda _names: FunctionError(error_type="ValueError", message="x" * 4_096))
    seen: list[BlockedShard | None] = []

    async def script() -> None:
        scene.put("1")
        await anyio.sleep(5)
        seen.append(scene.lane.blocked)
        scene.stop.begin()

    scene.play(script)
    [blocked] = seen
    assert blocked is not None
    assert blocked.detail == "x" * 1_024


def test_a_lane_that_is_blocked_by_its_destination_shows_the_destination_and_its_message() -> None:
    faults = FaultPlan()
    faults.script("deliver", *[Fault.ACCESS_DENIED] * 9)
    options = {"maximum_retry_attempts": 0, "on_failure": OnFailure(destination_arn=FAILURES)}
    scene = Scene(answer=lambda _names: ERROR, options=options, faults=faults)
    seen: list[BlockedShard | None] = []

    async def script() -> None:
        scene.put("1")
        await anyio.sleep(1)
        seen.append(scene.lane.blocked)
        scene.stop.begin()

    scene.play(script)
    [blocked] = seen
    assert blocked is not None
    assert blocked.reason.startswith("destination: ")
    assert blocked.detail.startswith(f"{FAILURES}: ")


def test_a_lane_that_is_blocked_by_a_record_too_large_for_any_event_shows_its_size() -> None:
    scene = Scene()
    seen: list[BlockedShard | None] = []

    async def script() -> None:
        scene.put("1" * MAXIMUM_EVENT_BYTES)
        await anyio.sleep(1)
        seen.append(scene.lane.blocked)
        scene.stop.begin()

    scene.play(script)
    [blocked] = seen
    assert blocked is not None
    room = MAXIMUM_EVENT_BYTES - len('{"Records":[]}')
    size = MAXIMUM_EVENT_BYTES + len('{"name":""}')
    assert blocked.detail == f"the record has {size} bytes; an event has room for {room}"


def test_a_record_too_large_for_any_event_is_discarded_without_an_invocation_and_the_next_is_delivered() -> None:
    """[S12]"""
    scene = Scene(options={"maximum_retry_attempts": 2, "on_failure": OnFailure(destination_arn=FAILURES)})

    async def script() -> None:
        scene.put("1" * MAXIMUM_EVENT_BYTES)
        scene.put("2")
        scene.lane.close()

    scene.play(script)
    assert scene.batches() == [["2"]]
    (report,) = scene.destination.reports
    assert (report.condition, report.invoke_count) == ("RetryAttemptsExhausted", 3)
    assert report.response_context is None


@pytest.mark.parametrize("is_shard_end", [True, False])
def test_an_event_of_a_window_is_never_too_long_whatever_its_state(is_shard_end: bool) -> None:
    """A batch leaves room for the largest state, because the function may return such a state within the batch."""
    scene = Scene(options={"tumbling_window_in_seconds": 10, "report_batch_item_failures": True})
    state = b'"' + b"x" * (MAXIMUM_STATE_BYTES - 2) + b'"'
    scene.answer = lambda names: Answered(
        b'{"state":%b,"batchItemFailures":[%b]}'
        % (state, orjson.dumps({"itemIdentifier": names[1]}) if len(names) > 1 else b"")
    )

    async def script() -> None:
        scene.put(*[f"{number}" + "0" * 500_000 for number in range(1, 19)])
        if is_shard_end:
            scene.lane.close()
        else:
            await anyio.sleep(30)
            scene.lane.caught_up(EPOCH + 40)
            await anyio.sleep(1)
            assert scene.batches()[-1] == [], "idle"
            scene.lane.close()

    scene.play(script)
    assert len(scene.done) == 18
    assert max(scene.sizes) > MAXIMUM_EVENT_BYTES - 1_000_000
    assert max(scene.sizes) <= MAXIMUM_EVENT_BYTES
    assert scene.batches()[-1] == []


def test_failures_under_a_misspelt_key_are_logged() -> None:
    scene = Scene(
        answer=lambda names: Answered(b'{"BatchItemFailures":[{"itemIdentifier":"2"}]}'),
        options={"report_batch_item_failures": True},
    )
    scene.play(putting(scene, "1", "2"))
    [fact] = [fact for fact in scene.facts if isinstance(fact, BatchItemFailuresIgnored)]
    assert "the key must be batchItemFailures" in fact.advice
    assert scene.done == ["1", "2"]


def test_under_strict_response_an_answer_without_item_failures_fails_the_whole_batch() -> None:
    scene = Scene(
        answer=lambda names: Answered(b'{"BatchItemFailures":[{"itemIdentifier":"2"}]}'),
        options={"report_batch_item_failures": True, "strict_response": True, "maximum_retry_attempts": 0},
    )
    scene.play(putting(scene, "1", "2"))
    outcomes = [(fact.outcome, fact.failed) for fact in scene.facts if isinstance(fact, BatchInvoked)]
    assert outcomes == [("failed", 2)]


def test_records_after_a_failed_one_are_counted_as_failed() -> None:
    scene = Scene(
        answer=lambda names: Answered(b'{"batchItemFailures":[{"itemIdentifier":"2"}]}' if "2" in names else b""),
        options={"report_batch_item_failures": True, "maximum_retry_attempts": 0},
    )
    scene.play(putting(scene, "1", "2", "3", "4"))
    fact = [(fact.outcome, fact.records, fact.failed) for fact in scene.facts if isinstance(fact, BatchInvoked)]
    assert fact == [("partly_failed", 4, 3), ("partly_failed", 3, 3)]
    assert scene.done == ["1", "2", "3", "4"]


def test_a_bisection_after_batch_item_failures_has_them_as_its_reason() -> None:
    scene = Scene(
        answer=lambda names: Answered(b'{"batchItemFailures":[{"itemIdentifier":"1"}]}' if "1" in names else b""),
        options={
            "report_batch_item_failures": True,
            "bisect_batch_on_function_error": True,
            "maximum_retry_attempts": 0,
        },
    )
    scene.play(putting(scene, "1", "2"))
    bisections = [(fact.records, fact.reason) for fact in scene.facts if isinstance(fact, BatchBisected)]
    assert bisections == [(2, "batchItemFailures")]


def test_a_batching_window_applies_again_to_records_that_arrive_after_the_buffer_was_full() -> None:
    scene = Scene(options={"batch_size": 10, "maximum_batching_window_in_seconds": 5}, duration=0.1)

    async def script() -> None:
        scene.put("1")
        await anyio.sleep(1)
        scene.lane.no_room()
        await anyio.sleep(1)
        scene.put("2")
        await anyio.sleep(1)
        scene.put("3")
        await anyio.sleep(10)
        scene.lane.close()

    scene.play(script)
    assert [(at, names) for at, _, names in scene.invoked] == [(1, ["1"]), (7, ["2", "3"])]


POISON = {"batch_size": 4, "on_failure": OnFailure(destination_arn=FAILURES)}


def with_poison(**options: Any) -> Scene:
    """Return a scene whose function fails whenever the record 3 is in the batch."""
    return Scene(answer=lambda names: ERROR if "3" in names else Answered(b""), options={**POISON, **options})


def ordering(scene: Scene, *actions: Action, after: float = 20.0) -> Callable[[], Coroutine[Any, Any, None]]:
    """Put five records, and give each order for what blocks the lane then. The later orders follow at once."""

    async def script() -> None:
        scene.put("1", "2", "3", "4", "5")
        scene.lane.close()
        await anyio.sleep(after)
        for action in actions:
            blocked = scene.lane.blocked
            assert blocked is not None
            assert scene.lane.is_blocked_by(blocked.ends)
            assert scene.lane.order(action) is None
            await anyio.sleep(0.001)

    return script


def test_a_batch_that_a_person_discards_is_reported_at_once_and_the_lane_continues() -> None:
    scene = with_poison()
    scene.play(ordering(scene, "discard"))
    [document] = scene.destination.taken
    context = orjson.loads(document.text)["requestContext"]
    assert context["condition"] == "DiscardedByRequest"
    assert context["approximateInvokeCount"] == len([names for names in scene.batches() if "3" in names])
    assert scene.done == ["1", "2", "3", "4", "5"]
    [last] = [at for at, _, names in scene.invoked if names == ["5"]]
    assert last == pytest.approx(20.0)


class CountingLimit(EventLimit):
    """Counts how often a lane asks for the limit: each time that it is woken without a record."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def in_bytes(self, now: float) -> int:
        self.asked += 1
        return super().in_bytes(now)


def test_an_empty_read_does_not_wake_the_lane() -> None:
    scene, limit = Scene(), CountingLimit()
    scene.function.event_limit = limit

    async def script() -> None:
        await anyio.sleep(1)
        before = limit.asked
        for _ in range(10):
            scene.lane.put([])
            await anyio.sleep(1)
        assert limit.asked == before
        scene.put("1")
        await anyio.sleep(1)
        scene.lane.close()

    scene.play(script)
    assert scene.batches() == [["1"]]


def test_after_an_empty_read_the_last_records_wait_for_their_batching_window() -> None:
    scene = Scene(options={"batch_size": 2, "maximum_batching_window_in_seconds": 10}, duration=1.0)

    async def script() -> None:
        scene.put("1", "2", "3")
        scene.lane.no_room()
        await anyio.sleep(0.5)
        scene.lane.put([])
        await anyio.sleep(20)
        scene.lane.close()

    scene.play(script)
    assert scene.batches() == [["1", "2"], ["3"]]
    assert [at for at, _, _ in scene.invoked] == [0, 11]


def test_a_person_gets_past_a_poison_record_by_bisecting_and_discarding_it_alone() -> None:
    scene = with_poison()

    async def script() -> None:
        scene.put("1", "2", "3", "4", "5")
        scene.lane.close()
        await anyio.sleep(20)
        for action in ("bisect", "bisect", "discard"):
            assert scene.lane.order(action) is None
            await anyio.sleep(5)

    scene.play(script)
    [document] = scene.destination.taken
    info = orjson.loads(document.text)["KinesisBatchInfo"]
    assert (info["startSequenceNumber"], info["endSequenceNumber"]) == ("3", "3")
    assert scene.done == ["1", "2", "3", "4", "5"]


def test_a_retry_that_a_person_orders_comes_at_once() -> None:
    scene = with_poison()
    scene.play(ordering(scene, "retry", "retry", "discard"))
    at_20 = [names for at, _, names in scene.invoked if 20.0 <= at <= 20.01]
    assert at_20 == [["1", "2", "3", "4"], ["1", "2", "3", "4"], ["5"]]


def test_without_a_destination_a_batch_that_a_person_discards_is_dropped() -> None:
    scene = with_poison(on_failure=None)
    scene.play(ordering(scene, "discard"))
    [dropped] = [fact for fact in scene.facts if isinstance(fact, RecordsDropped)]
    assert (dropped.records, dropped.condition) == (4, "DiscardedByRequest")
    assert scene.done == ["1", "2", "3", "4", "5"]


def test_a_status_says_what_a_person_may_order_and_what_is_tried_next() -> None:
    scene = with_poison(batch_size=1)
    seen: list[BlockedShard | None] = []

    async def script() -> None:
        scene.put("1", "2", "3")
        scene.lane.close()
        await anyio.sleep(0.1)
        seen.append(scene.lane.blocked)
        scene.stop.begin()

    scene.play(script)
    [blocked] = seen
    assert blocked is not None
    assert blocked.actions == ("retry", "discard")
    assert (blocked.keys, blocked.oldest_arrived_at, blocked.attempt) == (("key",), EPOCH, 1)
    assert blocked.next_try is not None
    assert EPOCH + 0.25 <= blocked.next_try <= EPOCH + 0.6


def test_a_status_lists_the_first_different_keys_of_the_batch_and_cuts_long_ones() -> None:
    scene = with_poison(batch_size=100)
    keys = ["x" * (KEY_LIMIT_IN_CHARACTERS + 1), "half a pair: \ud83d", *map(str, range(BLOCKED_KEYS_SHOWN))]
    seen: list[BlockedShard | None] = []

    async def script() -> None:
        scene.lane.put(
            [
                StreamRecord(SequenceNumber(str(n)), key, EPOCH, b'{"name": "3"}')
                for n, key in enumerate([keys[0], *keys])
            ]
        )
        scene.lane.close()
        await anyio.sleep(0.1)
        seen.append(scene.lane.blocked)
        scene.stop.begin()

    scene.play(script)
    [blocked] = seen
    assert blocked is not None
    assert blocked.keys == ("x" * KEY_LIMIT_IN_CHARACTERS, "half a pair: ?", *keys[2:BLOCKED_KEYS_SHOWN])


def test_a_postponed_invocation_counts_as_a_failed_try_in_the_status() -> None:
    scene = Scene(answer=lambda _names: FULL)
    seen: list[BlockedShard | None] = []

    async def script() -> None:
        scene.put("1")
        scene.lane.close()
        await anyio.sleep(3)
        seen.append(scene.lane.blocked)
        scene.stop.begin()

    scene.play(script)
    [blocked] = seen
    assert blocked is not None
    assert blocked.attempt == len(scene.invoked) > 2


def test_while_a_destination_refuses_a_person_can_only_retry() -> None:
    scene = with_poison(batch_size=1, maximum_retry_attempts=0)
    scene.faults.script("deliver", *[Fault.UNREACHABLE] * 6)
    seen: list[BlockedShard | None] = []

    async def script() -> None:
        scene.put("3")
        scene.lane.close()
        await anyio.sleep(8)
        blocked = scene.lane.blocked
        assert blocked is not None
        seen.append(blocked)
        assert scene.lane.is_blocked_by(blocked.ends)
        for action in ("bisect", "discard"):
            denial = scene.lane.order(action)
            assert denial is not None
            assert denial.startswith("the records are discarded already")
        for _ in range(10):
            if scene.lane.blocked is not None:
                assert scene.lane.order("retry") is None
                await anyio.sleep(0.001)

    scene.play(script)
    [blocked] = seen
    assert blocked is not None
    assert blocked.actions == ("retry",)
    assert scene.done == ["3"]
    assert len([fact for fact in scene.facts if isinstance(fact, DestinationFailed)]) == 6


def test_a_lane_is_blocked_by_the_records_that_are_tried_now_only() -> None:
    scene = with_poison()
    seen: list[bool] = []

    async def script() -> None:
        scene.put("1", "2", "3", "4")
        scene.lane.close()
        seen.append(scene.lane.is_blocked_by((None, None)))
        await anyio.sleep(5)
        assert scene.lane.order("bisect") is None
        await anyio.sleep(5)
        for ends in (("1", "4"), ("3", "4")):
            seen.append(scene.lane.is_blocked_by((SequenceNumber(ends[0]), SequenceNumber(ends[1]))))
        scene.stop.begin()

    scene.play(script)
    assert seen == [False, False, True]


def test_an_order_while_the_batch_waits_for_the_function_comes_before_the_invocation() -> None:
    scene = with_poison()

    async def script() -> None:
        scene.put("1", "2", "3", "4")
        scene.lane.close()
        await anyio.sleep(5)
        async with scene.function.gate.slot(unless=scene.stop.draining):
            await anyio.sleep(60)
            before = len(scene.invoked)
            assert scene.lane.order("discard") is None
        await anyio.sleep(0.1)
        assert len(scene.invoked) == before

    scene.play(script)
    assert scene.done == ["1", "2", "3", "4"]


@pytest.mark.parametrize(("seconds", "invoked"), [(7.0, [["1"]]), (20.0, [])])
def test_an_invocation_that_has_waited_for_longer_than_its_lease_lasts_does_not_begin(
    seconds: float, invoked: list[list[str]]
) -> None:
    scene = Scene(new_lease=lambda: lease(duration=10.0))

    async def script() -> None:
        async with scene.function.gate.slot(unless=anyio.Event()) as has_slot:
            assert has_slot
            scene.put("1")
            await anyio.sleep(seconds)
        scene.lane.close()

    scene.play(script)
    assert scene.batches() == invoked
