"""Did the expected service send this answer? An answer that lacks a part that the service always sends is rejected.

A proxy or another service may listen at the endpoint, so a source guesses nothing from such an answer.
The error names the missing part. It never quotes the answer.
"""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any

from poller.errors import Rejected

TOKEN = re.compile("[!-~]{1,1048576}")
"""The form of an id, an iterator or a page's token: visible ASCII characters, at most as many as a token may have.

Source: Amazon Kinesis Data Streams API Reference, "ListShards", NextToken.
"""

NAME = re.compile(r"'[A-Za-z]{1,64}'")
"""The form of a key that an error may name if the key is missing. Any other key may be data."""

MISREADINGS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""The errors of reading an answer that lacks a part, or that has a part of a wrong type or size."""


class understood:  # noqa: N801  # it reads as a statement: `with understood(...)`
    """Return a context manager around code that reads an answer.

    If the code raises one of MISREADINGS, raise Rejected.
    """

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
    """Return the value if it is a string. Raises TypeError otherwise."""
    if not isinstance(value, str):
        raise TypeError("a value is not a string")
    return value


def token(value: Any) -> str:
    """Return the value if it can be an id, an iterator or a page's token: visible ASCII, without spaces.

    Raises TypeError or ValueError otherwise.
    """
    if not TOKEN.fullmatch(text(value)):
        raise ValueError("a value is not a token")
    return str(value)


def token_if_any(value: Any) -> str | None:
    """Return None if the value is absent, null or empty. Otherwise, check and return the token as `token` does."""
    return token(value) if value else None


def unusable(service: str, what: str) -> Rejected:
    return Rejected(f"the answer has {what}: is this {service}?", code="UnusableAnswer")
