"""Did a page of another site send a request to a server of poller?

A web page of any site can make the browser send requests to 127.0.0.1 or to a host of the reader's network. The browser
names the page's site in `Origin` and `Sec-Fetch-Site`. Programs send neither of these headers.
Source: Fetch Standard, "Origin header"; W3C Fetch Metadata Request Headers, "Sec-Fetch-Site".
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import web

_OUR_SITE = ("same-origin", "none")
"""The values of `Sec-Fetch-Site` that are allowed. `none` means that a person typed the address into the browser."""


def is_of_another_site(request: web.BaseRequest) -> bool:
    """Return whether a page of another site sent the request."""
    headers = request.headers
    if "Origin" not in headers and "Sec-Fetch-Site" not in headers:  # nearly always: this test costs little
        return False
    return any(site not in _OUR_SITE for site in headers.getall("Sec-Fetch-Site", ())) or any(
        not _is_ours(origin, headers.getall("Host", ())) for origin in headers.getall("Origin", ())
    )


def _is_ours(origin: str, hosts: Sequence[str]) -> bool:
    """Return whether the origin has the host and port of the Host header.

    The scheme does not count, because a proxy may speak HTTPS with the browser and HTTP with the daemon.
    """
    try:
        authority = urlsplit(origin).netloc
    except ValueError:
        return False
    return len(hosts) == 1 and authority != "" and authority.lower() == hosts[0].strip().lower()
