"""How is a request sent and its answer read on one connection? By the part of HTTP/1.1 that a POST to a service needs.

    resting ── ask() ──▶ asked ── bytes ──▶ answering ── its end ──▶ resting
       │                   │                    │
       └───────────────────┴────────────────────┴──▶ closed

Content-Length, the last chunk or the end of the connection ends an answer. Interim answers (1xx) are skipped.
A connection rests only after a clean answer: the whole request is written, no byte follows the answer, and the server
does not ask to close. A resting connection is closed if the server sends bytes or closes its side. Any connection is
closed at its deadline, and after an answer that is not HTTP or that exceeds a limit.
One timer serves all deadlines of a connection. It changes only for an earlier deadline. If it fires too early, it is
set again. So most calls need no new timer.

The future gets an error as its result and not as its exception: the task that waits may have ended, and asyncio logs an
exception that no task retrieves.
Error codes are aiohttp's names, so that a fault has the same code with a proxy and without (proxied.py).
Source: RFC 9112, "HTTP/1.1".
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from poller.disclosure import safe_text
from poller.errors import Rejected, Unreachable

LARGEST_ANSWER_IN_BYTES = 32 << 20
"""The limit for head and body together. AWS's largest answer is Kinesis's: 10 MB of records in base64."""

LARGEST_HEAD_IN_BYTES = 64 << 10
"""The limit for all header names and values of an answer, including its interim answers and trailers.

The same limit holds for the bytes before and between two parts of a body, such as a status line or chunk sizes.
Python's own client and h11 have the same limit.
"""

MOST_HEADERS = 100
"""The most headers of an answer, including its interim answers and trailers. Python's own client has the same limit."""

TOO_MUCH_HEAD = f"the answer's head has more than {MOST_HEADERS} headers or {LARGEST_HEAD_IN_BYTES} bytes"


class Received(NamedTuple):
    """An answer. Header names are in lower case; values of one name are joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class AnswerTooLarge(Unreachable):
    """The answer has more bytes than the limit. Its later bytes were not read."""

    def __init__(self, limit_in_bytes: int) -> None:
        super().__init__(f"the answer is larger than {limit_in_bytes} bytes", code="UnusableAnswer", was_sent=True)


class HungUp(Unreachable):
    """The connection ended before the first byte of an answer came."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="ServerDisconnectedError", was_sent=True)


