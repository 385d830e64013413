"""How does the daemon start, run and end?

    settings -> log, metrics -> open each mapping (composition/mappings.py) -> HTTP server -> supervisor, until a signal
                                              ├── reloading.py, running.py: SIGHUP, poller reload
                                              └── requested_changes.py: what clients ask for

With a membership, the process is one of several workers (workers/): its parent listens at all addresses and obeys the
signals, and the process answers the parent at a socket of its own.

At the stop, each mapping ends its child processes and closes its connections, unless another mapping still uses them.
When all mappings have ended, one exit stack closes everything else: first the HTTP server, last the state file.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import prometheus_client
from anyio import from_thread

from poller import __version__, process_memory
from poller.admin.control import control_paths
from poller.admin.guard import Access
from poller.admin.listening import Address, written
from poller.admin.recent import RecentChanges
from poller.admin.server import Pages, serve, serve_control
from poller.admin.viewing import PageSources
from poller.composition.api import api_listeners, control_api, routes_of, serve_api
from poller.composition.mappings import compose
from poller.composition.worker import Pauses, WorkerComposition
from poller.descriptors import raise_limit
from poller.engine.backlogs import Backlogs
from poller.engine.events.orphans import OrphanedEvents
from poller.engine.stop import Stop
from poller.engine.supervisor import Supervisor
from poller.errors import CannotListen
from poller.facts import ControlSocketFailed, DaemonStarted, Emit, Fact, SettingsWarning
from poller.garbage import Garbage
from poller.lambda_api.invoking import nowhere
from poller.lambda_api.server import Api
from poller.model.function_status import FunctionStatus
from poller.model.lease import Owner
from poller.model.status import MappingStatus
from poller.reloading import Reloader
from poller.requested_changes import RequestedChanges
from poller.running import Running
from poller.settings.in_use import InUse, shown_settings
from poller.settings.loading import examine_again
from poller.telemetry import logs
from poller.telemetry.history import History
from poller.telemetry.processes import own_usage
from poller.telemetry.telemetry import Telemetry
from poller.tracing.opening import open_tracing
from poller.workers.membership import Membership, Parent, end_with_parent
from poller.workers.other_workers import OtherWorkers, maximum_connections
from poller.workers.report import Report
from poller.zombies import reap_regularly

SWITCH_INTERVAL_IN_SECONDS = 0.0005
"""How long the event loop waits for a busy worker thread before it runs again. Python's default is 5 ms.

