"""Which requests are refused before anything else is done?

    another site    a page of another site sent it: 403 for every path and method
    a change        the client has no right to change anything: 401 or 403; some lists need the same right

`http/another_site.py` finds out whether a page of another site sent a request.

If the settings have an admin token, a change needs it. If not, only a server that listens on loopback accepts a change.
The address where the server listens counts, and not the address of the client, because a proxy on this host makes all
of its clients local.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The settings that decide which requests are refused.

    `hosts` are the allowed host names, in lower case (`hosts.py`).
    """

    hosts: Collection[str] = ()
    admin_token: str | None = field(default=None, repr=False)


GetAccess = Callable[[], Access]
"""Called for each request, because a reload may change the settings."""


class Denial(NamedTuple):
    status: int
    reason: str


WRONG_HOST = Denial(421, "this name is not in [daemon] http_hosts")
ANOTHER_SITE = Denial(403, "a page of another site sent this request")
NO_TOKEN_IS_SET = Denial(
    403, "this server listens beyond loopback, so this needs [daemon] admin_token, which is not set"
)
WRONG_TOKEN = Denial(401, "this needs the header Authorization: Bearer, with [daemon] admin_token")


def refused_change(*, authorizations: Sequence[str], token: str | None, is_loopback: bool) -> Denial | None:
    """Return why a change is refused, or None if it is allowed.

    `authorizations` are all `Authorization` headers of the request.
    """
    if token is None:
        return None if is_loopback else NO_TOKEN_IS_SET
    if len(authorizations) != 1:
        return WRONG_TOKEN
    scheme, _, given = authorizations[0].partition(" ")
    is_right = hmac.compare_digest(given.strip().encode(errors="replace"), token.encode())
    return None if scheme.lower() == "bearer" and is_right else WRONG_TOKEN
