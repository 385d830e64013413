"""How is the answer of InvokeWithResponseStream written? As messages in AWS's binary event stream format:

    length of the message, length of the headers    4 bytes each
    CRC-32 of these eight bytes                     4 bytes
    headers, payload
    CRC-32 of all bytes so far                      4 bytes

    a header:  length of the name (1 byte), name, type 7 (1 byte: a string), length of the value (2 bytes), value

The message `PayloadChunk` has the function's whole answer. The message `InvokeComplete` follows.
If the function failed, there is only `InvokeComplete`, with the error.

Source: Smithy, "Amazon Event Stream Specification"; AWS Lambda API Reference, "InvokeWithResponseStream".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import orjson

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_STRING = 7
_PRELUDE = struct.Struct("!II")
_CHECKSUM = struct.Struct("!I")


def streamed(payload: bytes, *, error: str | None, log_result: str | None) -> bytes:
    """Return the body of an answer.

    `error` is the error's code if the function failed, else None. `log_result` is the log tail in Base64, or None if
    the client does not want it.
    """
    complete: dict[str, str] = {}
    if error is not None:
        complete["ErrorCode"] = error
        complete["ErrorDetails"] = payload.decode(errors="replace")
    if log_result is not None:
        complete["LogResult"] = log_result
    chunk = b"" if error is not None else _event("PayloadChunk", "application/octet-stream", payload)
    return chunk + _event("InvokeComplete", "application/json", orjson.dumps(complete))


def _event(event_type: str, content_type: str, payload: bytes) -> bytes:
    return _message({":message-type": "event", ":event-type": event_type, ":content-type": content_type}, payload)


def _message(headers: Mapping[str, str], payload: bytes) -> bytes:
    encoded = b"".join(_header(name, value) for name, value in headers.items())
    length = _PRELUDE.size + 2 * _CHECKSUM.size + len(encoded) + len(payload)
    prelude = _PRELUDE.pack(length, len(encoded))
    message = prelude + _CHECKSUM.pack(zlib.crc32(prelude)) + encoded + payload
    return message + _CHECKSUM.pack(zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    return struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", _STRING, len(value)) + value.encode()
