"""Which browsers have logged in with the admin token, and which forms come from our page?

    login with the token ──> a session: 128 random bits in a cookie ──> valid for 12 hours, or until the token changes
                                 └──> a proof in each form: only our page knows it

A page of another site can make the browser send a form, but cannot read our page, so it does not know the proof. The
browser also says which site a form comes from (`guard.py`); the proof protects readers whose browser does not say it.
The cookie is HttpOnly and SameSite=Strict. It is not Secure, because the daemon itself speaks HTTP.
Sessions are in memory: a restart of the daemon ends them. If there are too many, the oldest one ends.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable

COOKIE = "poller_session"

LASTS_IN_SECONDS = 12 * 3600

MAXIMUM_SESSIONS = 64


class Sessions:
    """The sessions of one server. `now` is a clock in seconds that never goes back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._secret = secrets.token_bytes(32)
        self._ends: dict[tuple[str, bytes], float] = {}
        """The end of each session, by its id and the token with which it began (hashed), the oldest session first."""

    def begin(self, token: str) -> str:
        """Begin a session of a browser that has sent the admin token. Return its id."""
        session = secrets.token_urlsafe(16)
        self._ends[session, self._hash(token)] = self._now() + LASTS_IN_SECONDS
        while len(self._ends) > MAXIMUM_SESSIONS:
            del self._ends[next(iter(self._ends))]
        return session

    def is_valid(self, session: str, token: str) -> bool:
        """Return whether the session lasts, and has begun with this token."""
        return self._ends.get((session, self._hash(token)), 0.0) > self._now()

    def end(self, session: str) -> None:
        self._ends = {key: at for key, at in self._ends.items() if key[0] != session}

    def proof(self, session: str) -> str:
        """Return what the forms of this session must contain. Browsers without a session share one proof."""
        return self._hash(f"proof {session}").hex()

    def _hash(self, text: str) -> bytes:
        return hmac.digest(self._secret, text.encode(errors="replace"), hashlib.sha256)
