"""By which names may a browser call us? By an address, `localhost`, or a name that the settings allow.

A web page of somebody else can give its own name our address (DNS rebinding), and would then read ours as its own.
Its requests carry that name in the Host header, so that a name that nobody allowed is refused.  A request without the
header is no browser's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from ipaddress import ip_address

_HOST = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<name>[^:]*))(?::[0-9]*)?")


def is_allowed(headers: Iterable[str], names: Collection[str]) -> bool:
    """`headers` are all Host headers of a request; `names` are in lower case."""
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
