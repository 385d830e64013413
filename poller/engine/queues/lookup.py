"""Does the queue exist, and how long is its visibility timeout? The mapping calls GetQueueAttributes.

The mapping repeats the call until the queue exists.
Later it repeats the call every few minutes, because a person may change the visibility timeout at any time.
If a later call fails, the mapping uses the last known timeout.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import anyio

from poller.core.queues.visibility import Visibility, effective_visibility
from poller.engine.queues.visibility import VisibilityKeeper
from poller.engine.source_health import SourceHealth
from poller.engine.source_pauses import SourcePauses
from poller.engine.stop import Stop
from poller.errors import ServiceError
from poller.facts import Emit, MappingReady
from poller.model.function import Function
from poller.model.mapping import QueueMapping
from poller.ports import QueueSource

AGAIN_IN_SECONDS = 300.0
"""The time between two lookups of a queue that was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLookup:
    """Looks up the queue of one mapping, and sets the visibility timeout that the keeper uses."""

    mapping: QueueMapping
    function: Function
    source: QueueSource
    keeper: VisibilityKeeper
    health: SourceHealth
    pauses: SourcePauses
    emit: Emit
    stop: Stop

    async def find(self) -> bool:
        """Repeat the lookup until the queue is found.

        Return False if the stop comes first; the stop cancels a running call.
        """
        is_found = False
        async with anyio.create_task_group() as search:
            search.start_soon(self._cut_when_draining, search.cancel_scope)
            await self._search()
            is_found = True
            search.cancel_scope.cancel()
        return is_found

    async def find_again(self) -> None:
        """Repeat the lookup of the queue every few minutes, until cancelled."""
        while True:
            await anyio.sleep(AGAIN_IN_SECONDS)
            with contextlib.suppress(ServiceError):
                await self._describe()

    async def _search(self) -> None:
        while True:
            asked_at = anyio.current_time()
            try:
                visibility = await self._describe()
            except ServiceError as error:
                delay = self.pauses.after_failure(error, asked_at=asked_at)
                self.health.failed("GetQueueAttributes", error, retry_in=delay)
                await self.stop.sleep(delay)
                continue
            self.health.found()
            self.pauses.succeeded()
            self.emit(
                MappingReady(
                    mapping=self.mapping.name,
                    source=str(self.mapping.event_source_arn),
                    function=self.mapping.function_name,
                    visibility_timeout_in_seconds=visibility.timeout_in_seconds,
                    advice=visibility.advice,
                )
            )
            return

    async def _cut_when_draining(self, scope: anyio.CancelScope) -> None:
        await self.stop.draining.wait()
        scope.cancel()

    async def _describe(self) -> Visibility:
        attributes = await self.source.describe()
        visibility = effective_visibility(
            queue_timeout_in_seconds=attributes.visibility_timeout_in_seconds,
            window_in_seconds=self.mapping.maximum_batching_window_in_seconds,
            function_timeout_in_seconds=self.function.timeout_in_seconds,
            is_fifo=self.mapping.is_fifo,
        )
        self.keeper.timeout_in_seconds = visibility.timeout_in_seconds
        self.keeper.queue_timeout_in_seconds = visibility.queue_timeout_in_seconds
        return visibility
