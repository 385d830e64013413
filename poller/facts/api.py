"""What happens to requests to the server of Lambda's API that are not carried out?"""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.declaration import Line, declare
from poller.model.ids import RequestId


@declare(Line("warning", once_per=("code",)))
class ApiRequestRejected(NamedTuple):
    """A request to Lambda's API was refused: its signature is wrong, or a page of another site sent it."""

    code: str
    reason: str


@declare(Line("error"))
class ApiRequestFailed(NamedTuple):
    """A request to Lambda's API failed by a fault of poller; the client got status 500."""

    request_id: RequestId
    error: BaseException
