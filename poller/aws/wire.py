"""How does a signed request go out and its answer come back? One signature a call, one pool of connections.

If a service refuses because our clock or our credentials are wrong, the wire corrects them and sends the request again:

    clock   the endpoint's clock is corrected by the answer's Date header (clock.py)
    credentials    the identity is renewed; when that brings other credentials, they are used

Neither kind of error has had an effect, so sending again is safe whatever the request does.
One deadline is for all of it: the credentials, the connection, the answer, and the request that is sent once more.
Every other answer is returned, whatever it says; an exception means that there was no answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from poller import __version__
from poller.aws.clock import ServiceClock
from poller.aws.errors import CLOCK_CODES, RENEWABLE_CODES, bare_code, service_error
from poller.aws.identity import Identity
from poller.aws.signing import Credentials, Resource, Signer
from poller.errors import ServiceError, SettingsError, Unreachable
from poller.http.http1 import request
from poller.http.pool import Origin, Pool
from poller.http.proxied import Proxied

CLOCK_TOLERANCE_IN_SECONDS = 120.0
"""A smaller difference is not why a signature was refused: AWS allows five minutes."""

USER_AGENT = f"poller/{__version__}"
UNSIGNED_HEADERS = {"user-agent": USER_AGENT, "accept": "*/*", "accept-encoding": "identity"}
"""Everybody's; a proxy may change them."""


class Answer(NamedTuple):
    """What came back, of whatever status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def error_code(self) -> str:
        """The service's code for its error, `Http<status>` where it names none."""
        named = self.headers.get("x-amzn-errortype") or self._document().get("__type")
        named = named or self.headers.get("x-amzn-query-error") or self._document().get("code")
        return (bare_code(named) if isinstance(named, str) else "") or f"Http{self.status}"

    def error(self) -> ServiceError:
        """This answer as an error of ours."""
        document = self._document()
        said = document.get("message") or document.get("Message")
        message = said if isinstance(said, str) else ""
        retry_after = self.headers.get("retry-after")
        return service_error(message, code=self.error_code(), status=self.status, retry_after=retry_after)

    def _document(self) -> dict[str, object]:
        try:
            document = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return document if isinstance(document, dict) else {}


class Route(NamedTuple):
    """A resource, made ready to be sent to: `start` is the part of a request's head that never changes."""

    resource: Resource
    origin: Origin
    start: str
    proxy: str | None

    @classmethod
    def to(cls, resource: Resource, *, proxy: str | None) -> Route:
        parts = urlsplit(resource.url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        if not VISIBLE.fullmatch(target + resource.host):
            raise SettingsError([f"AWS endpoint {resource.host!r}: its url has a character that no url may have"])
        unsigned = "".join([f"{name}: {value}\r\n" for name, value in UNSIGNED_HEADERS.items()])
        return cls(resource, Origin.of(resource.url), f"POST {target} HTTP/1.1\r\n{unsigned}", proxy)


VISIBLE = re.compile("[!-~]+")


class Wire:
    """Sends requests to one service with one identity. `clock` is the endpoint's."""

    def __init__(
        self, pool: Pool, proxied: Proxied, *, identity: Identity, signer: Signer, clock: ServiceClock
    ) -> None:
        self._pool = pool
        self._proxied = proxied
        self._identity = identity
        self._signer = signer
        self.clock = clock

    async def post(
        self,
        route: Route,
        headers: Mapping[str, str],
        body: bytes,
        *,
        timeout_in_seconds: float,
        is_repeatable: bool = False,
    ) -> Answer:
        """Raises AccessDenied when there are no credentials, Unreachable when there is no answer.

        A repeatable request may reach the service twice.
        """
        deadline = self.clock.steady() + timeout_in_seconds
        credentials = self._identity.known_credentials or await self._before(deadline, self._identity.credentials())
        asked_at, now = self.clock.steady(), self.clock.now()
        signed = self._signer.sign(route.resource, headers, body, credentials=credentials, now=now)
        answer = await self._send(route, signed, body, deadline, is_repeatable)
        if answer.status < 400:
            self.clock.heard(answer.headers.get("date"), asked_at=asked_at)
            return answer
        code = answer.error_code()
        if code in CLOCK_CODES and self._corrects_clock(answer, asked_at=asked_at, signed_at=now):
            now = self.clock.now()
        elif (
            code in RENEWABLE_CODES
            and (renewed := await self._before(deadline, self._identity.renew(credentials))) != credentials
        ):
            credentials = renewed
        else:
            return answer
        signed = self._signer.sign(route.resource, headers, body, credentials=credentials, now=now)
        return await self._send(route, signed, body, deadline, is_repeatable)

    async def _before(self, deadline: float, search: Coroutine[Any, Any, Credentials]) -> Credentials:
        """Await a search for credentials within the deadline. No request has had an effect before it."""
        try:
            async with asyncio.timeout(deadline - self.clock.steady()):
                return await search
        except TimeoutError as error:
            raise Unreachable("no credentials in time", code="CredentialsTimeout", was_sent=False) from error

    def _corrects_clock(self, answer: Answer, *, asked_at: float, signed_at: float) -> bool:
        """False if the time of the request was near enough: then its signature was wrong for another reason."""
        self.clock.heard(answer.headers.get("date"), asked_at=asked_at)
        return abs(self.clock.now() - signed_at) >= CLOCK_TOLERANCE_IN_SECONDS

    async def _send(
        self, route: Route, signed: dict[str, str], body: bytes, deadline: float, is_repeatable: bool
    ) -> Answer:
        timeout_in_seconds = deadline - self.clock.steady()
        if timeout_in_seconds <= 0:
            raise Unreachable("no time is left to send the request", code="TimeoutError", was_sent=False)
        if route.proxy is None:
            message = request(route.start, signed, body)
            received = await self._pool.send(
                route.origin, message, timeout_in_seconds=timeout_in_seconds, is_repeatable=is_repeatable
            )
        else:
            signed |= UNSIGNED_HEADERS
            received = await self._proxied.send(
                route.resource.url, route.proxy, signed, body, timeout_in_seconds=timeout_in_seconds
            )
        return Answer._make(received)
