"""How does a person act on the page? A form makes each change, and its answer leads back to the page.

    GET  /           the page                           POST /change     one call of /api/ (`calls.py`)
    GET  /settings   the settings in use                POST /login      begin a session, with the admin token
    GET  /login      asks for the admin token           POST /logout     end it
    GET  /page.css, /page.js

A form is refused if it has no proof that our page made it (`sessions.py`), or if its reader may not change anything.
Some changes need two forms (`asking.py`): the answer to the first one is a question, and the second one answers it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import orjson
from aiohttp import web
from anyio import to_thread

from poller.admin import changing
from poller.admin.asking import Asking, html
from poller.admin.calls import CALLS, ShardBody
from poller.admin.changing import Call, Changes
from poller.admin.checking import Guard
from poller.admin.connections import Connections
from poller.admin.page.dialogs import failure, login, settings
from poller.admin.page.document import SCRIPT, STYLE, render
from poller.admin.page.forms import (
    CALL,
    CHANGE_PATH,
    EVENTS_PATH,
    IS_SURE,
    LOGIN_PATH,
    LOGOUT_PATH,
    POSITION_PATH,
    PROOF,
    QUERY,
    events_url,
    position_url,
)
from poller.admin.page.view import Query, Viewer
from poller.admin.rendering import Rendering
from poller.admin.sessions import COOKIE, LASTS_IN_SECONDS
from poller.admin.viewing import Viewing
from poller.facts import Emit
from poller.model.status import MappingStatus, ShownSettings

PAGE_SECONDS = 1.0
"""The largest age of a page that is shown again, so that many open tabs cost no more than one."""

PAGES_KEPT = 16
"""How many different pages are kept for `PAGE_SECONDS`: readers may have different rights and searches."""

PAUSE_AFTER_WRONG_TOKEN_IN_SECONDS = 1.0

MAXIMUM_FIELDS = 20


class Acting:
    """The page of one server, and the forms on it."""

    def __init__(
        self,
        viewing: Viewing,
        statuses: Callable[[], Sequence[MappingStatus]],
        settings: Callable[[], ShownSettings] | None,
        *,
        guard: Guard,
        changes: Changes,
        connections: Connections,
        emit: Emit,
    ) -> None:
        """`settings` returns the settings in use, in a worker thread; None means no such page."""
        self._viewing = viewing
        self._settings_in_use = settings
        self._guard = guard
        self._changes = changes
        self._connections = connections
        self._emit = emit
        self._asking = Asking(statuses, refresh=viewing.refresh, guard=guard, changes=changes)
        self._pages: dict[tuple[Viewer, Query], Rendering] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self._page),
            web.get("/page.css", partial(_file, STYLE, "text/css")),
            web.get("/page.js", partial(_file, SCRIPT, "text/javascript")),
            web.get("/settings", self._settings),
            web.get(LOGIN_PATH, self._ask_for_token),
            web.post(LOGIN_PATH, self._log_in),
            web.post(LOGOUT_PATH, self._log_out),
            web.post(CHANGE_PATH, self._change),
            *self._asking.routes(),
        ]

    async def _page(self, request: web.Request) -> web.Response:
        key = (self._guard.viewer(request), Query.of(request.query))
        if (page := self._pages.pop(key, None)) is None:
            page = Rendering(
                lambda: render(self._viewing.view(*key)).encode(),
                self._viewing.refresh,
                maximum_age_in_seconds=PAGE_SECONDS,
            )
        self._pages[key] = page
        while len(self._pages) > PAGES_KEPT:
            del self._pages[next(iter(self._pages))]
        return web.Response(body=await page.get(), content_type="text/html", charset="utf-8")

    async def _settings(self, request: web.Request) -> web.Response:
        if self._settings_in_use is None:
            raise web.HTTPNotFound
        if not self._guard.viewer(request).sees_words:
            return html(login(), status=401)
        return html(settings(await to_thread.run_sync(self._settings_in_use, abandon_on_cancel=True)))

    async def _ask_for_token(self, _request: web.Request) -> web.Response:
        return html(login())

    async def _log_in(self, request: web.Request) -> web.Response:
        fields, expected = await _fields(request), self._guard.access().admin_token
        given = fields.get("token", "")
        if expected is None or not hmac.compare_digest(given.encode(errors="replace"), expected.encode()):
            await anyio.sleep(PAUSE_AFTER_WRONG_TOKEN_IN_SECONDS)
            return html(login(was_wrong=True), status=401)
        answer = _redirect("/")
        answer.set_cookie(
            COOKIE,
            self._guard.sessions.begin(expected),
            max_age=LASTS_IN_SECONDS,
            httponly=True,
            samesite="Strict",
        )
        return answer

    async def _log_out(self, request: web.Request) -> web.Response:
        fields, viewer = await _fields(request), self._guard.viewer(request)
        if not _is_ours(fields, viewer):
            return html(failure(NOT_OURS), status=403)
        self._guard.sessions.end(request.cookies.get(COOKIE, ""))
        answer = _redirect("/")
        answer.del_cookie(COOKIE)
        return answer

    async def _change(self, request: web.Request) -> web.Response:
        fields, viewer = await _fields(request), self._guard.viewer(request)
        back = _back(fields.get(QUERY, ""))
        if not viewer.may_change:
            return html(login(), status=401)
        if not _is_ours(fields, viewer):
            return html(failure(NOT_OURS, back=back), status=403)
        call = next((call for call in CALLS if call.path == f"/api/{fields.get(CALL)}"), None)
        if call is None:
            return html(failure("There is no such change.", back=back), status=400)
        body = _body(call, fields)
        if fields.get(IS_SURE) != "yes":
            question = await self._asking.question(call, body, viewer, back)
            if question is not None:
                return question
        before = self._asking.blocked(body)
        with self._connections.working(request.transport, changing.LONGEST_SECONDS):
            answer = await changing.respond(
                call, self._changes, orjson.dumps(body), by=self._guard.requester(request), emit=self._emit
            )
        if answer.status != 200:
            why = str(answer.body["error"])
            return html(failure(why, back=back, title="The change has failed"), status=answer.status)
        if call.body is ShardBody:
            await self._asking.wait_for_effect(body, before)
        self._pages.clear()  # the reader must not see a page from before the change
        return _redirect(back)


NOT_OURS = "This form is too old, or is not from this page. Load the page again."

OWN_FIELDS = (CALL, PROOF, QUERY, IS_SURE)


async def _fields(request: web.Request) -> Mapping[str, str]:
    """Return the fields of a form. If the body is not a form, return no fields."""
    body = await request.read()
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAXIMUM_FIELDS))
    except ValueError:
        return {}


def _is_ours(fields: Mapping[str, str], viewer: Viewer) -> bool:
    """Return whether the form has the proof that our page made it."""
    return hmac.compare_digest(fields.get(PROOF, "").encode(errors="replace"), viewer.proof.encode())


def _body(call: Call[Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of the call that a form means. A form has texts alone, and an empty field means null."""
    body: dict[str, Any] = {}
    for name, field in call.body.model_fields.items():
        if field.annotation is bool:
            body[name] = fields.get(name) == "yes"
        elif fields.get(name) or field.is_required():
            body[name] = fields.get(name) or None
    others = {name: value for name, value in fields.items() if name not in body and name not in OWN_FIELDS and value}
    return body | others


def _back(url: str) -> str:
    """Return the address of the page that this address names. The result is always one of our own pages."""
    try:
        parts = urlsplit(url)
        parameters = dict(parse_qsl(parts.query, max_num_fields=MAXIMUM_FIELDS))
    except ValueError:
        return "/"
    if parts.path == POSITION_PATH:
        return position_url(parameters.get("mapping", ""))
    if parts.path == EVENTS_PATH:
        return events_url(parameters.get("function", ""))
    return Query.of(parameters).url


def _redirect(to: str) -> web.Response:
    return web.Response(status=303, headers={"Location": to})


async def _file(content: bytes, content_type: str, _request: web.Request) -> web.Response:
    return web.Response(body=content, content_type=content_type, charset="utf-8")
