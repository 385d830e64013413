"""What does the answer of an HTTP function mean? Its status, its headers and its body say what happened.

    answer                     plain HTTP service             Runtime Interface Emulator (recognised by its path)
    2xx                        Answered                       200: Answered; FunctionError if the body is an error
                                                              document or the text "Task timed out after …"
    429, 503                   Throttled (*)                  the same
    413                        TooLarge                       the same
    any other status           FunctionError HTTP.<status>    the same, except for the next three lines:
        400                                                   Unreachable (*): it serves another call
        500, 504                                              Unreachable (*): the call never reached the function
        502                                                   FunctionError: the runtime exited
    no connection              Unreachable (*)                the same
    a proxy refuses, or 407    Unreachable (*)                the same
    no request can be made     Unreachable (*)                the same
    answer lost or unreadable  LostAnswer                     the same
    2xx without a body         Answered, not whole if only    the same
                               the closed connection ends it
    no answer in time          FunctionError Sandbox.Timedout               the same
    more than 6 MB             FunctionError Function.ResponseSizeTooLarge  the same

    (*) The target tries the next url of the function (`http.py`).
        A Throttled has the pause that the header Retry-After asks for.

A reason names only a url's host and port, because its user, path and query may be secrets.
The text of a failure has the status and the beginning of the body, which is the function's own message.

Sources: AWS Lambda Developer Guide, "Testing Lambda container image locally" and "Lambda quotas"; RFC 9110.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from yarl import URL

from poller import errors
from poller.core.service_time import parsed_date
from poller.http.http1 import LENGTH_HEADERS, Received
from poller.model.invocation import Answered, FunctionError, Invocation, Response, Throttled, TooLarge, Unreachable
from poller.targets.endpoints import Endpoint
from poller.targets.failures import (
    RESPONSE_LIMIT_IN_BYTES,
    exited,
    is_error_document,
    log_tail_of,
    posted,
    timed_out,
)

RETRY_AFTER_LIMIT_IN_SECONDS = 900.0
"""The longest pause that a service may ask for: as long as a function on Lambda may run."""

WORDS_LIMIT_IN_BYTES = 256
"""How much of a failed answer's body is shown."""

ERROR_HEADERS = ("error-type", "x-amz-function-error")
"""An answer with one of these headers is the function's error. Newer emulators send the first, Lambda the second."""

EMULATORS_TIMEOUT = re.compile(rb"Task timed out after (\d+)\.00 seconds")
"""The plain text that an emulator answers, with status 200, when the function's timeout has passed."""

ZLIB_FORMATS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""The content-encodings that are unpacked, with zlib's number for each. A service may use one without being asked."""


class Reply(NamedTuple):
    """An answer with its body unpacked, and the url that gave it."""

    endpoint: Endpoint
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def says_its_length(self) -> bool:
        """Return whether the answer itself says where its body ends. A status 204 has no body."""
        return self.status == 204 or any(name in self.headers for name in LENGTH_HEADERS)

    def words(self, invocation: Invocation) -> str:
        """Return the status and the beginning of the body in one line. A body that contains the event is left out."""
        text = self.body[:WORDS_LIMIT_IN_BYTES]
        words = "" if text in invocation.payload else text.decode(errors="replace")
        return " ".join(f"{self.status}: {words}".split()).rstrip(":")

    def error_detail(self, invocation: Invocation) -> str:
        """Return the url's host and port, the status, and the beginning of the body."""
        return f"{host_and_port(self.endpoint.url)}: {self.words(invocation)}"


def meaning(reply: Reply, invocation: Invocation, *, clock: Callable[[], float]) -> Response:
    """Return the response that the answer means.

    A date in Retry-After is compared with the Date header of the answer, or with `clock` if the answer has no Date.
    """
    if reply.status in (429, 503):
        there = parsed_date(reply.headers.get("date", ""))
        now = clock() if there is None else there
        pause = retry_after(reply.headers.get("retry-after"), now=now)
        return Throttled(reason=f"HTTP.{reply.status}", retry_after=pause, detail=reply.error_detail(invocation))
    if reply.status == 407:  # only a proxy answers 407; its body is not shown
        return Unreachable(reason="HTTP.407", detail=f"{host_and_port(reply.endpoint.url)}: refused by the proxy")
    if reply.endpoint.is_emulator:
        return _emulators_answer(reply, invocation)
    if 200 <= reply.status < 300:
        return _answered(reply, invocation)
    return _http_error(reply, invocation)


def unpacked(received: Received) -> bytes:
    """Return the body without its content-encoding, at most one byte more than a response may have.

    Raises errors.Unreachable if the body cannot be unpacked, or if more bytes follow its packed part. These bytes
    may be a second part, which names the messages that failed.
    """
    encoding = received.headers.get("content-encoding", "identity").lower()
    if encoding == "identity" or not received.body:
        return received.body
    if encoding not in ZLIB_FORMATS:
        raise _unreadable()
    unpacking = zlib.decompressobj(ZLIB_FORMATS[encoding])
    try:
        body = unpacking.decompress(received.body, RESPONSE_LIMIT_IN_BYTES + 1)
    except zlib.error as error:
        raise _unreadable() from error
    if (unpacking.unused_data or not unpacking.eof) and len(body) <= RESPONSE_LIMIT_IN_BYTES:
        raise _unreadable()
    return body


def _unreadable() -> errors.Unreachable:
    text = "the answer's content-encoding cannot be read"
    return errors.Unreachable(text, code="UnusableAnswer", was_sent=True)


def _answered(reply: Reply, invocation: Invocation) -> Answered:
    log_tail = log_tail_of(reply.headers) if invocation.wants_log_tail else ""
    return Answered(reply.body, log_tail=log_tail, is_whole=bool(reply.body) or reply.says_its_length)


def _emulators_answer(reply: Reply, invocation: Invocation) -> Response:
    """Return the response that an emulator's answer means. An answer with status 200 may be a failure."""
    is_error = is_error_document(reply.body)
    if any(name in reply.headers for name in ERROR_HEADERS) or (is_error and reply.status in (200, 502)):
        error = posted(reply.body, error_type=reply.headers.get("error-type"))
        return replace(error, log_tail=log_tail_of(reply.headers))
    if reply.status == 200:
        if timeout := EMULATORS_TIMEOUT.match(reply.body):
            return timed_out(invocation.request_id, float(timeout[1]))
        return _answered(reply, invocation)
    if reply.status == 502:
        return exited(invocation.request_id, None)
    if reply.status in (400, 500, 504):
        return Unreachable(reason=f"HTTP.{reply.status}", detail=reply.error_detail(invocation))
    return _http_error(reply, invocation)


def _http_error(reply: Reply, invocation: Invocation) -> FunctionError | TooLarge:
    error_type, message = f"HTTP.{reply.status}", reply.words(invocation)
    if reply.status == 413:
        return TooLarge(error_type=error_type, message=message)
    return FunctionError(error_type=error_type, message=message, payload=reply.body)


def retry_after(value: str | None, *, now: float) -> float | None:
    """Return the pause in seconds that a Retry-After header asks for, or None if it has neither a number nor a date.

    `now` is the time on the clock of the server that wrote the header.
    """
    if value is None:
        return None
    try:
        seconds = float(value) if value.isdecimal() else parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_LIMIT_IN_SECONDS)


def host_and_port(url: URL) -> str:
    return f"{url.raw_host}:{url.port}"
