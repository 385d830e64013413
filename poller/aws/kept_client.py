"""How does a general client stay open between calls? The first call opens it, and all calls share it.

A client of aiobotocore renews credentials that expire, but never searches for different credentials. A new client does.
So after AccessDenied the next call opens a new client.
The old client is closed when its last call has ended. `Aws.client` gets the AccessDenied error at that close, so that
it can search for new credentials.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Self

import anyio

from poller.aws.errors import UNREADABLE, translated
from poller.errors import AccessDenied, ServiceError, Unreachable


class KeptClient:
    """The general client of one service with one identity. `new_client` is `Aws.client` with its arguments.

    Leave its `async with` only after all calls have ended.
    """

    def __init__(self, new_client: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self._new_client = new_client
        self._opening = anyio.Lock()
        self._current: _Opened | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._current is not None:
            await self._current.close()

    async def call(self, operation: str, *, timeout_in_seconds: float, **parameters: Any) -> Any:
        """Call the client's method `operation` and return its answer. Raises only errors.ServiceError.

        The timeout covers the whole call, with the search for credentials and aiobotocore's own retries.
        """
        opened = None
        try:
            with anyio.fail_after(timeout_in_seconds):
                opened = await self._opened()
                return await self._asked(opened, operation, parameters)
        except TimeoutError as error:
            missed = "credentials" if opened is None else "answer"
            message = f"{operation}: no {missed} within {timeout_in_seconds:g} s"
            raise Unreachable(message, code="Timeout", was_sent=opened is not None) from error

    async def _asked(self, opened: _Opened, operation: str, parameters: dict[str, Any]) -> Any:
        opened.calls += 1
        try:
            with translated():
                return await getattr(opened.client, operation)(**parameters)
        except UNREADABLE as error:
            raise Unreachable("the answer cannot be read", code="UnusableAnswer", was_sent=True) from error
        except AccessDenied as error:
            opened.denial = error
            if self._current is opened:
                self._current = None
            raise
        finally:
            opened.calls -= 1
            if opened.denial is not None and not opened.calls:
                await opened.close()

    async def _opened(self) -> _Opened:
        async with self._opening:
            if self._current is None:
                context = self._new_client()
                self._current = _Opened(context, await context.__aenter__())
            return self._current


class _Opened:
    """An open client. `calls` counts its running calls; `denial` is the error that made it unusable, or None."""

    def __init__(self, context: AbstractAsyncContextManager[Any], client: Any) -> None:
        self.client = client
        self.calls = 0
        self.denial: AccessDenied | None = None
        self._context = context

    async def close(self) -> None:
        """Close the client, and suppress a ServiceError: if the cause of the error lasts, the next call raises it."""
        error = self.denial
        with suppress(ServiceError):
            await self._context.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)