def request(start: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the bytes of a request. `start` is its first line and the header lines that never change."""
    return f"{start}{header_lines(headers)}content-length: {len(body)}\r\n\r\n".encode() + body


def header_lines(headers: Mapping[str, str]) -> str:
    """Return the header lines. Raises Rejected for a name or value with a line break or a null character.

    The values come from settings and credentials, and a line break in a value could add a header.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        raise Rejected(f"a line break in {', '.join(broken(headers))}", code="UnusableHeader")
    return lines


def broken(headers: Mapping[str, str]) -> list[str]:
    """Return the names of the headers that have a line break or a null character. The values may be secrets."""
    return [repr(name) for name, value in headers.items() if any(sign in name + value for sign in "\r\n\0")]


class Connection(asyncio.Protocol):
    """One connection. `is_open` is true while the connection can send a request; `on_lost` is called at its end."""

    def __init__(self, on_lost: Callable[[Connection], None], *, largest_answer_in_bytes: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._largest_answer_in_bytes = largest_answer_in_bytes
        self._waiter: asyncio.Future[Received | Unreachable] | None = None
        self._parser: HttpResponseParser | None = None
        self._size = self._size_without_body = self._head_size = self._header_count = 0
        self._head: Mapping[str, str] | None = None
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._deadline = self._alarm_at = math.inf
        self._alarm: asyncio.TimerHandle | None = None
        self.is_open = False
        self.lost = self._loop.create_future()

    def ask(self, message: bytes, *, deadline: float) -> asyncio.Future[Received | Unreachable]:
        """Send a request and return a future of its answer. `deadline` is in the loop's time.

        If the task that awaits the future is cancelled, it must call `abort`.
        """
        assert self.is_open
        assert self._waiter is None
        self._parser = HttpResponseParser(self)  # a new parser, so that no state of the last answer remains
        self._size = self._size_without_body = self._head_size = self._header_count = 0
        self._waiter = self._loop.create_future()
        self._expect_until(deadline)
        self._transport.write(message)
        return self._waiter

    def rest(self, *, deadline: float) -> None:
        """Keep the connection open without a request, until the deadline closes it."""
        self._expect_until(deadline)

    def close(self) -> None:
        """Close the connection cleanly. The server can delay this."""
        self.is_open = False
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once, so that the server sees that no client waits for the answer."""
        self.is_open = False
        self._waiter = None
        self._transport.abort()

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not derive from asyncio's
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._parser is None:
            self.close()
            return
        self._size += len(data)
        self._size_without_body += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            ours = error.__context__
            text = str(ours) if isinstance(ours, Unreachable) else f"the answer is not HTTP: {safe_text(error)}"
            self._give_up(Unreachable(text, code="UnusableAnswer", was_sent=True))
        if self._size_without_body > LARGEST_HEAD_IN_BYTES:
            self._give_up(Unreachable(TOO_MUCH_HEAD, code="UnusableAnswer", was_sent=True))
        if self._size > self._largest_answer_in_bytes:
            self._give_up(AnswerTooLarge(self._largest_answer_in_bytes))

    def eof_received(self) -> None:
        self._ended(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._ended(error)
        self._parser = None  # the parser and the connection refer to each other
        if self._alarm is not None:
            self._alarm.cancel()
        self.lost.set_result(None)
        self._on_lost(self)

    def _ended(self, error: Exception | None) -> None:
        self.is_open = False
        if self._waiter is None:
            return
        reason = "no error" if error is None else safe_text(error)
        if error is None and self._head is not None and not self._head.keys() & LENGTH_HEADERS:
            self._deliver(self._received(self._head))
        elif self._size == 0:
            self._deliver(HungUp(f"the server disconnected ({reason})"))
        else:
            text = f"the server disconnected within its answer ({reason})"
            self._deliver(Unreachable(text, code="ClientPayloadError", was_sent=True))

    # Called by the parser

    def on_message_begin(self) -> None:
        if self._waiter is None:  # the server sends a second answer
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        self._head_size += len(name) + len(value)
        if self._header_count > MOST_HEADERS or self._head_size > LARGEST_HEAD_IN_BYTES:
            raise Unreachable(TOO_MUCH_HEAD, code="UnusableAnswer", was_sent=True)
        key, text = name.lower().decode("latin-1"), value.decode("latin-1").rstrip(" \t")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        self._head, self._headers = self._headers, {}  # trailers go into a dict that nobody reads

    def on_body(self, body: bytes) -> None:
        self._size_without_body = 0
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        if self._waiter is None:
            return
        assert self._parser is not None
        assert self._head is not None
        received = self._received(self._head)
        if received.status < 200:
            return
        if not self._parser.should_keep_alive():
            self.close()
        self._deliver(received)
        if self._transport.get_write_buffer_size():  # the server answered before it had read the whole request
            self.abort()

    # How the task that waits gets an answer or an error

    def _received(self, head: Mapping[str, str]) -> Received:
        assert self._parser is not None
        received = Received(self._parser.get_status_code(), head, b"".join(self._chunks))
        self._head, self._headers, self._chunks = None, {}, []
        return received

    def _deliver(self, result: Received | Unreachable) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(result)

    def _give_up(self, error: Unreachable) -> None:
        self._deliver(error)
        self.abort()

    def _expect_until(self, deadline: float) -> None:
        self._deadline = deadline
        if deadline < self._alarm_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at = deadline
            self._alarm = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, math.inf
        if self._loop.time() < self._deadline:
            self._expect_until(self._deadline)
        elif self._waiter is not None:
            self._give_up(Unreachable("no answer in time", code="TimeoutError", was_sent=True))
        else:
            self.close()


@safe_text.register
def _rule_broken(error: HttpParserError) -> str:
    """Return llhttp's text unchanged. It names the broken rule, and contains nothing of the answer."""
    return str(error)


LENGTH_HEADERS = frozenset({"content-length", "transfer-encoding"})
"""An answer without these headers ends with the connection."""
