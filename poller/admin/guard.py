"""Which requests are refused before anything else is done?

    another site    a page of another site sent it: 403 for every path and method
    a change        the client has no right to change anything: 401 or 403; some lists need the same right

A web page of any site can make the browser send requests to 127.0.0.1 or to a host of the reader's network. The browser
names the page's site in `Origin` and `Sec-Fetch-Site`. Programs send neither of these headers.
Source: Fetch Standard, "Origin header"; W3C Fetch Metadata Request Headers, "Sec-Fetch-Site".

If the settings have an admin token, a change needs it. If not, only a server that listens on loopback accepts a change.
The address where the server listens counts, and not the address of the client, because a proxy on this host makes all
of its clients local.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit


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

_OUR_SITE = ("same-origin", "none")
"""The values of `Sec-Fetch-Site` that are allowed. `none` means that a person typed the address into the browser."""


def is_of_another_site(*, origins: Iterable[str], fetch_sites: Iterable[str], hosts: Sequence[str]) -> bool:
    """Return whether a page of another site sent the request.

    The arguments have all values of the request's headers `Origin`, `Sec-Fetch-Site` and `Host`.
    """
    return any(site not in _OUR_SITE for site in fetch_sites) or any(not _is_ours(origin, hosts) for origin in origins)


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


def _is_ours(origin: str, hosts: Sequence[str]) -> bool:
    """Return whether the origin has the host and port of the Host header.

    The scheme does not count, because a proxy may speak HTTPS with the browser and HTTP with the daemon.
    """
    try:
        authority = urlsplit(origin).netloc
    except ValueError:
        return False
    return len(hosts) == 1 and authority != "" and authority.lower() == hosts[0].strip().lower()