While a worker thread reads the settings or renders a page, the event loop waits for this time at each of its steps.
"""


def run(
    in_use: InUse,
    *,
    settings_path: Path,
    verbose: bool = False,
    quiet: bool = False,
    membership: Membership | None = None,
) -> int:
    """Run the daemon until SIGTERM or SIGINT, and return the exit code: 1 if the stop was unclean, else 0.

    `in_use` has the settings of the file or, if this process is a worker, those that the parent has handed to it.
    `membership` says which worker this process is, or is None for a daemon of one process.
    Raises PollerError if the daemon cannot start.
    """
    if membership is not None:
        end_with_parent()
    process_memory.protect()
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the counters' series
    logs.configure(
        in_use.settings.daemon.log_format,
        verbose,
        quiet,
        worker=None if membership is None else membership.number,
        has_colors=None if membership is None else membership.has_colors,
    )
    with_uvloop = importlib.util.find_spec("uvloop") is not None
    gc.freeze()  # the collector skips the modules, which live until the end
    sys.setswitchinterval(SWITCH_INTERVAL_IN_SECONDS)
    return anyio.run(_run, in_use, settings_path, membership, backend_options={"use_uvloop": with_uvloop})


async def _run(in_use: InUse, settings_path: Path, membership: Membership | None) -> int:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])  # __main__.py has blocked it
        return await _run_until(signals, in_use, settings_path, membership)


async def _run_until(
    signals: AsyncIterator[signal.Signals], in_use: InUse, settings_path: Path, membership: Membership | None
) -> int:
    settings, stop, limits = in_use.settings, Stop(), raise_limit()
    parent = None if membership is None else Parent(membership)
    telemetry = Telemetry()
    for function in settings.functions:
        telemetry.begin_function(function)
    if membership is None:  # else the parent has logged them
        for warning in settings.warnings:
            telemetry.emit(SettingsWarning(warning))
    async with AsyncExitStack() as stack:
        tracing = await stack.enter_async_context(open_tracing(os.environ, telemetry.emit))
        composition = await stack.enter_async_context(
            compose(
                settings,
                emit=telemetry.emit,
                descriptor_limit=limits.original,
                tracing=tracing,
                worker_number=None if membership is None else membership.number,
            )
        )
        await composition.events.queues.check()
        supervisor = Supervisor(
            composition.open,
            pauses=Pauses(composition.worker),
            series=telemetry,
            stop=stop,
            grace_in_seconds=settings.daemon.shutdown_grace_in_seconds,
            clock=composition.clock,
            emit=telemetry.emit,
            randomness=composition.randomness,
            stop_announced=composition.worker.stop_announced,
        )
        garbage = Garbage()
        running = Running(
            supervisor, composition, series=telemetry, garbage=garbage, limits=limits, emit=telemetry.emit
        )
        running.check_descriptors(settings)
        await stack.enter_async_context(supervisor.running())
        await running.start(settings)
        statuses = partial(_shown, supervisor, composition.events.orphans)
        telemetry.watch(lambda: from_thread.run_sync(statuses))  # a worker thread renders /metrics
        reloader = Reloader(
            settings,
            text=in_use.text,
            file=settings_path,
            read=partial(
                examine_again, settings_path, os.environ, copy=membership.settings_copy if membership else None
            ),
            running=running,
            stop=stop,
            clock=composition.clock,
            emit=telemetry.emit,
        )
        changes = RequestedChanges(reloader, running, file=settings_path, clock=composition.clock)
        telemetry.watch_reloads(lambda: reloader.status)
        telemetry.watch_sharing(lambda: from_thread.run_sync(composition.worker.sharing))
        backlogs = Backlogs(supervisor, ask=composition.depth_of)

        def function_statuses() -> list[FunctionStatus]:
            return composition.functions.statuses(composition.clock.now())

        history, recent = History(telemetry.registry), RecentChanges(telemetry.emit)
        page = PageSources(
            history=history,
            functions=lambda: list(reloader.in_use.functions.values()),
            changes=recent.changes,
            function_statuses=function_statuses,
            settings=lambda: shown_settings(reloader.text_in_use, settings_path, os.environ),
        )
        pages = Pages(telemetry.registry, statuses, backlogs, page=page, sharing=composition.worker.sharing)
        calls = composition.functions.calls_of_clients(stop)
        pass_on = nowhere if membership is None else OtherWorkers(membership, stop=stop).pass_on
        routes = routes_of(composition, calls, lambda: reloader.in_use, file=str(settings_path), pass_on=pass_on)
        control = control_api(routes, emit=telemetry.emit)
        http = None
        if membership is None:
            listeners = await api_listeners(settings)
            http = await stack.enter_async_context(
                _served(pages, reloader, changes, control, settings_path, recent.emit)
            )
        else:
            listeners = membership.sockets()
            server = serve_control(
                [membership.socket_path],
                pages,
                changes=changes,
                emit=_the_parent_logs_it,
                invoke=control.respond,
                maximum_connections=maximum_connections(membership.of),
            )
            await stack.enter_async_context(server)
        api = await stack.enter_async_context(
            serve_api(listeners, routes, lambda: reloader.in_use, stop=stop, emit=telemetry.emit)
        )
        await stack.enter_async_context(calls.running())  # this ends first, so that running calls are still answered
        stopping = _Stopping(stop, composition.worker)

        def report(answers: int) -> Report:
            of_leases = composition.worker.owner, composition.worker.sharing()
            return Report(
                answers,
                statuses(),
                telemetry.numbers(),
                dict(own_usage()),
                *of_leases,
                functions=tuple(function_statuses()),
            )

        async with anyio.create_task_group() as services:
            services.start_soon(_obey, signals, stopping, reloader)
            services.start_soon(reloader.run)
            services.start_soon(running.collect_regularly)
            services.start_soon(reap_regularly)
            services.start_soon(composition.events.orphans.run)
            services.start_soon(composition.worker.open_state_once_it_exists)
            services.start_soon(composition.worker.pauses_seen.run, running.follow_pauses)
            if parent is not None:
                services.start_soon(parent.attend, stopping, report)
            else:
                services.start_soon(history.run)
                telemetry.emit(
                    DaemonStarted(
                        version=__version__,
                        settings=str(settings_path),
                        mappings=sum(mapping.is_enabled for mapping in settings.mappings),
                        http=written(http) if http else None,
                        api=written(api) if api else None,
                    )
                )
            garbage.freeze()  # later collections skip the mappings, too
            supervisor.begin()
            await supervisor.stopped()
            services.cancel_scope.cancel()
        if parent is not None:
            await parent.say_last(report)
    return 1 if stop.is_unclean.is_set() or composition.worker.is_unclean else 0


def _shown(supervisor: Supervisor, orphans: OrphanedEvents) -> list[MappingStatus]:
    """Return the statuses for pages and metrics.

    The status of a function's events is left out while the events are not in use and nothing fails.
    """
    shown = [
        status
        for status in supervisor.statuses()
        if status.events is None or status.events.is_in_use or status.attempt is not None
    ]
    return [*shown, *orphans.statuses()]


@asynccontextmanager
async def _served(
    pages: Pages, reloader: Reloader, changes: RequestedChanges, api: Api, settings_path: Path, emit: Emit
) -> AsyncIterator[Address | None]:
    """Serve the control socket and, if the settings have an address, HTTP. Yields the HTTP address or None."""
    daemon = reloader.in_use.daemon
    async with AsyncExitStack() as stack:
        http = None
        if daemon.http_listen is not None:
            server = serve(daemon.http_listen, pages, access=partial(_access, reloader), changes=changes, emit=emit)
            http = await stack.enter_async_context(server)
        try:
            paths = control_paths(daemon.state, settings_path)
            control = serve_control(
                paths,
                pages,
                changes=changes,
                emit=emit,
                invoke=api.respond,
                settings_file=settings_path,
                event_queue=daemon.event_queue,
            )
            await stack.enter_async_context(control)
        except CannotListen as error:  # mappings run without the socket
            emit(ControlSocketFailed(str(error)))
        yield http


def _the_parent_logs_it(_change: Fact) -> None:
    """Emit nothing for a change that was passed on, because only the parent knows who has asked for it."""


def _access(reloader: Reloader) -> Access:
    daemon = reloader.in_use.daemon
    return Access(hosts=daemon.http_hosts, admin_token=daemon.admin_token)


class _Stopping:
    """Begins the stop, and ends its grace. Implements `workers.membership.Obeying`."""

    def __init__(self, stop: Stop, worker: WorkerComposition) -> None:
        self._stop = stop
        self._worker = worker

    @property
    def has_begun(self) -> bool:
        return self._stop.has_begun

    def begin_stop(self) -> None:
        self._worker.begin_stop()
        self._stop.begin()

    def hurry(self) -> None:
        self._stop.hurry()

    def died(self, owner: Owner) -> None:
        self._worker.died(owner)


async def _obey(signals: AsyncIterator[signal.Signals], stopping: _Stopping, reloader: Reloader) -> None:
    """Reload the settings at SIGHUP.

    Begin the stop at the first SIGTERM or SIGINT, and end its grace at each later one.
    """
    async for number in signals:
        if number == signal.SIGHUP:
            reloader.reload_soon()
        elif stopping.has_begun:
            stopping.hurry()
        else:
            stopping.begin_stop()
