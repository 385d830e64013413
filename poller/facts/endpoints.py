"""What happens to the urls of an HTTP function?"""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.declaration import Counter, Line, declare
from poller.model.ids import FunctionName


@declare(
    Line("warning", once_per=("function", "url")),
    Counter(
        "poller_endpoint_suspensions_total",
        "Times that a url of a function failed and was not used for a while.",
        of="function",
    ).by(1),
)
class EndpointSuspended(NamedTuple):
    """One url of a function failed. Calls go to the other urls of the function for `retry_in_seconds`."""

    function: FunctionName
    url: str
    detail: str
    retry_in_seconds: float
