"""What may be shown of an error?"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from poller.disclosure import FRAMES_SHOWN, MEMBERS_SHOWN, host_of, safe_text, safe_traceback
from poller.errors import Rejected

SECRET = "secret-of-somebody"
KEY = ConnectionKey("host", 80, False, True, URL(f"http://u:{SECRET}@proxy"), None, None)
INFO: Any = aiohttp.RequestInfo(
    URL(f"http://u:{SECRET}@proxy"), "CONNECT", CIMultiDictProxy(CIMultiDict()), URL(f"http://x/{SECRET}")
)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Rejected("our own words", code="X"), "our own words"),
        (ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed ({SECRET})"), "Connection refused"),
        (FileNotFoundError(errno.ENOENT, SECRET, SECRET), "No such file or directory"),
        (OSError(SECRET), "OSError"),
        (OSError(123456, SECRET), "OSError"),
        (ConnectionResetError(), "ConnectionResetError"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (ssl.SSLError(SECRET), "SSLError"),
        (aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, SECRET)), "host:80: Connection refused"),
        (aiohttp.ClientProxyConnectionError(KEY, OSError(SECRET)), "cannot connect to the proxy host:80: OSError"),
        (aiohttp.ClientConnectorCertificateError(KEY, ValueError(SECRET)), "cannot connect to host:80: ValueError"),
        (aiohttp.ClientHttpProxyError(INFO, (), status=407, message=SECRET), "status 407"),
        (aiohttp.ClientResponseError(INFO, (), status=400, message=SECRET), "the answer is not HTTP"),
        (aiohttp.ServerDisconnectedError(SECRET), "the server disconnected"),
        (KeyError(SECRET), "KeyError"),
        (ValueError(f"invalid literal: {SECRET}"), "ValueError"),
        (ExceptionGroup(SECRET, [KeyError(SECRET), KeyError(), Rejected("ours", code="X")]), "KeyError, ours"),
    ],
)
def test_an_error_is_shown_by_its_class_and_by_text_that_is_known_to_be_safe(error: Exception, text: str) -> None:
    assert safe_text(error).endswith(text)
    assert SECRET not in safe_text(error) + safe_traceback(error)


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_a_traceback_names_every_error_that_led_to_the_last_and_where_each_was_raised() -> None:
    trace = ""
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise Rejected("ours", code="X") from error
    except Rejected as error:
        error.add_note(SECRET)
        trace = safe_traceback(error)
    assert trace.splitlines()[-1] == "Rejected: ours"
    assert trace.count("Traceback (most recent call last)") == 2
    parts = ["raise KeyError(SECRET)", "KeyError\n", "This led to", "raise Rejected"]
    assert sorted(parts, key=trace.index) == parts
    assert SECRET not in trace


def test_a_traceback_leaves_out_suppressed_errors() -> None:
    error = raised(Rejected("ours", code="X"))
    error.__context__ = raised(KeyError())
    assert "KeyError" in safe_traceback(error)
    error.__suppress_context__ = True
    assert "KeyError" not in safe_traceback(error)


def test_a_traceback_of_a_group_shows_its_members() -> None:
    members = [raised(ValueError(SECRET)), raised(ExceptionGroup(SECRET, [raised(KeyError(SECRET))]))]
    trace = safe_traceback(raised(ExceptionGroup(SECRET, members)))
    assert "  | ValueError\n" in trace
    assert "  |   | KeyError" in trace
    assert SECRET not in trace


def test_a_cycle_of_errors_ends() -> None:
    first, second = raised(KeyError()), raised(ValueError())
    first.__context__, second.__context__ = second, first
    assert safe_traceback(first).count("Traceback") == 2


def even(depth: int) -> None:
    """Two functions call each other, because Python counts equal frames instead of showing them."""
    if depth == 0:
        raise ExceptionGroup("", [KeyError(number) for number in range(MEMBERS_SHOWN + 5)])
    odd(depth - 1)


def odd(depth: int) -> None:
    even(depth - 1)


def test_a_traceback_is_bounded() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        even(FRAMES_SHOWN * 2)
    trace = safe_traceback(caught.value)
    assert trace.count("  | KeyError") == MEMBERS_SHOWN
    assert trace.count(", in even") == FRAMES_SHOWN // 2


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/", "sqs.eu-west-1.amazonaws.com"),
        (f"http://user:{SECRET}@host:8080/{SECRET}?{SECRET}#{SECRET}", "host:8080"),
        (f"http://user:a@{SECRET}@host/", "host"),
        (f"http://host?mail=a@{SECRET}", "an unusable url"),
        (f"http://user:a/{SECRET}@host/", "an unusable url"),
        (f"http://user:a?{SECRET}@host/", "an unusable url"),
        (f"user:{SECRET}@host", "host"),
        ("http://[::1]:80/", "[::1]:80"),
        ("localhost:4566", "localhost:4566"),
        ("", ""),
    ],
)
def test_a_url_is_shown_by_its_host_and_port(url: str, host: str) -> None:
    assert host_of(url) == host
