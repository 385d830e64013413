"""What do a request and an answer of Lambda's API contain?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from poller.model.ids import RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that the server has not refused.

    `segments` are the parts of the path between the slashes, without percent-encoding and without empty parts.
    The names of `headers` are in lower case. `request_id` is the id in the answer.
    """

    method: str
    segments: Sequence[str]
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    request_id: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer. The server adds the headers that all answers have."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(document: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(status=status, body=orjson.dumps(document))
