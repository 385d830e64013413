"""Which objects does a function need at run time? This module makes them for mappings.py.

    a function on Lambda       LambdaApiTarget ─┐
    an HTTP service            HttpTarget ──────┼─ its capacity: the limits of its concurrency
    child processes            RuntimeTarget ───┘

Mappings and clients of Lambda's API share an open function: the first user opens it, and it is closed after the last.
A function whose settings change has another key, so it is opened anew. Both share the capacity of their name.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import NamedTuple, assert_never
from weakref import WeakValueDictionary

import anyio
from anyio.abc import TaskGroup

from poller.aws.clients import Aws, AwsSettings
from poller.composition.event_queues import aws_settings
from poller.composition.worker import SharedLimit, WorkerComposition
from poller.core.leases.units import limit_of_function
from poller.engine.calls import Calls, Opening
from poller.engine.sharing import Shared
from poller.engine.stop import Stop
from poller.facts import Emit
from poller.functions.capacity import FunctionCapacity
from poller.functions.opened import OpenFunction
from poller.model.function import ChildProcess, Function, HttpService, LambdaApi
from poller.model.function_status import LINE_CHARACTERS, FunctionStatus, LoggedLine, first_of, last_of
from poller.model.ids import FunctionName
from poller.ports import Target
from poller.settings.changes import FunctionKey, function_key
from poller.settings.values import Settings
from poller.sources.reader_identity import AskedOnce
from poller.targets.http import HttpTarget
from poller.targets.lambda_api import LambdaApiTarget
from poller.targets.runtime import RuntimeTarget
from poller.tracing.wrapping import Tracing


class SharedFunction(NamedTuple):
    """An open function, and the role that it has on Lambda."""

    opened: OpenFunction
    target: Target
    role: AskedOnce


class FunctionComposition:
    """Opens functions with the settings that are in use at that moment."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        *,
        open_aws: Callable[[AwsSettings], AbstractAsyncContextManager[Aws]],
        worker: WorkerComposition,
        tasks: TaskGroup,
        descriptor_limit: int,
        emit: Emit,
        tracing: Tracing,
    ) -> None:
        """Make a composition. `tasks` must outlive all runs."""
        self._settings = settings
        self._open_aws = open_aws
        self._worker = worker
        self._descriptor_limit = descriptor_limit
        self._emit = emit
        self._tracing = tracing
        self._functions = Shared(self._open, tasks=tasks)
        self._capacities: WeakValueDictionary[tuple[FunctionName, bool], FunctionCapacity] = WeakValueDictionary()
        self._inherited: dict[str, str] = {}  # the environment of child processes that start from now on
        self._calls: Calls | None = None
        self.follow_settings()

    def use(self, function: Function) -> AbstractAsyncContextManager[SharedFunction]:
        """Share the open function while the block lasts. Raises PollerError or OSError if it cannot be opened."""
        return self._functions.use(self._key(function))

    def follow_settings(self) -> None:
        """Use the settings that are in use now.

        Later child processes get the new environment. Functions that only clients have used are closed if the settings
        do not have them any more.
        """
        settings = self._settings()
        self._inherited.clear()
        self._inherited.update(_without(settings.withheld_variables, os.environ))
        if self._calls is not None:
            self._calls.settle(keep=tuple(map(self._key, settings.functions.values())))

    def calls_of_clients(self, stop: Stop) -> Calls:
        """Return the object that calls functions for clients."""
        self._calls = Calls(self._opening, stop=stop, emit=self._emit)
        return self._calls

    def renew(self, function: Function) -> None:
        """Use new child processes for later invocations. Does nothing if no run has opened the function."""
        shared = self._functions.opened(self._key(function))
        if shared is not None:
            assert isinstance(shared.target, RuntimeTarget), "others have no child processes"
            shared.target.renew()

    def statuses(self, now: float) -> list[FunctionStatus]:
        """Return the status of each open function. `now` is the time of day in epoch seconds.

        A function that was replaced is open until its invocations have ended. It is described together with its
        successor, which has the same capacity.
        """
        of_name: defaultdict[FunctionName, list[SharedFunction]] = defaultdict(list)
        for shared in self._functions.all_opened():
            of_name[shared.opened.definition.name].append(shared)
        return [_status(name, opened, ahead=now - anyio.current_time()) for name, opened in of_name.items()]

    def _key(self, function: Function) -> FunctionKey:
        return function_key(function, self._settings().daemon)

    def _opening(self, function: Function) -> Opening:
        key = self._key(function)
        return Opening(key, lambda: self._opened(key))

    @asynccontextmanager
    async def _opened(self, key: FunctionKey) -> AsyncIterator[OpenFunction]:
        async with self._functions.use(key) as shared:
            yield shared.opened

    @asynccontextmanager
    async def _open(self, key: FunctionKey) -> AsyncIterator[SharedFunction]:
        function = key.function
        async with AsyncExitStack() as stack:
            target: Target
            match function.kind:
                case LambdaApi() as kind:
                    aws = await stack.enter_async_context(self._open_aws(aws_settings(self._settings())))
                    target = await LambdaApiTarget.of(function, kind, aws)
                case HttpService():
                    target = await stack.enter_async_context(HttpTarget(function, emit=self._emit))
                case ChildProcess():
                    target = await stack.enter_async_context(
                        RuntimeTarget(
                            function,
                            emit=self._emit,
                            region=function.arn.region,
                            endpoint_url=self._settings().daemon.endpoint_url,
                            descriptor_limit=self._descriptor_limit,
                            inherited=self._inherited,
                        )
                    )
                case _:
                    assert_never(function.kind)
            capacity = await self._capacity(function, stack)
            traced = self._tracing.target(target, function.name)
            yield SharedFunction(OpenFunction(function, traced, capacity), target, AskedOnce())

    async def _capacity(self, function: Function, stack: AsyncExitStack) -> FunctionCapacity:
        """Return the capacity of a function. If other workers share it, hold units of it until the stack closes."""
        has_limit = function.is_concurrency_reserved and function.reserved_concurrency > 0
        is_shared = self._worker.shares_limits and has_limit
        capacity = self._capacities.setdefault(
            (function.name, is_shared), FunctionCapacity(function.reserved_concurrency, is_shared=is_shared)
        )
        if capacity.units is not None:
            limit = SharedLimit(limit_of_function(function.name), capacity.units)
            await stack.enter_async_context(self._worker.hold(limit))
        return capacity


def _status(name: FunctionName, opened: Sequence[SharedFunction], *, ahead: float) -> FunctionStatus:
    """Return the status of the functions with this name. `ahead` is the time of day minus anyio's time."""
    targets = [shared.target for shared in opened if isinstance(shared.target, RuntimeTarget)]
    children = [child for target in targets for child in target.children()]
    lines = [LoggedLine(ahead + at, pid, text) for target in targets for at, pid, text in target.recent_output.lines()]
    for shared in opened:
        if not isinstance(shared.target, RuntimeTarget) and shared.opened.last_log_tail is not None:
            at, tail = shared.opened.last_log_tail
            lines += [LoggedLine(ahead + at, None, line[-LINE_CHARACTERS:]) for line in tail.splitlines()]
    gate = opened[-1].opened.gate
    return FunctionStatus(
        name,
        running=gate.running,
        waiting=gate.waiting,
        limit=gate.capacity,
        children=len(children),
        busy=sum(child.is_busy for child in children),
        first_children=first_of(children),
        log=last_of(lines),
    )


def _without(withheld: Collection[str], environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in withheld}
