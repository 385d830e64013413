"""How is a service called with the least work that Python can do? One blocking socket, one send, and receives.

The signature is the daemon's own, because a request without one is not a request to AWS.
There is no timeout, no second try and no limit, and an answer must have a Content-Length.
"""

from __future__ import annotations

import os
import re
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import orjson

from poller.aws.signing import Credentials, Signer, resource

ENOUGH_BYTES = 1 << 20
"""How many bytes one receive of the socket may return. Most answers have fewer."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Blocking:
    """One url and its connection.

    `service` is the name for the signature, or None for a url that needs no signature.
    """

    def __init__(self, url: str, *, service: str | None) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self._socket = socket.create_connection((parts.hostname, parts.port or 80))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._start = f"POST {parts.path or '/'} HTTP/1.1\r\n"
        self._resource = resource("POST", url)
        self._signer = Signer(service=service, region="us-east-1") if service is not None else None
        self._credentials = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], None)

    def call(self, prefix: str, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Call an operation of a JSON service, and return its answer."""
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"{prefix}.{operation}"}
        answer: dict[str, Any] = orjson.loads(self.post(headers, orjson.dumps(request)))
        return answer

    def post(self, headers: dict[str, str], body: bytes) -> bytes:
        """Send a POST, and return the answer's body. Raises an error for any status except 200."""
        if self._signer is None:
            sent = {"host": self._resource.host, **headers}
        else:
            credentials = self._credentials
            sent = self._signer.sign(self._resource, headers, body, credentials=credentials, now=time.time())
        lines = "".join([f"{name}: {value}\r\n" for name, value in sent.items()])
        self._socket.sendall(f"{self._start}{lines}content-length: {len(body)}\r\n\r\n".encode() + body)
        return self._answer()

    def _answer(self) -> bytes:
        received = self._more()
        while (end_of_head := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        if not received.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(received[:500].decode())
        length = _LENGTH.search(received, 0, end_of_head)
        assert length
        missing = end_of_head + 4 + int(length[1]) - len(received)
        parts = [received[end_of_head + 4 :]]
        while missing > 0:
            parts.append(self._more())
            missing -= len(parts[-1])
        return b"".join(parts)

    def _more(self) -> bytes:
        received = self._socket.recv(ENOUGH_BYTES)
        if not received:
            raise RuntimeError("the server hung up")
        return received
