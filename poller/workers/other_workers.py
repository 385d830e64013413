"""How does a worker pass on a call that it may not begin? It asks the other workers, one by one.

    client ── call ──> worker 2 has no free unit ──┬──> worker 3, which made the last such call ── makes it ──> answer
                                                   ├──> worker 1, if worker 3 may not begin it
                                                   └──> status 429, if no worker may begin it

Any worker may accept a client, but only a worker with a free unit of the function's `reserved_concurrency` may begin
the call. The request goes to the socket of the other worker in the private folder. A header says that it is passed on,
so the other worker passes it on no further.
No worker is asked twice. The worker that has made the last call of the function is asked first, because it probably
has a unit. So most calls are passed on only once.
The body is sent only when the other worker asks for it (`Expect: 100-continue`). If that worker hangs or ends before,
the call has certainly not begun there. If it ends afterwards, nobody knows whether the call has begun, so no other
worker is asked, and the client gets the answer of a lost call.
A worker that hangs delays few calls: once its first calls got no answer, one call at a time waits for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from math import inf
from pathlib import Path
from urllib.parse import quote

import aiohttp
import anyio

from poller.admin import connections
from poller.engine.stop import Stop
from poller.lambda_api import server
from poller.lambda_api.exchange import Answer, Request
from poller.lambda_api.invoking import HEADERS_OF_A_CALL, PASSED_ON
from poller.model.function import Function
from poller.model.ids import FunctionName
from poller.model.invocation import LostAnswer
from poller.workers.asking import LONGEST_WAIT_IN_SECONDS, session_with
from poller.workers.membership import Membership

NOT_BEGUN = (404, 503)
"""The statuses of a worker that has not begun the call: it does not know the function, or may not call it now."""

MAXIMUM_REMEMBERED = 1000
"""For how many functions a worker remembers who has made the last call. Only many reloads lead to more functions."""


def maximum_connections(workers: int) -> int:
    """Return how many connections the socket of a worker needs: those of the parent, and one for each call passed on.

    Calls that are passed on can never keep the parent out.
    """
    return connections.MAXIMUM_CONNECTIONS + (workers - 1) * server.MAXIMUM_CONNECTIONS


class OtherWorkers:
    """The other workers of the daemon, as one of them sees them."""

    def __init__(self, membership: Membership, *, stop: Stop) -> None:
        self._folder = Path(membership.folder)
        self._number = membership.number
        self._of = membership.of
        self._stop = stop
        self._hanging: dict[int, float] = {}  # a worker that hangs, and when a call may wait for it again
        self._last: dict[FunctionName, int] = {}  # the worker that has made the last call of a function

    async def pass_on(self, function: Function, request: Request, /) -> Answer | LostAnswer | None:
        """Let another worker make the call. Implements `lambda_api.invoking.PassOn`.

        A worker that stops passes nothing on, because it may end before the answer comes.
        """
        if self._stop.has_begun or function.reserved_concurrency == 0:
            return None
        for number in self._in_order(function.name):
            answer = await self._answer_of(number, request)
            if answer is not None:
                self._remember(function.name, number)
                return answer
        return None

    def _in_order(self, name: FunctionName) -> Iterator[int]:
        """Yield the numbers of the other workers, first that of the worker that has made the last call."""
        last = self._last.get(name)
        if last is not None:
            yield last
        for number in (*range(self._number + 1, self._of + 1), *range(1, self._number)):
            if number != last:
                yield number

    def _remember(self, name: FunctionName, number: int) -> None:
        self._last.pop(name, None)
        self._last[name] = number
        if len(self._last) > MAXIMUM_REMEMBERED:
            del self._last[next(iter(self._last))]

    async def _answer_of(self, number: int, request: Request) -> Answer | LostAnswer | None:
        """Return the worker's answer, or None if the call has not begun there."""
        if number in self._hanging:
            now = anyio.current_time()
            if now < self._hanging[number]:
                return None
            self._hanging[number] = now + LONGEST_WAIT_IN_SECONDS
        is_sent = False
        with anyio.move_on_after(LONGEST_WAIT_IN_SECONDS) as waiting:

            async def body() -> AsyncIterator[bytes]:
                """Yield the body. aiohttp runs this in a task of its own, once the worker asks for the body."""
                nonlocal is_sent
                if waiting.cancel_called:
                    raise TimeoutError("the next worker is asked already")
                waiting.deadline, is_sent = inf, True
                self._hanging.pop(number, None)
                yield request.body or b"{}"

            try:
                async with (
                    session_with(self._folder, number, server.LONGEST_CALL_IN_SECONDS) as session,
                    session.post(_path(request), data=body(), headers=_headers(request), expect100=True) as reply,
                ):
                    return None if reply.status in NOT_BEGUN else await _answer(reply)
            except (aiohttp.ClientError, OSError):
                return LostAnswer(reason=f"worker {number} ended before it answered") if is_sent else None
        self._hanging[number] = anyio.current_time()
        return None


def _path(request: Request) -> str:
    """Return the path of Invoke for this function: the control socket serves no other call."""
    name, qualifier = request.segments[2], request.query.get("Qualifier")
    query = "" if qualifier is None else f"?Qualifier={quote(qualifier, safe='')}"
    return f"/2015-03-31/functions/{quote(name, safe='')}/invocations{query}"


def _headers(request: Request) -> dict[str, str]:
    kept = {name: request.headers[name] for name in HEADERS_OF_A_CALL if name in request.headers}
    return {**kept, PASSED_ON: "1"}


async def _answer(reply: aiohttp.ClientResponse) -> Answer:
    """Return the answer with AWS's headers. The server adds the others again."""
    headers = {
        name: value for name, value in reply.headers.items() if name == "Retry-After" or name.startswith("X-Amz")
    }
    return Answer(status=reply.status, body=await reply.read(), headers=headers)
