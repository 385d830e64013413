"""Which url of a function gets the next call? The urls take turns, except those that are suspended.

    in use ── failed ──> suspended, for a pause that doubles ── pause over ──> tried again ── answered ──> in use

An emulator takes one call at a time. If no emulator is free, a call waits for at most a second, and then it is
throttled. So a call never begins long after its batch was hidden in the queue (engine/queues/invoking.py).
If all urls are suspended, the url whose pause ends first is used, because an attempt is better than none.
The only url of a function is never suspended: the mapping itself waits before it tries again.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from yarl import URL

from poller.core.backoff import Backoff
from poller.facts import Emit, UrlSuspended
from poller.http.pool import Origin
from poller.http.proxies import proxy_of
from poller.model.function import is_emulator
from poller.model.ids import FunctionName

ASIDE = Backoff(initial=1.0, maximum=60.0)
"""How long a url is suspended. The time grows with each failure in a row."""

LONGEST_WAIT_IN_SECONDS = 1.0
"""How long a call waits for a free emulator.

A function has one slot for each emulator, so a call waits only while another emulator fails or is suspended.
"""


@dataclass(slots=True, eq=False)
class Endpoint:
    """One url of a function. `proxy` is None if the url is reached directly.

    `calls` is the number of calls that run now, and `failures` the number of failures in a row. `aside_until` is the
    time at which the suspension ends, on anyio's clock.
    """

    url: URL
    origin: Origin
    proxy: URL | None
    is_emulator: bool
    calls: int = 0
    failures: int = 0
    aside_until: float = 0.0

    @property
    def has_room(self) -> bool:
        return not (self.is_emulator and self.calls)


class Endpoints:
    """The pool of one function's urls."""

    def __init__(self, urls: Sequence[str], *, function: FunctionName, emit: Emit) -> None:
        self._pool = [_endpoint(url) for url in urls]
        self._function = function
        self._emit = emit
        self._changed: anyio.Event | None = None  # exists only while a call waits for a free emulator
        self._randomness = random.Random()

    @asynccontextmanager
    async def turn(self, *, but: Collection[Endpoint]) -> AsyncIterator[Endpoint | None]:
        """Yield the endpoint for one call. If no endpoint is free, wait for one for a short time.

        The endpoints in `but` are left out, because this invocation has tried them already. Yields None if no other
        endpoint becomes free.
        """
        endpoint = await self._ready(but)
        if endpoint is None:
            yield None
            return
        endpoint.calls += 1
        try:
            yield endpoint
        finally:
            endpoint.calls -= 1
            if self._changed is not None:
                self._changed.set()
                self._changed = None

    def succeeded(self, endpoint: Endpoint) -> None:
        """End the suspension of an endpoint, because it has answered. Its next suspension is short again."""
        endpoint.failures = 0
        endpoint.aside_until = 0.0

    def failed(self, endpoint: Endpoint, detail: str, *, pause: float | None = None) -> None:
        """Suspend the endpoint, unless it is the only one.

        The suspension lasts `pause` seconds. If `pause` is None, it is longer after each failure in a row.
        """
        if len(self._pool) == 1:
            return
        endpoint.failures += 1
        retry_in = ASIDE.delay(endpoint.failures, self._randomness) if pause is None else pause
        endpoint.aside_until = anyio.current_time() + retry_in
        shown = str(endpoint.url.origin())  # no user, path or query: they may be secrets
        self._emit(UrlSuspended(function=self._function, url=shown, detail=detail, retry_in_seconds=retry_in))

    async def _ready(self, but: Collection[Endpoint]) -> Endpoint | None:
        endpoint = self._free(but)
        if endpoint is None and len(but) < len(self._pool):
            with anyio.move_on_after(LONGEST_WAIT_IN_SECONDS):
                while endpoint is None:
                    self._changed = self._changed or anyio.Event()
                    await self._changed.wait()
                    endpoint = self._free(but)
        return endpoint

    def _free(self, but: Collection[Endpoint]) -> Endpoint | None:
        """Return the next endpoint that can take a call, and move it to the end of the order."""
        candidates = [one for one in self._pool if one not in but]
        for endpoint in _preferred(candidates, anyio.current_time()) if candidates else ():
            if endpoint.has_room:
                self._pool.remove(endpoint)
                self._pool.append(endpoint)
                return endpoint
        return None


def _endpoint(url: str) -> Endpoint:
    proxy, parsed = proxy_of(url), URL(url)
    assert parsed.raw_host is not None
    assert parsed.port is not None
    return Endpoint(
        url=parsed,
        origin=Origin(parsed.raw_host, parsed.port, parsed.scheme == "https"),
        proxy=URL(proxy) if proxy is not None else None,
        is_emulator=is_emulator(url),
    )


def _preferred(candidates: Sequence[Endpoint], now: float) -> list[Endpoint]:
    alive = [one for one in candidates if one.aside_until <= now]
    return alive or [min(candidates, key=lambda one: one.aside_until)]
