"""How is a JSON service called often at low cost? By a POST of JSON; a header names the operation.

Sources: AWS's JSON 1.0 and 1.1 protocols, as botocore's service models name them (`targetPrefix`, `jsonVersion`).
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, NoReturn

import orjson

from poller.aws.clock import ServiceClock
from poller.aws.wire import Route, Wire
from poller.errors import Unreachable

REPEATABLE_OPERATIONS = frozenset(
    {
        "BatchGetItem",
        "ChangeMessageVisibilityBatch",
        "DeleteMessageBatch",
        "DescribeStream",
        "DescribeTable",
        "GetQueueAttributes",
        "GetRecords",
        "GetShardIterator",
        "ListShards",
        "ReceiveMessage",
        "Scan",
    }
)
"""Operations that may be done twice without harm.

If a receive is done twice, the messages of the lost answer become visible again after their visibility timeout.
"""


class JsonClient:
    """The fast client of one service in one region, with one identity."""

    def __init__(self, wire: Wire, route: Route, *, target_prefix: str, json_version: str) -> None:
        self._wire = wire
        self._route = route
        self._target_prefix = target_prefix
        self._content_type = f"application/x-amz-json-{json_version}"
        self._headers: dict[str, dict[str, str]] = {}

    @property
    def endpoint_url(self) -> str:
        """Return the url to which requests are sent."""
        return self._route.resource.url

    @property
    def clock(self) -> ServiceClock:
        """Return the clock of the endpoint, as the Date headers of its answers show it."""
        return self._wire.clock

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        """Send one request and return the JSON of its answer. Raises only errors.ServiceError.

        The timeout covers the whole call. For a long poll it must be longer than the poll's wait.
        An answer that is not JSON, or has no body, raises Unreachable. Each operation answers at least `{}`, so a
        missing body was lost on the way.
        """
        headers = self._headers.get(operation)
        if headers is None:
            headers = self._headers.setdefault(operation, self._headers_of(operation))
        answer = await self._wire.post(
            self._route,
            headers,
            body,
            timeout_in_seconds=timeout_in_seconds,
            is_repeatable=operation in REPEATABLE_OPERATIONS,
        )
        if answer.status != 200:
            raise answer.error()
        try:
            return orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            with suppress(ValueError, RecursionError):  # orjson rejects half of a surrogate pair
                return json.loads(answer.body, parse_constant=_refuse_constant)
            raise Unreachable("the answer is not JSON", code="UnusableAnswer", was_sent=True) from error

    def _headers_of(self, operation: str) -> dict[str, str]:
        return {"content-type": self._content_type, "x-amz-target": f"{self._target_prefix}.{operation}"}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
