"""How does a server read the body of a request?

It reads the body to its end, because many clients read no answer before they have sent everything.
A client that sends `Expect: 100-continue` waits for a first answer before it sends its body.
The server keeps a limited number of bytes, whatever the client sends. Reading itself has no time limit.
"""

from __future__ import annotations

from typing import NamedTuple

from aiohttp import web


class Body(NamedTuple):
    """A body that was read to its end. `content` is None if the body was larger than the server keeps."""

    size: int
    content: bytes | None


async def read_body(request: web.BaseRequest, *, maximum_bytes: int) -> Body:
    """Read the body, and keep it if it has at most this size."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size <= maximum_bytes:
            chunks.append(chunk)
    return Body(size, b"".join(chunks) if size <= maximum_bytes else None)
