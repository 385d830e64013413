"""Does botocore's decoder, which checks every checksum, read the answer of InvokeWithResponseStream?"""

from __future__ import annotations

from typing import Any

import orjson
from botocore.eventstream import EventStreamBuffer

from poller.lambda_api.event_stream import streamed


def decoded(body: bytes) -> list[tuple[dict[str, Any], bytes]]:
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    return [(message.headers, message.payload) for message in buffer]


def headers(event_type: str, content_type: str) -> dict[str, str]:
    return {":message-type": "event", ":event-type": event_type, ":content-type": content_type}


CHUNK = headers("PayloadChunk", "application/octet-stream")
COMPLETE = headers("InvokeComplete", "application/json")


def test_an_answer_is_one_chunk_followed_by_invoke_complete() -> None:
    assert decoded(streamed(b"\x00\xff" * 9, error=None, log_result=None)) == [
        (CHUNK, b"\x00\xff" * 9),
        (COMPLETE, b"{}"),
    ]


def test_invoke_complete_has_the_log_tail() -> None:
    _, (_, end) = decoded(streamed(b"1", error=None, log_result="RU5E"))
    assert orjson.loads(end) == {"LogResult": "RU5E"}


def test_only_invoke_complete_has_the_error_of_a_failed_function() -> None:
    [(found, end)] = decoded(streamed(b'{"errorType":"E"}\xff', error="Unhandled", log_result="RU5E"))
    assert found == COMPLETE
    assert orjson.loads(end) == {
        "ErrorCode": "Unhandled",
        "ErrorDetails": '{"errorType":"E"}\N{REPLACEMENT CHARACTER}',
        "LogResult": "RU5E",
    }
