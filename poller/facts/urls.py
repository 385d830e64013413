"""What happens to the urls of an HTTP function?"""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.declaration import Counter, Line, declare
from poller.model.ids import FunctionName


@declare(
    Line("warning", once_per=("function", "url")),
    Counter(
        "poller_url_suspensions_total",
        "Times that one url of a function failed, so that invocations went to the other urls for a while.",
        of="function",
    ).by(1),
)
class UrlSuspended(NamedTuple):
    """One url of a function failed, so its invocations go to the function's other urls for `retry_in_seconds`.

    `url` has only the scheme, the host and the port, because its other parts may be secret.
    """

    function: FunctionName
    url: str
    detail: str
    retry_in_seconds: float
