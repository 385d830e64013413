"""How does a signed request go out and its answer come back? One HTTP session for everybody, one signature a call.

A refusal that says that our clock is wrong, or that our keys are, is cured here and the request sent once more:

    clock   the answer's Date header is believed; the difference is kept for all calls to come
    keys    the identity is renewed; when that brings other keys, they are used

Neither kind of refusal has had an effect, so sending again is safe whatever the request does.
Everything else is the caller's to judge: every answer is returned, only the want of one is raised.
A cancelled call gives its connection up: an answer nobody waits for must not meet the next request.
"""

from __future__ import annotations

import io
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import aiohttp
import orjson
from yarl import URL

from poller import __version__
from poller.aws.identity import Identity
from poller.aws.refusals import CLOCK_CODES, RENEWABLE_CODES, bare_code, no_answer, refusal
from poller.aws.signing import Resource, Signer
from poller.errors import ServiceError

CONNECT_TIMEOUT_IN_SECONDS = 5.0
"""A service that does not take a connection within this is not reachable."""

KEEP_ALIVE_IN_SECONDS = 12.0
"""Idle connections are closed before the service closes them; aiobotocore's own default."""

CLOCK_TOLERANCE_IN_SECONDS = 120.0
"""A smaller difference is not why a signature was refused: AWS allows five minutes."""

LARGE_BODY_IN_BYTES = 1 << 20
"""Above this, a body is written piece by piece, so that other calls go on meanwhile."""

USER_AGENT = f"poller/{__version__}"


class Clock:
    """What time do the services think it is? One for the whole daemon."""

    def __init__(self) -> None:
        self.offset_in_seconds = 0.0

    def now(self) -> float:
        return time.time() + self.offset_in_seconds

    def learn(self, date: str | None, *, signed_at: float) -> bool:
        """Believe an answer's Date header; false when the request's own time was near enough."""
        try:
            theirs = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return False
        if abs(theirs - signed_at) < CLOCK_TOLERANCE_IN_SECONDS:
            return False
        self.offset_in_seconds = theirs - time.time()
        return True


class Answer(NamedTuple):
    """What came back, of whatever status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def error_code(self) -> str:
        """The service's code for its error, `Http<status>` where it names none."""
        named = self.headers.get("x-amzn-errortype") or self._document().get("__type")
        named = named or self.headers.get("x-amzn-query-error") or self._document().get("code")
        return bare_code(named) if isinstance(named, str) and named else f"Http{self.status}"

    def error(self) -> ServiceError:
        """This answer as an error of ours."""
        document = self._document()
        message = document.get("message") or document.get("Message") or ""
        retry_after = self.headers.get("retry-after")
        return refusal(str(message), code=self.error_code(), status=self.status, retry_after=retry_after)

    def _document(self) -> dict[str, object]:
        try:
            document = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return document if isinstance(document, dict) else {}


class Route(NamedTuple):
    """A resource, made ready for the HTTP session."""

    resource: Resource
    url: URL
    proxy: str | None

    @classmethod
    def to(cls, resource: Resource, *, proxy: str | None) -> Route:
        return cls(resource, URL(resource.url, encoded=True), proxy)


def http_session(tls: ssl.SSLContext) -> aiohttp.ClientSession:
    """The session that all wires share. How many calls run at once is decided elsewhere, so it sets no limit."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEP_ALIVE_IN_SECONDS, ssl=tls, resolver=aiohttp.ThreadedResolver()
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


class Wire:
    """Sends requests to one service as one caller."""

    def __init__(self, session: aiohttp.ClientSession, *, identity: Identity, signer: Signer, clock: Clock) -> None:
        self._session = session
        self._identity = identity
        self._signer = signer
        self._clock = clock

    async def post(
        self, route: Route, headers: Mapping[str, str], body: bytes, *, timeout: aiohttp.ClientTimeout
    ) -> Answer:
        """Raises AccessDenied when there are no credentials, Unreachable when there is no answer."""
        keys = await self._identity.keys()
        now = self._clock.now()
        answer = await self._send(
            route, self._signer.sign(route.resource, headers, body, keys=keys, now=now), body, timeout
        )
        if answer.status < 400:
            return answer
        code = answer.error_code()
        if code in CLOCK_CODES and self._clock.learn(answer.headers.get("date"), signed_at=now):
            now = self._clock.now()
        elif code in RENEWABLE_CODES and (renewed := await self._identity.renew(keys)) != keys:
            keys = renewed
        else:
            return answer
        return await self._send(
            route, self._signer.sign(route.resource, headers, body, keys=keys, now=now), body, timeout
        )

    async def _send(self, route: Route, signed: dict[str, str], body: bytes, timeout: aiohttp.ClientTimeout) -> Answer:
        signed |= UNSIGNED_HEADERS
        data = body if len(body) <= LARGE_BODY_IN_BYTES else io.BytesIO(body)
        try:
            response = await self._session.post(
                route.url, data=data, headers=signed, timeout=timeout, proxy=route.proxy, allow_redirects=False
            )
            return Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise no_answer(error) from error


UNSIGNED_HEADERS = {"user-agent": USER_AGENT, "accept": "*/*", "accept-encoding": "identity"}
"""What aiohttp would otherwise put in by itself."""


def timeout_of(seconds: float) -> aiohttp.ClientTimeout:
    """A call's time in all."""
    return aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_TIMEOUT_IN_SECONDS)
