"""How is a general client kept open? Made for the first call, shared by all, and made anew once it was denied.

aiobotocore's client renews credentials that expire, but never looks for others; a client made anew does.
So after AccessDenied the next call gets another client.
The denied one is closed when its last call has left it, and with
that error: then `Aws.client` searches for credentials.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Self

import anyio

from poller.aws.errors import UNREADABLE, translated
from poller.errors import AccessDenied, ServiceError, Unreachable


class KeptClient:
    """One service as one identity. `new_client` opens a client: `Aws.client` with its arguments.

    Leave it when no call is on its way any more.
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
        """The answer of the client's method of this name. Raises errors.ServiceError, and only that.

        The timeout is for the whole call: the search for credentials, and aiobotocore's own retries.
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
    """A client that is open, and how many calls are on their way through it."""

    def __init__(self, context: AbstractAsyncContextManager[Any], client: Any) -> None:
        self.client = client
        self.calls = 0
        self.denial: AccessDenied | None = None
        self._context = context

    async def close(self) -> None:
        """What goes wrong here is not the fault of the call that closes; if it lasts, the next call meets it."""
        error = self.denial
        with suppress(ServiceError):
            await self._context.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)
