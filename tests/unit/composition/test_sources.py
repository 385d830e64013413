"""What do the sources of one daemon share?"""

from __future__ import annotations

import gc
import random
from typing import Any, cast

import anyio
import pytest
from trio.testing import MockClock

from poller.aws.clients import Aws
from poller.composition.sources import SourceComposition
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import QueueMapping
from tests.fakes.faults import FaultPlan
from tests.fakes.sqs import FakeSqs

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Clients:
    """AWS clients of which each one is the fake."""

    def __init__(self, sqs: SqsAt) -> None:
        self._sqs = sqs

    async def json_client(self, service: str, **options: Any) -> SqsAt:
        return self._sqs


class SqsAt(FakeSqs):
    """The fake with the url of its endpoint."""

    endpoint_url = "http://sqs.fake"


async def test_a_mapping_that_comes_back_repeats_the_receive_that_its_removal_cancelled() -> None:
    """Nobody reads the queue in between, and the garbage of the removed mapping is collected."""
    sqs = SqsAt(faults=FaultPlan(ghost_rate=1.0))
    queue = sqs.create_queue("orders.fifo", visibility_timeout_in_seconds=600)
    mapping = QueueMapping(
        name=MappingName("orders"),
        event_source_arn=queue.arn,
        function_name=FunctionName("f"),
        region=queue.arn.region,
    )
    sources, clients = SourceComposition(random.Random(1)), cast("Aws", Clients(sqs))
    source = await sources.queue(mapping, clients)
    with anyio.move_on_after(5):
        await source.receive(count=10, wait_in_seconds=20, visibility_timeout_in_seconds=None)
    del source
    gc.collect()
    sent = sqs.send(queue, "taken by nobody", group="g")
    again = await sources.queue(mapping, clients)
    messages = await again.receive(count=10, wait_in_seconds=0, visibility_timeout_in_seconds=None)
    assert [message.message_id for message in messages] == [sent]
