"""What does a mapping say of its source when many shards are in trouble?"""

from __future__ import annotations

import random
from typing import Any

import pytest
from trio.testing import MockClock

from poller.engine.source_health import SourceHealth
from poller.engine.stop import Stop
from poller.errors import Unreachable
from poller.model.ids import MappingName
from poller.model.stream import ShardId
from poller.telemetry.facts import Fact, SourceRecovered

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def unreachable(text: str) -> Unreachable:
    return Unreachable(text, code="Timeout", was_sent=True)


async def test_what_is_said_of_many_shards_is_said_once_and_no_more_than_three_things_are() -> None:
    facts: list[Fact] = []
    health = SourceHealth(mapping=MappingName("m"), record=facts.append, luck=random.Random(1), stop=Stop())
    health.found()
    for number in range(1_000):
        health.read_failed(ShardId(f"same-{number}"), unreachable("no answer"), in_a_row=1)
    assert health.reason == "GetRecords: Timeout: no answer"
    for number in range(4):
        health.read_failed(ShardId(f"other-{number}"), unreachable(f"other {number}"), in_a_row=1)
    assert health.reason is not None
    assert health.reason.endswith("GetRecords: Timeout: other 1; and 2 more")
    for number in range(1_000):
        health.read_succeeded(ShardId(f"same-{number}"))
    states = [health.state]
    for number in range(4):
        health.read_succeeded(ShardId(f"other-{number}"))
    assert [*states, health.state] == ["troubled", "ready"]
    assert sum(isinstance(fact, SourceRecovered) for fact in facts) == 1
