"""What happens to a mapping whose source gives wrong answers for a while? It reports a trouble and never crashes."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from random import Random
from typing import Any, TypeVar

import anyio
import pytest

from poller.facts import MappingCrashed, SourceFailed, SourceRecovered
from poller.model.invocation import Answered, Invocation, Response
from poller.model.mapping import StreamMapping
from poller.model.stream import Read, SequenceNumber, ShardIterator, StreamRecord
from poller.ports import StreamSource
from poller.sources.client import Client
from tests.fakes.oddity import odd
from tests.simulation.life import Life
from tests.simulation.one_stream import FAILURES, KinesisWorld, OneStreamWorld, TableWorld, play
from tests.simulation.process import ProcessClient, StreamClient
from tests.simulation.steps import live, stopping_after
from tests.simulation.world import World

F = TypeVar("F")
Twist = Callable[[list[StreamRecord]], list[StreamRecord]]

SEEDS_IN_THE_GATE = 40

ODD_UNTIL = 60.0

OPTIONS: list[dict[str, Any]] = [
    *({}, {"parallelization_factor": 3}, {"tumbling_window_in_seconds": 10}),
    {"filters": ('{"eventName": [{"exists": true}]}', '{"data": {"a": [1]}}')},
]


class Twisted(KinesisWorld):
    """A source whose reads return wrong answers until `ODD_UNTIL`."""

    def __init__(self, twist: Twist, **options: Any) -> None:
        super().__init__(**options)
        self._twist = twist

    def source(self, mapping: StreamMapping, client: Client) -> StreamSource:
        source = super().source(mapping, client)
        read = source.read

        async def twisted(iterator: ShardIterator, *, limit: int) -> Read:
            answer = await read(iterator, limit=limit)
            if anyio.current_time() < ODD_UNTIL and len(answer.records) > 2:
                return answer._replace(records=self._twist(answer.records))
            return answer

        vars(source)["read"] = twisted
        return source


async def succeed(_: Invocation) -> Response:
    """Return the response of a function that always succeeds."""
    return Answered(b'{"state": {}}')


def repeated(records: list[StreamRecord]) -> list[StreamRecord]:
    return [*records[:2], records[1], *records[2:]]


def swapped(records: list[StreamRecord]) -> list[StreamRecord]:
    return [records[0], records[2], records[1], *records[3:]]


def with_number(number: Any) -> Twist:
    return lambda records: [records[0], records[1]._replace(sequence_number=SequenceNumber(number)), *records[2:]]


def with_arrival(arrived_at: Callable[[float], Any]) -> Twist:
    return lambda records: [record._replace(arrived_at=arrived_at(record.arrived_at)) for record in records]


@pytest.mark.parametrize(
    "twist",
    [
        pytest.param(repeated, id="a number twice"),
        pytest.param(swapped, id="two numbers swapped"),
        pytest.param(with_number("abc"), id="a number that is none"),
        pytest.param(with_number(7), id="a number that is not text"),
        pytest.param(with_arrival(lambda at: at * 1000), id="milliseconds"),
        pytest.param(with_arrival(str), id="a time as text"),
        pytest.param(with_arrival(lambda at: nan), id="no time"),
        pytest.param(with_arrival(lambda at: inf), id="an infinite time"),
    ],
)
def test_an_odd_read_is_logged_and_none_of_its_records_is_delivered(twist: Twist) -> None:
    world = Twisted(twist, maximum_record_age_in_seconds=600, maximum_retry_attempts=0, on_failure=FAILURES)
    sent = [f"a/{number}" for number in range(6)]
    states: list[tuple[str, str | None]] = []

    async def until(life: Life) -> None:
        await anyio.sleep(ODD_UNTIL - 1)
        assert world.calls == []
        [status] = life.supervisor.statuses()
        states.append((status.state, status.reason))
        await anyio.sleep(70)
        life.begin_stop()

    async def main() -> None:
        world.put("a", *sent)
        await world.live(until)

    play(world, main)
    assert world.facts_of(MappingCrashed) == []
    [(state, reason)] = states
    assert state == "troubled"
    assert "the answer of shardId-000000000000 has" in str(reason)
    assert {fact.code for fact in world.facts_of(SourceFailed)} == {"UnusableAnswer"}
    assert len(world.facts_of(SourceRecovered)) == 1
    assert world.succeeded == sent


@pytest.mark.parametrize("kind", [KinesisWorld, TableWorld])
def test_odd_answers_of_a_stream_crash_no_mapping(
    kind: type[OneStreamWorld], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    randomness = Random(seed)
    options = randomness.choice(OPTIONS)
    world = kind(maximum_retry_attempts=0, on_failure=FAILURES, maximum_record_age_in_seconds=60, **options)
    original = StreamClient.call

    async def call(self: StreamClient, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        answer = await original(self, operation, body, timeout_in_seconds=timeout_in_seconds)
        return odd(answer, randomness) if anyio.current_time() < ODD_UNTIL and randomness.random() < 0.3 else answer

    monkeypatch.setattr(StreamClient, "call", call)
    monkeypatch.setattr(world, "invoke", succeed)

    async def main() -> None:
        async with anyio.create_task_group() as group:

            async def feed() -> None:
                for number in range(50):
                    world.put("abc"[number % 3], f"{number}")
                    await anyio.sleep(1)

            group.start_soon(feed)
            await world.live(stopping_after(150))

    play(world, main)
    assert world.facts_of(MappingCrashed) == []


@pytest.mark.parametrize("ending", ["", ".fifo"])
def test_odd_answers_of_a_queue_crash_no_mapping(ending: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    randomness = Random(seed)
    world = World(seed=seed)
    queue = world.add_queue(f"q{ending}", visibility_timeout_in_seconds=10)
    target = world.add_function("f")
    world.add_mapping("m", queue, "f", filters=randomness.choice([(), ('{"body": {"a": [1]}}',)]))
    original = ProcessClient.call

    async def call(self: ProcessClient, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        answer = await original(self, operation, body, timeout_in_seconds=timeout_in_seconds)
        return odd(answer, randomness) if anyio.current_time() < ODD_UNTIL and randomness.random() < 0.3 else answer

    monkeypatch.setattr(ProcessClient, "call", call)
    monkeypatch.setattr(target, "invoke", succeed)

    async def until(life: Any) -> None:
        for number in range(50):
            options = {"group": "g", "deduplication_id": str(number)} if ending else {}
            world.sqs.send(queue, '{"a": 1}', **options)
            await anyio.sleep(1)
        await anyio.sleep(100)
        life.begin_stop()

    live(world, until)
    assert world.facts_of(MappingCrashed) == []
