"""Which names may a browser call this server by? An IP address, `localhost`, or a name that the settings allow.

A foreign web site can point its own name to the daemon's address (DNS rebinding). The browser would then let the
site's scripts read the daemon's pages.  Such a request has the foreign name in its Host header, so it is refused.
A request without a Host header does not come from a browser, so it is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from ipaddress import ip_address

_HOST = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<name>[^:]*))(?::[0-9]*)?")


def is_allowed(headers: Iterable[str], names: Collection[str]) -> bool:
    """Return whether every Host header of a request is allowed. `names` are the allowed names, in lower case."""
    return all(_is_allowed(header, names) for header in headers)


def _is_allowed(header: str, names: Collection[str]) -> bool:
    match = _HOST.fullmatch(header.strip())
    if match is None:
        return False
    name = (match["six"] or match["name"] or "").lower().removesuffix(".")
    return name == "localhost" or name in names or _is_address(name)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
