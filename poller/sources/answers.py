"""Is this the service that it should be? An answer that lacks what the service always sends is refused as a whole.

Whatever listens at the endpoint, a proxy or another service: nothing is guessed from what it says.
The error names what was missed, and never what was there instead.
"""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any

from poller.errors import Rejected

TOKEN = re.compile("[!-~]{1,1048576}")
"""Visible ASCII, at most as long as a page's token; Amazon Kinesis Data Streams API Reference, "ListShards"."""

NAME = re.compile(r"'[A-Za-z]{1,64}'")
"""The names that may be shown look like this; other keys may be data."""

MISREADINGS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What Python raises while it reads an answer that lacks a part, or has one of a wrong type or size."""


class understood:  # noqa: N801  # it reads as a statement: `with understood(...)`
    """Around the taking apart of an answer: what is missing in it, or of another kind, is raised as Rejected."""

    __slots__ = ("_service", "_what")

    def __init__(self, service: str, what: str) -> None:
        self._service = service
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, MISREADINGS):
            missed = f" (no {error})" if isinstance(error, KeyError) and NAME.fullmatch(str(error)) else ""
            raise unusable(self._service, f"no {self._what}{missed}") from error


def text(value: Any) -> str:
    """The value, which must be a string."""
    if not isinstance(value, str):
        raise TypeError("a value is no string")
    return value


def token(value: Any) -> str:
    """The value, which must be an id, an iterator or a page's token: visible ASCII, without spaces."""
    if not TOKEN.fullmatch(text(value)):
        raise ValueError("a value is no token")
    return str(value)


def token_if_any(value: Any) -> str | None:
    """The same, or None for a value that is absent, null or empty."""
    return token(value) if value else None


def unusable(service: str, what: str) -> Rejected:
    return Rejected(f"the answer has {what}: is this {service}?", code="UnusableAnswer")
