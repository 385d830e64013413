"""Does one deadline hold for the whole call: for the credentials and for a repeated request?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import orjson
import pytest

from poller import errors
from poller.aws.clock import ServiceClock
from poller.aws.signing import Credentials, Signer, resource
from poller.aws.wire import Answer, Route, Wire
from poller.http.http1 import Received
from tests.unit.aws.conftest import FIRST, SECOND

pytestmark = pytest.mark.anyio

GOOD = Received(200, {}, b"{}")
EXPIRED = Received(400, {}, orjson.dumps({"__type": "ExpiredTokenException"}))
SKEWED = Received(400, {"date": "Thu, 01 Jan 2026 00:00:00 GMT"}, orjson.dumps({"__type": "RequestTimeTooSkewed"}))

AN_HOUR_EARLIER = 1_767_222_000


class World:
    """Credentials and connections that take time, on a clock that only they move."""

    def __init__(
        self, *answers: Received, keys_take: float = 0, calls_take: float = 0, renewal_takes: float = 0
    ) -> None:
        self.now = 0.0
        self.timeouts: list[float] = []
        self.known_credentials: Credentials | None = None
        self._answers = list(answers)
        self._keys_take, self._calls_take, self._renewal_takes = keys_take, calls_take, renewal_takes

    async def credentials(self) -> Credentials:
        self.now += self._keys_take
        return FIRST

    async def renew(self, _: Credentials) -> Credentials:
        self.now += self._renewal_takes
        return SECOND

    async def send(self, *_: Any, timeout_in_seconds: float, **__: Any) -> Received:
        self.timeouts.append(timeout_in_seconds)
        self.now += self._calls_take
        return self._answers.pop(0)

    async def post(self, *, proxy: str | None = None, timeout_in_seconds: float = 10) -> Answer:
        world: Any = self
        signer = Signer(service="sqs", region="eu-west-1")
        clock = ServiceClock(ours=lambda: AN_HOUR_EARLIER + self.now, steady=lambda: self.now)
        wire = Wire(world, world, identity=world, signer=signer, clock=clock)
        route = Route.to(resource("POST", "http://sqs.invalid/"), proxy=proxy)
        return await wire.post(route, {}, b"{}", timeout_in_seconds=timeout_in_seconds)


@pytest.fixture(params=[None, "http://proxy.invalid"], ids=["direct", "proxy"])
def post(request: pytest.FixtureRequest) -> Callable[[World], Awaitable[Answer]]:
    return lambda world: world.post(proxy=request.param)


Post = Callable[[World], Awaitable[Answer]]


async def test_the_search_for_credentials_counts_against_the_calls_deadline(post: Post) -> None:
    world = World(GOOD, keys_take=3)
    assert (await post(world)).status == 200
    assert world.timeouts == [7]


@pytest.mark.parametrize("error", [EXPIRED, SKEWED])
async def test_a_repeated_request_has_only_the_rest_of_the_time(post: Post, error: Received) -> None:
    world = World(error, GOOD, calls_take=4)
    assert (await post(world)).status == 200
    assert world.timeouts == [10, 6]


async def test_no_request_is_sent_when_no_time_is_left(post: Post) -> None:
    for world, sent in ((World(keys_take=10), 0), (World(EXPIRED, calls_take=4, renewal_takes=6), 1)):
        with pytest.raises(errors.Unreachable, match="no time is left") as caught:
            await post(world)
        assert not caught.value.was_sent, "an error has had no effect"
        assert len(world.timeouts) == sent


async def never() -> Credentials:
    """Hang, and hang again when cancelled, as anyio's wait for a process does before it kills the process."""
    try:
        await anyio.sleep_forever()
    finally:
        await anyio.sleep_forever()
    raise AssertionError


@pytest.mark.parametrize(("hanging", "sent"), [("credentials", 0), ("renew", 1)])
async def test_a_call_that_never_gets_credentials_fails_and_says_so(
    hanging: str, sent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(EXPIRED)
    monkeypatch.setattr(world, hanging, lambda *_: never())
    with pytest.raises(errors.Unreachable, match="no credentials in time") as caught:
        async with asyncio.timeout(60):
            await world.post(timeout_in_seconds=0.01)
    assert (caught.value.code, caught.value.was_sent) == ("CredentialsTimeout", False)
    assert len(world.timeouts) == sent


async def test_known_credentials_are_used_without_asking_for_new_ones() -> None:
    world = World(GOOD, keys_take=10)
    world.known_credentials = SECOND
    assert (await world.post()).status == 200
