"""How does the parent of several workers start, run and end?

    settings ──> private folder, sockets ──> HTTP server and control socket ──> the workers, until a signal

The parent obeys the signals of a daemon: SIGTERM and SIGINT stop all workers, a second one ends their grace, and SIGHUP
reloads the settings of all.
It listens at all addresses. It serves the pages itself, and the workers inherit the sockets of Lambda's API: whichever
worker is free accepts the next client. A client whose worker dies is not lost while it waits to be accepted.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import anyio
import prometheus_client

from poller import __version__, process_memory
from poller.admin.control import control_paths
from poller.admin.guard import Access
from poller.admin.listening import bound, written
from poller.admin.recent import RecentChanges
from poller.admin.server import Pages, serve, serve_control
from poller.admin.viewing import PageSources
from poller.engine.stop import Stop
from poller.errors import CannotListen, SettingsError
from poller.facts import ControlSocketFailed, DaemonStarted, SettingsWarning
from poller.lambda_api.server import OPTION as API_OPTION
from poller.settings.in_use import shown_settings
from poller.settings.loading import Examined, examine_again
from poller.settings.values import Daemon
from poller.telemetry import logs
from poller.telemetry.history import History
from poller.telemetry.telemetry import Telemetry
from poller.workers.calls import Invocations
from poller.workers.folder import private_folder
from poller.workers.life import command_line
from poller.workers.passing_on import Backlogs, Changes
from poller.workers.team import Team
from poller.workers.view import View
from poller.zombies import reap_regularly


def run(found: Examined, *, settings_path: Path, workers: int, verbose: bool = False, quiet: bool = False) -> int:
    """Run the workers until SIGTERM or SIGINT, and return the exit code: the worst one of the workers.

    Raises PollerError if the parent cannot start.
    """
    if found.settings.daemon.state == "memory:":
        fault = 'daemon.state = "memory:": several workers share the state, so it must be a file or a table'
        raise SettingsError([fault])
    process_memory.protect()
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the counters' series
    logs.configure(found.settings.daemon.log_format, verbose, quiet)
    with_uvloop = importlib.util.find_spec("uvloop") is not None
    return anyio.run(_run, found, settings_path, workers, backend_options={"use_uvloop": with_uvloop})


async def _run(found: Examined, settings_path: Path, workers: int) -> int:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])  # __main__.py has blocked it
        return await _run_until(signals, found, settings_path, workers)


async def _run_until(signals: AsyncIterator[signal.Signals], found: Examined, settings_path: Path, workers: int) -> int:
    stop, telemetry, daemon = Stop(), Telemetry(), found.settings.daemon
    for warning in found.settings.warnings:
        telemetry.emit(SettingsWarning(warning))
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(private_folder())
        listeners = await _api_listeners(daemon)
        for listener in listeners:
            stack.enter_context(listener)
        team = Team(
            workers,
            command=command_line(),
            folder=folder,
            api_listeners=listeners,
            stop=stop,
            get_grace_in_seconds=lambda: changes.in_use.daemon.shutdown_grace_in_seconds,
            emit=telemetry.emit,
        )
        view = View(team, own_numbers=telemetry.numbers)
        changes = Changes(
            found,
            file=settings_path,
            read=partial(examine_again, settings_path, os.environ),
            folder=folder,
            team=team,
            emit=telemetry.emit,
        )
        registry, recent = view.registry(lambda: changes.status), RecentChanges(telemetry.emit)
        history = History(registry, refresh=view.refresh)
        page = PageSources(
            history=history,
            functions=lambda: list(changes.in_use.functions.values()),
            changes=recent.changes,
            function_statuses=view.functions,
            settings=lambda: shown_settings(changes.text_in_use, settings_path, os.environ),
        )
        pages = Pages(
            registry,
            view.statuses,
            Backlogs(folder, team),
            workers=view.workers,
            refresh=view.refresh,
            page=page,
            sharing=view.sharing,
        )
        http = None
        if daemon.http_listen is not None:
            server = serve(
                daemon.http_listen,
                pages,
                access=lambda: _access(changes.in_use.daemon),
                changes=changes,
                emit=recent.emit,
            )
            http = await stack.enter_async_context(server)
        try:
            paths = control_paths(daemon.state, settings_path)
            invoke = Invocations(folder, team).respond
            control = serve_control(
                paths,
                pages,
                changes=changes,
                emit=recent.emit,
                invoke=invoke,
                settings_file=settings_path,
                event_queue=daemon.event_queue,
            )
            await stack.enter_async_context(control)
        except CannotListen as error:  # the workers run without the socket
            telemetry.emit(ControlSocketFailed(str(error)))
        async with anyio.create_task_group() as services:
            services.start_soon(_obey, signals, stop, changes)
            services.start_soon(changes.run)
            services.start_soon(history.run)
            services.start_soon(view.run)
            services.start_soon(reap_regularly)
            telemetry.emit(
                DaemonStarted(
                    version=__version__,
                    settings=str(settings_path),
                    mappings=sum(mapping.is_enabled for mapping in found.settings.mappings),
                    http=written(http) if http else None,
                    api=written(listeners[0].getsockname()) if listeners else None,
                    workers=workers,
                )
            )
            status = await team.run()
            services.cancel_scope.cancel()
    return status


async def _api_listeners(daemon: Daemon) -> Sequence[socket.socket]:
    return () if daemon.api_listen is None else await bound(daemon.api_listen, option=API_OPTION)


def _access(daemon: Daemon) -> Access:
    return Access(hosts=daemon.http_hosts, admin_token=daemon.admin_token)


async def _obey(signals: AsyncIterator[signal.Signals], stop: Stop, changes: Changes) -> None:
    """Reload the settings at SIGHUP. Begin the stop at the first other signal, and end its grace at each later one."""
    async for number in signals:
        if number == signal.SIGHUP:
            changes.reload_soon()
        elif stop.has_begun:
            stop.hurry()
        else:
            stop.begin()
