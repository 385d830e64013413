"""How does a request get the values that the page and /api/status show? It gets all of them as one `View`.

    request ── `refresh`, in the event loop ── `view`, in a worker thread ──> View ──> HTML or JSON

`refresh` also asks the queues how many messages they have. So no queue is asked while nobody looks.
`view` reads the counters in the worker thread, because this takes long with a thousand mappings. It takes all other
values in the event loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import time
from typing import NamedTuple

from anyio import from_thread
from prometheus_client import CollectorRegistry

from poller.admin.page.view import Query, RecentChange, View, Viewer
from poller.admin.scaling import Backlogs
from poller.core.backlog import KnownDepth
from poller.facts.child_processes import AS_PLANNED, CHILD_PROCESS_EXITS
from poller.model.function import Function
from poller.model.function_status import FunctionStatus
from poller.model.ids import MappingName
from poller.model.sharing import SharingStatus
from poller.model.status import MappingStatus, ShownSettings, WorkerStatus
from poller.telemetry.history import History


class PageSources(NamedTuple):
    """The functions that return what only the page shows.

    `functions` returns the functions of the settings, `function_statuses` the status of each function that is in use,
    and `changes` the last changes, the oldest first. They are called in the event loop.
    `settings` returns the settings in use; it is called in a worker thread. If it is None, there is no such page.
    """

    history: History | None = None
    functions: Callable[[], Sequence[Function]] = tuple
    changes: Callable[[], Sequence[RecentChange]] = tuple
    function_statuses: Callable[[], Sequence[FunctionStatus]] = tuple
    settings: Callable[[], ShownSettings] | None = None


class Viewing:
    """Makes the views of one server."""

    def __init__(
        self,
        registry: CollectorRegistry,
        statuses: Callable[[], Sequence[MappingStatus]],
        sources: PageSources,
        *,
        workers: Callable[[], Sequence[WorkerStatus]],
        sharing: Callable[[], SharingStatus | None],
        refresh: Callable[[], Awaitable[None]],
        backlogs: Backlogs | None = None,
    ) -> None:
        """`refresh` waits until the values are up to date. Without `backlogs`, no queue is asked."""
        self._refresh = refresh
        self._backlogs = backlogs
        self._depths: Mapping[MappingName, KnownDepth] = {}
        self._registry = registry
        self._statuses = statuses
        self._sources = sources
        self._workers = workers
        self._sharing = sharing
        self._started_at = time()

    async def refresh(self) -> None:
        await self._refresh()
        if self._backlogs is not None:
            self._depths = await self._backlogs.depths()

    def view(self, viewer: Viewer, query: Query) -> View:
        """Return what this reader sees now. Runs in a worker thread."""
        failed_children: Counter[str] = Counter()
        for family in self._registry.restricted_registry([CHILD_PROCESS_EXITS.name]).collect():
            for sample in family.samples:
                if sample.labels["reason"] not in AS_PLANNED:
                    failed_children[sample.labels["function"]] += int(sample.value)
        return from_thread.run_sync(self._view_with, failed_children, viewer, query)

    def _view_with(self, failed_children: Mapping[str, int], viewer: Viewer, query: Query) -> View:
        history = self._sources.history
        return View(
            now=time(),
            started_at=self._started_at,
            statuses=self._statuses(),
            histories={} if history is None else history.histories(),
            functions=self._sources.functions(),
            function_statuses={status.function: status for status in self._sources.function_statuses()},
            failed_children=failed_children,
            depths=self._depths,
            changes=self._sources.changes(),
            workers=self._workers(),
            sharing=self._sharing(),
            viewer=viewer,
            query=query,
        )
