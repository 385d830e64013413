"""Which text of an error may a log line or an answer show?

The text of another library's error may contain secrets: a proxy's password, an answer with credentials, a record's
body. So this module decides what is shown of each class of error:

    PollerError     its text: our code wrote it, and used this module for errors of other libraries
    OSError         the operating system's text for its errno, such as "Connection refused"
    ssl.SSLError    the reason that OpenSSL gives, and why a certificate was not accepted
    sqlite3.Error   its text: SQLite names tables and rules, never values
    aiohttp's       a fixed text for each class, with host and port, or a status, if they are known
    a group         the texts of its members
    any other       the name of its class

A package that uses another library registers a function for that library's errors with `@safe_text.register`.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import socket
import sqlite3
import ssl
import textwrap
import traceback
from collections.abc import Iterator

import aiohttp

from poller.errors import PollerError

FRAMES_SHOWN = 50
"""The number of frames of a traceback that are shown: the frames nearest to the error."""

MEMBERS_SHOWN = 10
"""The number of members of an exception group that are shown: the first ones."""


@functools.singledispatch
def safe_text(error: BaseException) -> str:
    """Return the text of an error that may be shown. It is never empty."""
    return type(error).__name__


@safe_text.register
def _own(error: PollerError) -> str:
    return str(error) or type(error).__name__


@safe_text.register
def _system(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno in errno.errorcode else type(error).__name__


@safe_text.register
def _name_not_resolved(error: socket.gaierror) -> str:
    return error.strerror or type(error).__name__


@safe_text.register
def _tls(error: ssl.SSLError) -> str:
    words = getattr(error, "reason", None), getattr(error, "verify_message", None)
    return ": ".join(filter(None, words)) or type(error).__name__


@safe_text.register
def _database(error: sqlite3.Error) -> str:
    return str(error) or type(error).__name__


@safe_text.register
def _not_connected(error: aiohttp.ClientConnectorError) -> str:
    return f"cannot connect to {error.host}:{error.port}: {safe_text(error.os_error)}"


@safe_text.register
def _no_proxy(error: aiohttp.ClientProxyConnectionError) -> str:
    return f"cannot connect to the proxy {error.host}:{error.port}: {safe_text(error.os_error)}"


@safe_text.register
def _not_trusted(error: aiohttp.ClientConnectorCertificateError) -> str:
    return f"cannot connect to {error.host}:{error.port}: {safe_text(error.certificate_error)}"


@safe_text.register
def _not_http(_error: aiohttp.ClientResponseError) -> str:
    return "the answer is not HTTP"


@safe_text.register
def _hung_up(_error: aiohttp.ServerDisconnectedError) -> str:
    return "the server disconnected"


@safe_text.register
def _refused_by_proxy(error: aiohttp.ClientHttpProxyError) -> str:
    return f"the proxy refused the connection with status {error.status}"


@safe_text.register
def _group(error: BaseExceptionGroup) -> str:
    texts = dict.fromkeys(safe_text(member) for member in error.exceptions[:MEMBERS_SHOWN])
    return ", ".join(texts)


def safe_traceback(error: BaseException) -> str:
    """Return the traceback in Python's format, with `safe_text(error)` as each error's text and without notes."""
    return "".join(_lines(error, set())).rstrip("\n")


def _lines(error: BaseException, shown: set[int]) -> Iterator[str]:
    shown.add(id(error))
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None and id(earlier) not in shown:
        yield from _lines(earlier, shown)
        yield "\nThis led to:\n\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__, limit=-FRAMES_SHOWN)
    name, text = type(error).__name__, safe_text(error)
    yield f"{name}\n" if text == name else f"{name}: {text}\n"
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions[:MEMBERS_SHOWN]:
            yield textwrap.indent("".join(_lines(member, shown)), "  | ")


def host_of(url: str) -> str:
    """Return a url's host and port. Its user, password, path and query are left out, because they may be secrets.

    For a malformed url the result may be the text "an unusable url".
    """
    authority, rest = re.fullmatch(r"(?:\w+://)?([^/?#]*)(.*)", url, re.DOTALL).groups()  # type: ignore[union-attr]  # always
    if "@" in rest and "@" not in authority:  # the password contains "/", "?" or "#": the host cannot be found
        return "an unusable url"
    return authority.rpartition("@")[2]
