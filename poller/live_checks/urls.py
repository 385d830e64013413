"""Can the url of an HTTP function be reached? The check opens a connection, and sends no request.

A request could invoke the function: some emulators of Lambda run it for any method.
"""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from poller.aws.clients import Aws
from poller.core.finding import Finding
from poller.errors import Unreachable
from poller.http.pool import Limits, Origin, Pool, trusting_the_system
from poller.http.proxies import proxy_of
from poller.live_checks.rows import Row

THROUGH_A_PROXY = Finding("is not checked, because a proxy connects to it", is_advice=True)


async def http_function(option: str, url: str, _: Aws) -> list[Row]:
    """Check one url. The row shows its host and port alone, because the rest may have a password."""
    origin = Origin.of(url)
    row = partial(Row, option, f"{urlsplit(url).scheme}://{origin.host}:{origin.port}", "connects")
    if proxy_of(url) is not None:
        return [row(THROUGH_A_PROXY)]
    pool = Pool(trusting_the_system(), Limits())
    try:
        await pool.connect(origin)
    except Unreachable as error:
        return [row(Finding(str(error), is_fault=True))]
    finally:
        await pool.aclose()
    return [row(Finding("accepts connections; the check does not call the function"))]
