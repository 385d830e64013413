"""Which proxy does a request go through? The one that the environment names for its url, if any.

    HTTP_PROXY, http_proxy      for urls with http
    HTTPS_PROXY, https_proxy    for urls with https
    NO_PROXY, no_proxy          hosts and domains that are asked directly, or *

These are the rules of AWS's SDK for Python; they hold for functions behind urls too.
A proxy's url may hold a user and a password, so it is never shown.
"""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def proxy_of(url: str) -> str | None:
    """The proxy's url, with its user and password if it has them; None if the host is reached directly."""
    parts = urlsplit(url)
    host_and_port = parts.netloc.rpartition("@")[2]
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(host_and_port):
        return None
    return proxy if "://" in proxy else f"http://{proxy.removeprefix('//')}"
