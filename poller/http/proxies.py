"""Which proxy does a request use? The environment names it:

    HTTP_PROXY, http_proxy      the proxy for http urls
    HTTPS_PROXY, https_proxy    the proxy for https urls
    NO_PROXY, no_proxy          hosts and domains that need no proxy; * stands for all hosts

AWS's SDK for Python has the same rules. They also hold for HTTP functions.
A proxy's url may have a user and a password, so it is never shown.
"""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def proxy_of(url: str) -> str | None:
    """Return the url of the proxy, with its user and password if it has them, or None if no proxy is used."""
    parts = urlsplit(url)
    host_and_port = parts.netloc.rpartition("@")[2]
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(host_and_port):
        return None
    return proxy if "://" in proxy else f"http://{proxy.removeprefix('//')}"
