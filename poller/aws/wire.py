"""How is a request signed and sent, and what is done if the service rejects its signature?

If a service rejects a request because our clock or our credentials are wrong, the request is sent once more:

    clock          the answer's Date header corrects our copy of the endpoint's clock (clock.py) for the new signature
    credentials    the identity searches for credentials again; only different ones are tried

A request that was rejected in this way had no effect, so it is safe to send it again.
One deadline covers the whole call: the search for credentials, the connection, the answer, and the second request.
Any other answer is returned, even one that reports an error. An exception means that no answer came.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio
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
"""A smaller correction of the clock is no reason to send again: AWS accepts a difference of five minutes."""

USER_AGENT = f"poller/{__version__}"
UNSIGNED_HEADERS = {"user-agent": USER_AGENT, "accept": "*/*", "accept-encoding": "identity"}
"""The headers of every request that are not signed, because a proxy may change them."""


class Answer(NamedTuple):
    """The answer to a request, with any status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def error_code(self) -> str:
        """Return the error code that the service sent, or `Http<status>` if it sent none."""
        named = self.headers.get("x-amzn-errortype") or self._document().get("__type")
        named = named or self.headers.get("x-amzn-query-error") or self._document().get("code")
        return (bare_code(named) if isinstance(named, str) else "") or f"Http{self.status}"

    def error(self) -> ServiceError:
        """Return the error of `poller.errors` for this answer."""
        document = self._document()
        text = document.get("message") or document.get("Message")
        message = text if isinstance(text, str) else ""
        retry_after = self.headers.get("retry-after")
        return service_error(message, code=self.error_code(), status=self.status, retry_after=retry_after)

    def _document(self) -> dict[str, object]:
        try:
            document = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return document if isinstance(document, dict) else {}


class Route(NamedTuple):
    """A resource, ready for requests. `start` is the beginning of each request's head, which never changes.

    `proxy` is the url of the proxy that requests go through; None if there is none.
    """

    resource: Resource
    origin: Origin
    start: str
    proxy: str | None

    @classmethod
    def to(cls, resource: Resource, *, proxy: str | None) -> Route:
        parts = urlsplit(resource.url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        if not VISIBLE.fullmatch(target + resource.host):
            raise SettingsError([f"AWS endpoint {resource.host!r}: its url has a character that urls may not have"])
        unsigned = "".join([f"{name}: {value}\r\n" for name, value in UNSIGNED_HEADERS.items()])
        return cls(resource, Origin.of(resource.url), f"POST {target} HTTP/1.1\r\n{unsigned}", proxy)


VISIBLE = re.compile("[!-~]+")


class Wire:
    """Sends requests to one service with one identity. `clock` is the clock of the endpoint."""

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
        """Sign and send a request, and return the answer.

        Raises only errors.ServiceError, such as AccessDenied if there are no credentials, and Unreachable if no answer
        comes. The service may receive a repeatable request twice.
        """
        deadline = self.clock.steady() + timeout_in_seconds
        credentials = self._identity.known_credentials or await self._before(deadline, self._identity.credentials())
        asked_at, now = self.clock.steady(), self.clock.now()
        signed = self._signer.sign(route.resource, headers, body, credentials=credentials, now=now)
        answer = await self._send(route, signed, body, deadline, is_repeatable)
        if answer.status < 400:
            self.clock.correct(answer.headers.get("date"), asked_at=asked_at)
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
        """Wait for a search for credentials. Raises Unreachable at the deadline, when no request has had an effect."""
        try:  # asyncio.timeout would cancel only once, and anyio kills a credential process at the second time
            with anyio.fail_after(deadline - self.clock.steady()):
                return await search
        except TimeoutError as error:
            raise Unreachable("no credentials in time", code="CredentialsTimeout", was_sent=False) from error

    def _corrects_clock(self, answer: Answer, *, asked_at: float, signed_at: float) -> bool:
        """Correct the clock by the answer. Return whether the request's time was so wrong that AWS rejects it.

        If not, the service has rejected the signature for another reason.
        """
        self.clock.correct(answer.headers.get("date"), asked_at=asked_at)
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
