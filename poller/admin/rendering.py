"""When is a page rendered? At a request, in a worker thread, once for all requests that wait at the same time.

    request ──┐
    request ──┴─ waiting ──> rendered in the thread ──> answers all requests that came before it was begun,
                                                        and later ones while it is young enough

With a thousand mappings, rendering takes seconds. In the event loop it would stop everything else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf

import anyio
import anyio.lowlevel
from anyio import to_thread


class Rendering:
    """One page. `make` renders the page in a worker thread. A rendered page is used for `maximum_age_in_seconds`.

    `refresh` is awaited before each rendering, so that the page shows the present values.
    """

    def __init__(
        self,
        make: Callable[[], bytes],
        refresh: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint,
        *,
        maximum_age_in_seconds: float = 0.0,
    ) -> None:
        self._make = make
        self._refresh = refresh
        self._maximum_age_in_seconds = maximum_age_in_seconds
        self._turn = anyio.Lock()
        self._page = b""
        self._begun_at = -inf

    async def get(self) -> bytes:
        wanted_since = anyio.current_time() - self._maximum_age_in_seconds
        async with self._turn:
            if self._begun_at < wanted_since:
                begun_at = anyio.current_time()
                await self._refresh()
                self._page = await to_thread.run_sync(self._make, abandon_on_cancel=True)
                self._begun_at = begun_at
            return self._page
