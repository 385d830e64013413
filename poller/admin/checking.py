"""What may a request to one server do? `guard.py` has the rules; this module reads the request's headers.

/api/...         a change needs the token, or a server on loopback without a token; a few lists need the same
a form           only a reader who may change something may send it; `viewer` says who may, and `acting.py` checks it
a page, JSON     everybody may read it; beyond loopback, a function's own words need the token or a login
"""

from __future__ import annotations

from typing import NamedTuple

from aiohttp import web

from poller.admin.guard import ANOTHER_SITE, WRONG_HOST, Denial, GetAccess, refused_change
from poller.admin.hosts import is_allowed
from poller.admin.openapi import READS
from poller.admin.page.forms import CHANGE_PATH, LOGIN_PATH, LOGOUT_PATH
from poller.admin.page.view import Viewer
from poller.admin.requester import requester
from poller.admin.sessions import COOKIE, Sessions
from poller.http.another_site import is_of_another_site

_OF_ANY_HOST = ("/healthz", "/metrics")

_READING = ("GET", "HEAD")

_LISTS = frozenset(read.path for read in READS if read.needs_right)

_FORMS = (CHANGE_PATH, LOGIN_PATH, LOGOUT_PATH)

_ENCODED = Denial(415, "the body must have no Content-Encoding")

_IN_CHUNKS = Denial(411, "the body must have a Content-Length")
"""A body in chunks is refused, because aiohttp does not end the read of a body whose later chunks are malformed."""


class Guard(NamedTuple):
    """Decides what the requests to one server may do."""

    access: GetAccess
    is_loopback: bool
    sessions: Sessions

    def denial(self, request: web.Request) -> Denial | None:
        """Return why the request is refused, or None if it is accepted."""
        headers = request.headers
        if request.path not in _OF_ANY_HOST and not is_allowed(headers.getall("Host", ()), self.access().hosts):
            return WRONG_HOST
        if is_of_another_site(request):
            return ANOTHER_SITE
        if request.path in _LISTS:
            return self._refused_change(request)
        is_call = request.path.startswith("/api/")
        if request.method in _READING or not (is_call or request.path in _FORMS):
            return None
        if is_call and (denial := self._refused_change(request)) is not None:
            return denial
        if "Content-Encoding" in headers:
            return _ENCODED
        return _IN_CHUNKS if "Transfer-Encoding" in headers else None

    def viewer(self, request: web.Request) -> Viewer:
        """Return what the reader of the page may see and do."""
        token, session = self.access().admin_token, request.cookies.get(COOKIE, "")
        is_logged_in = token is not None and self.sessions.is_valid(session, token)
        may_change = is_logged_in or self._refused_change(request) is None
        return Viewer(
            sees_words=may_change or self.is_loopback,
            may_change=may_change,
            can_log_in=token is not None,
            is_logged_in=is_logged_in,
            proof=self.sessions.proof(session if is_logged_in else ""),
        )

    def requester(self, request: web.Request) -> str:
        """Return, in words for the log, who has sent this request. The request must not have been refused."""
        return requester(request.transport, needs_token=self.access().admin_token is not None)

    def _refused_change(self, request: web.Request) -> Denial | None:
        authorizations, token = request.headers.getall("Authorization", ()), self.access().admin_token
        return refused_change(authorizations=authorizations, token=token, is_loopback=self.is_loopback)
