"""How does the parent pass a call of the control socket on? It chooses the worker with the fewest of these calls.

If this worker may not begin the call, it asks the other workers itself (other_workers.py).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import aiohttp
import orjson
from aiohttp import web

from poller.admin.connections import Connections
from poller.lambda_api.server import LONGEST_CALL_IN_SECONDS
from poller.workers.asking import session_with
from poller.workers.team import Team, Worker

_OF_REQUEST = ("Connection", "Expect", "Host", "Transfer-Encoding")
_OF_ANSWER = ("Connection", "Content-Length", "Date", "Transfer-Encoding")
"""The headers that belong to one connection, so that the parent does not pass them on."""


class Invocations:
    """Passes each call of the control socket on to one worker."""

    def __init__(self, folder: Path, team: Team) -> None:
        self._folder = folder
        self._team = team
        self._running: Counter[int] = Counter()

    async def respond(self, request: web.Request, /, *, connections: Connections) -> web.StreamResponse:
        workers = self._team.at_work
        if not workers or self._team.stop.has_begun:
            return _unavailable("no worker runs now")
        worker = min(workers, key=lambda worker: self._running[worker.number])
        self._running[worker.number] += 1
        try:
            with connections.working(request.transport, LONGEST_CALL_IN_SECONDS):
                return await self._passed_on(worker, request)
        except (aiohttp.ClientError, OSError):
            return _unavailable(f"worker {worker.number} ended before it answered")
        finally:
            self._running[worker.number] -= 1

    async def _passed_on(self, worker: Worker, request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name not in _OF_REQUEST}
        async with (
            session_with(self._folder, worker.number, LONGEST_CALL_IN_SECONDS) as session,
            session.post(request.raw_path, data=request.content, headers=headers) as answer,
        ):
            body = await answer.read()
            kept = {name: value for name, value in answer.headers.items() if name not in _OF_ANSWER}
            return web.Response(status=answer.status, body=body, headers=kept)


def _unavailable(why: str) -> web.Response:
    return web.Response(
        status=503, body=orjson.dumps({"Type": "Service", "message": why}), content_type="application/json"
    )
