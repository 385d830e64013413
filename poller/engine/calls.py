"""How does the daemon call a function for a client? It opens the function at the first call, and keeps it open.

    client ── call ──> open function ──> wait for a slot (functions/calling.py) ──> response ──> fact
                                              └── refused ──> another worker makes the call, or all refuse it

Mappings and clients share one open function, with its gate and its child processes.
After a reload, `settle` closes the functions that were changed or removed. Calls that already run may finish first.
When the daemon stops, calls that wait for a slot end with an error. Calls that run may finish within the grace.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple, TypeVar, assert_never

import anyio
from anyio.abc import TaskGroup, TaskStatus

from poller.engine.stop import Stop
from poller.facts import Emit, FunctionCalled, FunctionCrashed
from poller.functions.calling import STOPPING, call, may_begin_elsewhere
from poller.functions.opened import OpenFunction
from poller.model.function import Function
from poller.model.invocation import (
    Answered,
    FunctionError,
    Invocation,
    LostAnswer,
    Response,
    Throttled,
    TooLarge,
    Unreachable,
)

Passed = TypeVar("Passed")

Elsewhere = Callable[[], Awaitable[Passed | LostAnswer | None]]
"""Lets another worker make a call that this one has refused.

Returns None if no worker has begun the call, and LostAnswer if it is unknown whether one has.
"""


class Opening(NamedTuple):
    """How a function is opened. Openings with equal keys share one open function."""

    key: Hashable
    open: Callable[[], AbstractAsyncContextManager[OpenFunction]]


async def _nowhere() -> None:
    """Let no other worker make the call."""


class Calls:
    """Calls functions while the block of `running` lasts."""

    def __init__(self, opening: Callable[[Function], Opening], *, stop: Stop, emit: Emit) -> None:
        self._opening = opening
        self._stop = stop
        self._emit = emit
        self._kept: dict[Hashable, anyio.Event] = {}  # setting the event of a key closes its function
        self._running = 0
        self._all_ended = anyio.Event()
        self._tasks: TaskGroup

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Accept calls while the block lasts.

        The end of the block waits for calls that run, until the stop's grace is over.
        """
        failure: Exception | None = None
        async with anyio.create_task_group() as self._tasks:
            try:
                yield
                await self._drained()
            except Exception as error:  # raised again below: the task group would wrap it
                failure = error
            self.settle(keep=())
        if failure is not None:
            raise failure

    async def call(
        self, function: Function, invocation: Invocation, elsewhere: Elsewhere[Passed] = _nowhere
    ) -> Response | Passed:
        """Wait until the function's concurrency allows one more call. Then call the function and return its response.

        If this worker refuses the call, `elsewhere` is called, and its answer is returned. The worker that has made the
        call has reported it, so this one does not.
        Raises PollerError or OSError if the function cannot be opened, and what `elsewhere` raises.
        """
        if self._stop.has_begun:
            passed = await elsewhere()
            return STOPPING if passed is None else passed
        began_at = anyio.current_time()
        opening = self._opening(function)
        self._running += 1
        try:
            async with opening.open() as opened:
                if opening.key not in self._kept:
                    self._kept[opening.key] = release = anyio.Event()
                    await self._tasks.start(self._keep, function, opening, release)
                response = await call(opened, invocation, unless=self._stop.draining)
                if may_begin_elsewhere(response):
                    passed = await elsewhere()
                    if isinstance(passed, LostAnswer):
                        response = passed
                    elif passed is not None:
                        return passed
                    else:
                        opened.capacity.refused()
        finally:
            self._running -= 1
            if not self._running:
                self._all_ended.set()
                self._all_ended = anyio.Event()
        self._emit(_fact(function, invocation, response, anyio.current_time() - began_at))
        return response

    def settle(self, *, keep: tuple[Hashable, ...]) -> None:
        """Close the functions that clients have called, except those with these keys."""
        for key in self._kept.keys() - set(keep):
            self._kept.pop(key).set()

    async def _keep(
        self, function: Function, opening: Opening, release: anyio.Event, *, task_status: TaskStatus[None]
    ) -> None:
        try:
            async with opening.open() as opened, anyio.create_task_group() as tasks:
                tasks.start_soon(self._send_home_at_stop, opened)
                task_status.started()
                await release.wait()
                tasks.cancel_scope.cancel()
        except Exception as error:  # a crash of one function must not end the others
            self._emit(FunctionCrashed(function.name, error))
        finally:
            if self._kept.get(opening.key) is release:
                del self._kept[opening.key]

    async def _send_home_at_stop(self, function: OpenFunction) -> None:
        await self._stop.draining.wait()
        function.gate.send_home()

    async def _drained(self) -> None:
        """Wait until no call runs or waits, or until the grace is over."""
        while self._running and not self._stop.releasing.is_set():
            async with anyio.create_task_group() as tasks:

                async def end(event: anyio.Event) -> None:
                    await event.wait()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(end, self._all_ended)
                tasks.start_soon(end, self._stop.releasing)


def _fact(function: Function, invocation: Invocation, response: Response, seconds: float) -> FunctionCalled:
    name, request_id = function.name, invocation.request_id
    match response:
        case Answered():
            return FunctionCalled(name, request_id, "succeeded", seconds)
        case FunctionError(error_type=error_type, message=message):
            return FunctionCalled(name, request_id, "failed", seconds, error_type, message)
        case TooLarge(error_type=error_type, message=message):
            return FunctionCalled(name, request_id, "failed", seconds, error_type, message)
        case LostAnswer(reason=reason):
            return FunctionCalled(name, request_id, "failed", seconds, "LostAnswer", reason)
        case Throttled(reason=reason, detail=detail):
            return FunctionCalled(name, request_id, "throttled", seconds, reason, detail)
        case Unreachable(reason=reason, detail=detail):
            return FunctionCalled(name, request_id, "unreachable", seconds, reason, detail)
    assert_never(response)
