"""Which child process runs an invocation? The free child that was used last. If no child is free, a new one.

Children are started on demand. Each invocation has a slot of the function's gate (functions/gate.py), so no more
children run at once than there are slots.
The child that was used last is taken first. So if the load falls, the children that are not needed stay free, and are
stopped after an idle time.
A child that crashed, timed out or failed in its init is not used again. A child that returned an error is used again.
After a child has failed in its init, the next one starts after a pause that grows, so that a broken deployment does not
keep a processor busy.
After `renew`, each new invocation runs in a newly started child, which has the new code. Invocations that run already
end with the old code.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from poller.core.backoff import Backoff
from poller.facts import Emit
from poller.model.function import ChildProcess, Function
from poller.model.function_status import ChildStatus
from poller.model.invocation import FunctionError, Invocation, Response, Unreachable
from poller.targets.runtime.child import Child
from poller.targets.runtime.environment import environment
from poller.targets.runtime.launching import StartError
from poller.targets.runtime.memory import exceeding
from poller.targets.runtime.output_limit import OutputLimit
from poller.targets.runtime.recent_output import RecentOutput
from poller.targets.runtime.sessions import is_supported

IDLE_IN_SECONDS = 300.0
"""A child that has been free for this long is stopped."""

MEMORY_CHECK_IN_SECONDS = 1.0
"""How often the memory of children with a limit is measured."""

INIT_IN_SECONDS = 10.0
"""AWS's limit for the init phase. If the function's timeout is longer, the timeout is the limit."""

START = Backoff(initial=0.1, maximum=10.0)
"""The pause before the next child is started, after a child has failed in its init."""


class RuntimeTarget:
    """A function as a pool of child processes. Open it with `async with`; all children end when the block is left.

    `inherited` is the part of the daemon's environment that children get. `descriptor_limit` is a child's soft limit of
    open files; with None a child has the daemon's limit.
    """

    def __init__(
        self,
        function: Function,
        *,
        emit: Emit,
        region: str,
        endpoint_url: str | None,
        inherited: Mapping[str, str],
        descriptor_limit: int | None = None,
        idle_in_seconds: float = IDLE_IN_SECONDS,
        init_in_seconds: float = INIT_IN_SECONDS,
    ) -> None:
        assert isinstance(function.kind, ChildProcess), function.kind
        self._function = function
        self._kind = function.kind
        self._emit = emit
        self._idle_in_seconds = idle_in_seconds
        self._init_in_seconds = max(init_in_seconds, function.timeout_in_seconds)
        self._environment = partial(
            environment, function, self._kind, inherited=inherited, region=region, endpoint_url=endpoint_url
        )
        self._output_limit = OutputLimit()
        self.recent_output = RecentOutput()
        self._descriptor_limit = descriptor_limit
        self._children: set[Child] = set()
        self._outdated: set[Child] = set()  # these children get no further invocation
        self._free: list[tuple[float, Child]] = []  # each with the time since which it is free; it may have ended
        self._failed_starts = 0
        self._next_start = 0.0
        self._stopping = anyio.Event()
        self._randomness = random.Random()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            reading, writing = os.pipe()
            stack.callback(os.close, writing)
            stack.callback(os.close, reading)
            self._lifeline = reading
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            self._tasks.start_soon(self._reap)
            if self._kind.memory_size_in_mb is not None and is_supported():
                self._tasks.start_soon(self._watch_memory, self._kind.memory_size_in_mb)
            stack.callback(self._stop)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all child processes.

        The task group does not see an error of the block, because it would wrap the error.
        """
        await self._stack.aclose()

    async def invoke(self, invocation: Invocation) -> Response:
        """Call the function once, as `ports.Target` says. The slots of the gate limit how many invocations run."""
        while True:
            try:
                child = self._free.pop()[1] if self._free else await self._new_child()
            except StartError as error:
                return Unreachable(reason=f"cannot start {error}")
            response = await child.invoke(invocation)
            self._put_back(child)
            if isinstance(response, FunctionError) and not child.is_initialised:
                return replace(response, is_init_failure=True)
            if response is not None:
                return response

    def renew(self) -> None:
        """Run all later invocations in new child processes, which are started with the function's present code."""
        self._outdated |= self._children
        while self._free:
            self._free.pop()[1].ask_to_stop("reload")
        self._failed_starts = 0
        self._next_start = 0.0  # the new code may start at once, even if the old code failed in its init

    def children(self) -> list[ChildStatus]:
        """Return the child processes that have started and not ended, in no order."""
        free, now = {child for _, child in self._free}, anyio.current_time()
        return [
            ChildStatus(child.pid, child not in free, now - child.started_at) for child in self._children if child.pid
        ]

    async def _new_child(self) -> Child:
        await anyio.sleep_until(self._next_start)
        child = Child(
            self._function,
            init_in_seconds=self._init_in_seconds,
            output_limit=self._output_limit,
            recent_output=self.recent_output,
            descriptor_limit=self._descriptor_limit,
            emit=self._emit,
        )
        await self._tasks.start(self._live, child)
        return child

    async def _live(self, child: Child, *, task_status: TaskStatus[None]) -> None:
        self._children.add(child)
        try:
            await child.live(self._kind, self._environment, self._lifeline, task_status=task_status)
        finally:
            self._children.discard(child)
            self._outdated.discard(child)

    def _put_back(self, child: Child) -> None:
        if child in self._outdated:
            child.ask_to_stop("reload")
            return
        if child.is_usable:
            self._free.append((anyio.current_time(), child))
        if child.is_initialised:
            self._failed_starts = 0
        else:
            self._failed_starts += 1
            self._next_start = anyio.current_time() + START.delay(self._failed_starts, self._randomness)

    async def _reap(self) -> None:
        while not self._stopping.is_set():
            with anyio.move_on_after(self._idle_in_seconds / 4):
                await self._stopping.wait()
            self._reap_once()

    def _reap_once(self) -> None:
        due = anyio.current_time() - self._idle_in_seconds
        while self._free and self._free[0][0] <= due:
            self._free.pop(0)[1].ask_to_stop("idle")

    async def _watch_memory(self, limit_in_mb: int) -> None:
        while not self._stopping.is_set():
            with anyio.move_on_after(MEMORY_CHECK_IN_SECONDS):
                await self._stopping.wait()
            children = {child.pid: child for child in self._children if child.pid}
            with suppress(OSError):  # no descriptor is left: measure the next time
                for session in await anyio.to_thread.run_sync(exceeding, list(children), limit_in_mb * 2**20):
                    children[session].kill_for_memory(limit_in_mb)

    def _stop(self) -> None:
        self._stopping.set()
        for child in self._children:
            child.ask_to_stop("shutdown")
