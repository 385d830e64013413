"""Which implementations of SQS do the contract tests run against? The fake, on both of anyio's backends, and emulators.

`LACKS` names the features that an implementation lacks, with the reason. A test that needs such a feature is expected
to fail there; if it succeeds, the entry must be removed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Any, NamedTuple
from uuid import uuid4

import orjson
import pytest
from trio.testing import MockClock

from poller.aws.clients import Aws, AwsSettings
from poller.model.arn import Arn, queue_url
from poller.sources.client import Client
from poller.sources.sqs import SqsSource
from tests.fakes.sqs import FakeSqs

REGION = "eu-west-1"

ONLY_ACCOUNT_OF_MOTO = "123456789012"


class Needs(Enum):
    """The features of SQS that a test needs and that some emulator lacks."""

    FORGIVING_DELETES = auto()
    EXPIRING_RECEIPTS = auto()
    ERRORS_WHEN_NOT_IN_FLIGHT = auto()


LACKS: Mapping[str, Mapping[Needs, str]] = {
    "fake on asyncio": {},
    "fake on trio": {},
    "ministack": {
        Needs.FORGIVING_DELETES: "it calls the receipt of a deleted message invalid; AWS lets the delete succeed",
        Needs.ERRORS_WHEN_NOT_IN_FLIGHT: "it hides a visible message under its last receipt",
    },
    "moto": {
        Needs.EXPIRING_RECEIPTS: "any receipt that a message ever had deletes it",
        Needs.ERRORS_WHEN_NOT_IN_FLIGHT: "it hides a visible message under any receipt it had",
    },
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(what): the test asks for something that not every emulator does as AWS")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of emulators as slow, because an emulator is a process, and those that wait in real time."""
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    if "fake on trio" not in str(parameters.get("implementation", "fake on trio")):
        item.add_marker("slow")


class Queue(NamedTuple):
    """A new queue for one test, and a way to send messages to it."""

    client: Client
    arn: Arn
    url: str

    def source(self, *, has_batching_window: bool = False) -> SqsSource:
        return SqsSource(self.client, arn=self.arn, queue_url=self.url, has_batching_window=has_batching_window)

    async def send(self, body: str, **parameters: Any) -> str:
        """`parameters` are SendMessage's. Returns the message's id."""
        request = {"QueueUrl": self.url, "MessageBody": body} | parameters
        answer = await self.client.call("SendMessage", orjson.dumps(request), timeout_in_seconds=60)
        return str(answer["MessageId"])


class Broker(NamedTuple):
    """One implementation of SQS."""

    client: Client
    endpoint_url: str
    account: str

    def queue(self, name: str) -> Queue:
        """Return a queue with this name; it may not exist."""
        arn = Arn(partition="aws", service="sqs", region=REGION, account=self.account, resource=name)
        return Queue(self.client, arn, queue_url(self.endpoint_url, arn))

    async def create_queue(self, *, suffix: str = "", **attributes: str) -> Queue:
        """`attributes` are CreateQueue's; a suffix of `.fifo` makes a FIFO queue."""
        queue = self.queue(f"contract-{uuid4().hex}{suffix}")
        if suffix == ".fifo":
            attributes["FifoQueue"] = "true"
        request = {"QueueName": queue.arn.resource, "Attributes": attributes}
        await self.client.call("CreateQueue", orjson.dumps(request), timeout_in_seconds=60)
        return queue


@pytest.fixture(params=list(LACKS))
def implementation(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    for marker in request.node.iter_markers("needs"):
        if reason := LACKS[name].get(marker.args[0]):
            request.applymarker(pytest.mark.xfail(reason=f"{name}: {reason}", strict=True))
    return name


@pytest.fixture
def anyio_backend(implementation: str) -> Any:
    """The fake under trio waits in virtual time: each test has a clock of its own that jumps when nothing runs."""
    return ("trio", {"clock": MockClock(autojump_threshold=0)}) if implementation == "fake on trio" else "asyncio"


@pytest.fixture
async def broker(implementation: str, request: pytest.FixtureRequest, anyio_backend: Any) -> AsyncIterator[Broker]:
    if implementation.startswith("fake"):
        yield Broker(FakeSqs(), "http://sqs.fake", "123456789012")
        return
    endpoint_url: str = request.getfixturevalue(implementation)
    account: str = request.getfixturevalue("account")
    async with json_client(endpoint_url) as client:
        yield Broker(client, endpoint_url, ONLY_ACCOUNT_OF_MOTO if implementation == "moto" else account)


@asynccontextmanager
async def json_client(endpoint_url: str) -> AsyncIterator[Client]:
    async with Aws(AwsSettings(region=REGION, endpoint_url=endpoint_url)) as aws:
        yield await aws.json_client("sqs")
