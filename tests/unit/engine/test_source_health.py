"""What does a mapping report about its source if many shards have a trouble?"""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.engine.source_health import THROTTLED_READS, SourceHealth
from poller.errors import AccessDenied, Throttled, Unreachable
from poller.facts import Fact, ReadThrottled, SourceRecovered
from poller.model.arn import Arn
from poller.model.ids import MappingName
from poller.model.status import Health
from poller.model.stream import ShardId
from tests.fakes.clock import EPOCH, VirtualClock

QUEUE = Arn.parse("arn:aws:sqs:eu-west-1:123456789012:q")

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def unreachable(text: str) -> Unreachable:
    return Unreachable(text, code="Timeout", was_sent=True)


def health_of(facts: list[Fact]) -> SourceHealth:
    return SourceHealth(mapping=MappingName("m"), source=QUEUE, clock=VirtualClock(), emit=facts.append)


async def test_the_same_trouble_of_many_shards_is_shown_once_and_at_most_three_troubles_are_shown() -> None:
    facts: list[Fact] = []
    health = health_of(facts)
    health.found()
    for number in range(1_000):
        health.read_failed(ShardId(f"same-{number}"), unreachable("no answer"), in_a_row=1, retry_in=2.0)
    assert health.reason == f"GetRecords: Timeout: no answer ({QUEUE})"
    for number in range(4):
        health.read_failed(ShardId(f"other-{number}"), unreachable(f"other {number}"), in_a_row=1, retry_in=2.0)
    assert health.reason is not None
    assert health.reason.endswith(f"GetRecords: Timeout: other 1; and 2 more ({QUEUE})")
    for number in range(1_000):
        health.read_succeeded(ShardId(f"same-{number}"))
    states = [health.state]
    for number in range(4):
        health.read_succeeded(ShardId(f"other-{number}"))
    assert [*states, health.state] == ["troubled", "ready"]
    assert sum(isinstance(fact, SourceRecovered) for fact in facts) == 1


async def test_a_trouble_is_shown_with_its_begin_its_tries_and_its_next_try() -> None:
    health = health_of([])
    await anyio.sleep(5.0)
    health.found()
    assert health.health == Health("ready", since=EPOCH + 5.0)
    await anyio.sleep(5.0)
    health.read_failed(ShardId("a"), unreachable("no answer"), in_a_row=1, retry_in=2.0)
    await anyio.sleep(5.0)
    health.read_failed(ShardId("b"), unreachable("no answer"), in_a_row=1, retry_in=2.0)
    health.read_failed(ShardId("a"), unreachable("no answer"), in_a_row=9, retry_in=9.0)
    reason = f"GetRecords: Timeout: no answer ({QUEUE})"
    assert health.health == Health("troubled", reason, since=EPOCH + 10.0, attempt=2, next_try=EPOCH + 15.0 + 2.0)
    await anyio.sleep(5.0)
    health.read_succeeded(ShardId("a"))
    assert health.health.attempt == 1
    health.read_succeeded(ShardId("b"))
    assert health.health == Health("ready", since=EPOCH + 20.0)


def state_of(health: SourceHealth) -> str:
    return health.state


async def test_a_throttled_read_is_a_trouble_only_if_it_lasts() -> None:
    facts: list[Fact] = []
    health = health_of(facts)
    health.found()
    throttled = Throttled("Rate exceeded", code="ProvisionedThroughputExceededException")
    for number in range(1, THROTTLED_READS):
        health.read_failed(ShardId("a"), throttled, in_a_row=number, retry_in=1.0)
    assert state_of(health) == "ready"
    assert facts == [ReadThrottled(MappingName("m"), ShardId("a"), throttled.code, 1.0)] * (THROTTLED_READS - 1)
    health.read_failed(ShardId("a"), throttled, in_a_row=THROTTLED_READS, retry_in=1.0)
    assert state_of(health) == "troubled"


async def test_a_background_failure_is_a_trouble_only_if_waiting_does_not_help() -> None:
    health = health_of([])
    health.found()
    health.background_failure("DeleteMessageBatch", unreachable("no answer"), retry_in=1.0)
    assert state_of(health) == "ready"
    health.background_failure("DeleteMessageBatch", AccessDenied("no", code="AccessDenied"), retry_in=1.0)
    assert health.health == Health("troubled", f"DeleteMessageBatch: AccessDenied: no ({QUEUE})", EPOCH, 1, EPOCH + 1.0)
    health.succeeded("ReceiveMessage")
    assert state_of(health) == "troubled"
    health.succeeded("DeleteMessageBatch")
    assert state_of(health) == "ready"
