"""How is a JSON service called all day? POST of a body that is ready, an operation's name in a header, JSON back.

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
        "ChangeMessageVisibilityBatch",
        "DeleteMessageBatch",
        "DescribeStream",
        "GetQueueAttributes",
        "GetRecords",
        "GetShardIterator",
        "ListShards",
        "ReceiveMessage",
    }
)
"""What does no harm when it is done twice. Messages of a receive that got lost come back, as after any lost answer."""


class JsonClient:
    """One service in one region, as one identity."""

    def __init__(self, wire: Wire, route: Route, *, target_prefix: str, json_version: str) -> None:
        self._wire = wire
        self._route = route
        self._target_prefix = target_prefix
        self._content_type = f"application/x-amz-json-{json_version}"
        self._headers: dict[str, dict[str, str]] = {}

    @property
    def endpoint_url(self) -> str:
        """Where requests go."""
        return self._route.resource.url

    @property
    def clock(self) -> ServiceClock:
        """The endpoint's clock, by the Date of its answers."""
        return self._wire.clock

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        """The answer's document. Raises errors.ServiceError, and only that.

        The timeout is for the whole call; a long poll's must be longer than the wait it asks for.
        An empty body counts as no answer: of the operations that are called all day each says something, if only `{}`,
        and something between us may have lost it.
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
            with suppress(ValueError, RecursionError):  # half of a surrogate pair, which the fast one refuses
                return json.loads(answer.body, parse_constant=_refuse_constant)
            raise Unreachable("the answer is not JSON", code="UnusableAnswer", was_sent=True) from error

    def _headers_of(self, operation: str) -> dict[str, str]:
        return {"content-type": self._content_type, "x-amz-target": f"{self._target_prefix}.{operation}"}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
