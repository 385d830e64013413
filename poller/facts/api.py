"""What happens to requests to the server of Lambda's API that are refused, or that fail by a fault of poller?"""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.declaration import Line, declare
from poller.model.ids import RequestId


@declare(Line("warning", once_per=("code",)))
class ApiRequestRejected(NamedTuple):
    """The daemon refused a request to Lambda's API, because its signature is wrong or a web page of another site sent
    it.
    """

    code: str
    reason: str


@declare(Line("error"))
class ApiRequestFailed(NamedTuple):
    """A request to Lambda's API failed because of a fault in poller itself. The client got status 500."""

    request_id: RequestId
    error: BaseException
