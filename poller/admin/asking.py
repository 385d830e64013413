"""Which further pages does a change need? On some a person chooses what to change; others ask before a change.

    GET /position?mapping=NAME   the positions of a mapping, with the form that moves them
    GET /events?function=NAME    the stuck events of a function, with the forms that retry or drop them
    a discard, a move, a drop    the answer to the first form is a question, and the second form makes the change

All of these pages need the right to change something.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import time
from typing import Any

import anyio
import orjson
from aiohttp import web

from poller.admin.calls import EventsBody, PositionBody, ShardBody
from poller.admin.changing import Call, Changes, respond
from poller.admin.checking import Guard
from poller.admin.page import positions, stuck
from poller.admin.page.dialogs import failure, login, question
from poller.admin.page.forms import EVENTS_PATH, POSITION_PATH, position_url
from poller.admin.page.view import Viewer
from poller.core.streams.written_positions import absolute
from poller.errors import PollerError
from poller.model.status import BlockedShard, MappingStatus

NOT_SHOWN = "This cannot be shown"

LONGEST_WAIT_IN_SECONDS = 2.0
LOOK_EVERY_SECONDS = 0.1
"""How long a person waits for the effect of an order, and how often we look for it. We chose both."""


class Asking:
    """The pages of one server that ask a person."""

    def __init__(
        self,
        statuses: Callable[[], Sequence[MappingStatus]],
        *,
        refresh: Callable[[], Awaitable[None]],
        guard: Guard,
        changes: Changes,
    ) -> None:
        self._statuses = statuses
        self._refresh = refresh
        self._guard = guard
        self._changes = changes

    def routes(self) -> list[web.RouteDef]:
        return [web.get(POSITION_PATH, self._positions), web.get(EVENTS_PATH, self._events)]

    async def question(
        self, call: Call[Any], body: Mapping[str, Any], viewer: Viewer, back: str
    ) -> web.Response | None:
        """Return the page that asks before a change, or the page that says why the change is impossible.

        Return None if the change needs no question.

        `body` is the body of the call, and the answer to the question leads to `back`.
        """
        if call.body is ShardBody and body.get("action") == "discard":
            return await self._before_discard(body, viewer, back)
        if call.body is PositionBody:
            return await self._before_move(call, body, viewer, back)
        if call.body is EventsBody and body.get("action") == "drop":
            return await self._before_drop(body, viewer, back)
        return None

    def blocked(self, body: Mapping[str, Any]) -> BlockedShard | None:
        """Return the blocked shard that the body of a call names, or None if it names none."""
        found = self._found(body)
        return None if found is None else found[1]

    async def wait_for_effect(self, body: Mapping[str, Any], before: BlockedShard | None) -> None:
        """Wait a short time until an order has changed the shard that its body names.

        So the page that the person sees next shows the effect of the order.
        """
        with anyio.move_on_after(LONGEST_WAIT_IN_SECONDS):
            while self.blocked(body) == before:
                await anyio.sleep(LOOK_EVERY_SECONDS)
                await self._refresh()

    async def _positions(self, request: web.Request) -> web.Response:
        viewer = self._guard.viewer(request)
        if not viewer.may_change:
            return html(login(), status=401)
        name = request.query.get("mapping", "")
        try:
            report = await self._changes.positions(name)
        except PollerError as error:
            return html(failure(str(error), title=NOT_SHOWN), status=409)
        await self._refresh()
        for status in self._statuses():
            if status.mapping == name:
                return html(positions.positions(status, report, viewer, now=time()))
        return html(failure(f"There is no mapping {name}.", title=NOT_SHOWN), status=409)

    async def _events(self, request: web.Request) -> web.Response:
        viewer = self._guard.viewer(request)
        if not viewer.may_change:
            return html(login(), status=401)
        try:
            report = await self._changes.stuck_events(request.query.get("function", ""))
        except PollerError as error:
            return html(failure(str(error), title=NOT_SHOWN), status=409)
        return html(stuck.stuck_events(report, viewer, now=time()))

    async def _before_discard(self, body: Mapping[str, Any], viewer: Viewer, back: str) -> web.Response:
        await self._refresh()
        found = self._found(body)
        if found is None or "discard" not in found[1].actions:
            return html(failure("This batch no longer blocks the shard.", back=back), status=409)
        return html(question(*found, viewer, back=back))

    def _found(self, body: Mapping[str, Any]) -> tuple[MappingStatus, BlockedShard] | None:
        for status in self._statuses():
            if status.mapping == body.get("mapping") and status.stream is not None:
                for shard in status.stream.blocked:
                    if shard.shard_id == body.get("shard"):
                        return status, shard
        return None

    async def _before_move(self, call: Call[Any], body: Mapping[str, Any], viewer: Viewer, back: str) -> web.Response:
        body = {**body, "position": absolute(str(body.get("position")), time())}  # as the person has seen it
        shows = orjson.dumps({**body, "only_shows": True})
        shown = await respond(call, self._changes, shows, by="", emit=lambda _: None)
        if shown.status != 200:
            again = position_url(str(body.get("mapping")))
            return html(failure(str(shown.body["error"]), back=again), status=shown.status)
        return html(positions.question(shown.body, body, viewer, back=back))

    async def _before_drop(self, body: Mapping[str, Any], viewer: Viewer, back: str) -> web.Response:
        request_id = body.get("request_id")
        try:
            report = await self._changes.stuck_events(str(body.get("function")))
        except PollerError as error:
            return html(failure(str(error), back=back), status=409)
        if not any(request_id in (None, event["request_id"]) for event in report["events"]):
            return html(failure("The event is not stuck any more.", back=back), status=409)
        return html(stuck.question(report, request_id, viewer))


def html(page: str, *, status: int = 200) -> web.Response:
    """Return an answer with a page. Bytes of a path that are not UTF-8 become question marks."""
    body = page.encode(errors="replace")
    return web.Response(body=body, status=status, content_type="text/html", charset="utf-8")
