"""How does the parent pass a change on to the workers? It sends the request to their sockets.

    reload   ── the parent reads the file; if it has no fault ──> a copy of the file ────────> all workers
    pause, resume, restart of a function ──────────────────────────────────────────────────> all workers
    an order about a blocked shard, a question of an autoscaler ───────────────────────────> all workers
    a look at the queues, a move of positions, a question about them ──> the worker that has reported last

A change is made when all workers have made it. If one of them refuses, or does not answer, the answer says which one;
the others have made the change. A worker that did not answer sees a pause in the state, and reads the file of a reload
as soon as it answers again. Until then, the last reload counts as failed. Other reloads do not wait for this worker.
An order is executed by the worker that reads the shard; the others refuse it.
All workers read the same copy of the file. So no worker uses an edited file before a reload, and a faulty file changes
no worker. A worker that is started later gets the settings that are in use then (starting.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import anyio
import orjson
from anyio import to_thread
from anyio.abc import TaskGroup

from poller.admin.changing import refuse_another_file
from poller.admin.openapi import QUEUES
from poller.admin.scaling import read_queues
from poller.core.backlog import Known, KnownDepth, of_workers
from poller.errors import CannotChange, PartlyChanged, SettingsError
from poller.event_queues.by_request import StuckEvents
from poller.facts import Emit, ReloadNotMade, ReloadRefused, SettingsWarning, WorkerNotChanged
from poller.model.backlog import Backlog, UnknownBacklog
from poller.model.event import EventAction
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.mapping import EventMapping
from poller.model.move import MoveOrder
from poller.model.order import ShardOrder
from poller.model.status import ReloadStatus
from poller.settings.changes import changes
from poller.settings.in_use import InUse, TextInUse
from poller.settings.loading import Examined
from poller.settings.values import Settings
from poller.workers.asking import HANGS, Reply, all_asked, asked
from poller.workers.membership import SETTINGS_COPY
from poller.workers.starting import handed
from poller.workers.team import Team, Worker

STOPPING = "the daemon stops"
NO_WORKER = "no worker runs now; they are being started"

LONGEST_LOOK_IN_SECONDS = 2.0
"""How long a page waits for the worker that asks the queues. The worker itself waits for a second at most."""


class Changes:
    """Implements `admin.changing.Changes` for all workers. `in_use` has the settings that the parent uses now."""

    def __init__(
        self,
        in_use: Examined,
        *,
        file: Path,
        read: Callable[[], Examined],
        folder: Path,
        team: Team,
        emit: Emit,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`read` reads the file, in a worker thread. It raises SettingsError if the file is faulty."""
        self.in_use: Settings = in_use.settings
        self.status = ReloadStatus(was_successful=True, succeeded_at=now())
        self._text = in_use.text
        self._was_refused = False
        self._reloads: dict[int, Reply] = {}  # the last answer of each worker that has reloaded
        self._late: set[int] = set()
        self._file = file
        self._read = read
        self._folder = folder
        self._team = team
        self._now = now
        self._emit = emit
        self._turn = anyio.Lock()
        self._line, self._waiting = anyio.create_memory_object_stream[None](1)
        self._tasks: TaskGroup
        _write(self._folder, in_use.text)
        team.use(handed(InUse.of(in_use)))
        team.on_start = self._catch_up

    async def run(self) -> None:
        """Make the reloads that nobody waits for, until cancelled. They wait until a worker has started."""
        async with anyio.create_task_group() as self._tasks:
            with self._line, self._waiting:
                await self._team.workers[0].first_start_is_over.wait()
                async for _ in self._waiting:
                    with suppress(SettingsError, CannotChange):  # `reload` has logged the error
                        await self.reload(settings=None)

    def reload_soon(self) -> None:
        """Ask for a reload without waiting for it. If another one waits already, it will read the newest file."""
        with suppress(anyio.WouldBlock):
            self._line.send_nowait(None)

    @property
    def text_in_use(self) -> TextInUse:
        """Return the text of the file, and the mappings that a worker failed to replace at the last reload."""
        return TextInUse(self._text, self.in_use.daemon, sorted({*self._not_replaced()}))

    def _not_replaced(self) -> Iterator[MappingName]:
        """Yield the mappings that a worker failed to change, but not those that it failed to add: they do not run."""
        for number, reply in self._reloads.items():
            report = self._team.workers[number - 1].life.report
            if reply.status == 200 and report is not None:
                running = {status.mapping for status in report.statuses if status.events is None}
                yield from running & reply.body.get("failed", {}).keys()

    async def reload(self, *, settings: str | None) -> Mapping[str, Any]:
        """Let all workers use the present file. Raises SettingsError if it is faulty, and CannotChange."""
        refuse_another_file(settings, self._file)
        try:
            return await self._reloaded_by_all()
        except SettingsError as error:
            self._was_refused = True
            self.status = self.status._replace(was_successful=False)
            self._emit(ReloadRefused(settings=str(self._file), faults=tuple(error.faults)))
            raise
        except CannotChange as error:
            self._emit(ReloadNotMade(settings=str(self._file), why=str(error)))
            raise

    async def _reloaded_by_all(self) -> Mapping[str, Any]:
        async with self._turn:
            self._refuse_if_stopping()
            found = await to_thread.run_sync(self._found)
            for warning in found.settings.warnings:
                if warning not in self.in_use.warnings:
                    self._emit(SettingsWarning(warning))
            of_new_processes = await to_thread.run_sync(handed, found)
            await to_thread.run_sync(_write, self._folder, found.text)
            self.in_use = found.settings
            self._text, self._was_refused = found.text, False
            self._team.use(of_new_processes)
            replies = await self._ask_all("/api/reload", {})
            self.status = self.status._replace(was_successful=False)
            self._reloads = {reply.worker: reply for reply in replies}
            self._note_success()
            for reply in replies:
                if reply.status == HANGS and reply.worker not in self._late:
                    self._tasks.start_soon(self._reload_of, self._team.workers[reply.worker - 1])
        return _reloaded(_all_made(replies, is_made_later=True))

    def _found(self) -> InUse:
        """Read the file, and return the settings that are in use after its changes. Runs in a worker thread."""
        read = self._read()
        return InUse(changes(self.in_use, read.settings).settings, read.text)

    async def restart_function(self, name: str, *, settings: str | None) -> Mapping[str, Any]:
        return await self._changed("/api/reload", {"function": name}, settings)

    async def pause(self, mapping: str, *, settings: str | None) -> Mapping[str, Any]:
        return await self._changed("/api/pause", {"mapping": mapping}, settings, is_made_later=True)

    async def resume(self, mapping: str, *, settings: str | None) -> Mapping[str, Any]:
        return await self._changed("/api/resume", {"mapping": mapping}, settings, is_made_later=True)

    async def order(self, mapping: str, order: ShardOrder, *, settings: str | None) -> Mapping[str, Any]:
        """Let the worker that reads the shard execute the order."""
        refuse_another_file(settings, self._file)
        self._refuse_if_stopping()
        body = {
            "mapping": mapping,
            "shard": order.shard_id,
            "action": order.action,
            "start_sequence_number": order.start_sequence_number,
            "end_sequence_number": order.end_sequence_number,
        }
        replies = await self._ask_all("/api/shard", body)
        made = [reply.body for reply in replies if reply.status == 200]
        return made[0] if made else _all_made(replies)[0].body

    async def positions(self, mapping: str) -> Mapping[str, Any]:
        return await self._by_one("/api/positions", query={"mapping": mapping})

    async def move(self, mapping: str, order: MoveOrder, *, settings: str | None) -> Mapping[str, Any]:
        """Let one worker move the positions. It finds out whether another worker reads them."""
        refuse_another_file(settings, self._file)
        body = {
            "mapping": mapping,
            "position": order.to,
            "shard": order.shard_id,
            "after": order.is_after,
            "only_shows": order.only_shows,
            "version": order.version,
        }
        return await self._by_one("/api/position", body)

    async def stuck_events(self, function: str) -> Mapping[str, Any]:
        return await self._stuck_events.report(FunctionName(function), now=self._now())

    async def change_events(
        self,
        function: str,
        action: EventAction,
        request_id: str | None,
        *,
        drops_waiting: bool = False,
        settings: str | None,
    ) -> Mapping[str, Any]:
        """Change the file of events, which all workers share."""
        refuse_another_file(settings, self._file)
        one = None if request_id is None else RequestId(request_id)
        return await self._stuck_events.change(
            FunctionName(function), action, one, drops_waiting=drops_waiting, now=self._now()
        )

    @property
    def _stuck_events(self) -> StuckEvents:
        return StuckEvents(self.in_use.daemon.event_queue, self.in_use.functions)

    async def _by_one(
        self, path: str, body: Mapping[str, object] | None = None, *, query: Mapping[str, str] | None = None
    ) -> Mapping[str, Any]:
        """Return the answer of one worker."""
        self._refuse_if_stopping()
        if (worker := self._team.last_to_report) is None:
            raise CannotChange(NO_WORKER)
        where = path if query is None else f"{path}?{urlencode(query)}"
        return _all_made([await asked(self._folder, worker, where, body)])[0].body

    async def _changed(
        self, path: str, body: Mapping[str, str], settings: str | None, *, is_made_later: bool = False
    ) -> Mapping[str, Any]:
        refuse_another_file(settings, self._file)
        self._refuse_if_stopping()
        return _all_made(await self._ask_all(path, body), is_made_later=is_made_later)[0].body

    def _catch_up(self, worker: Worker) -> None:
        """Let a worker that has just started reload if it has read the settings before the last change."""
        self._reloads.pop(worker.number, None)  # its former process has answered
        if worker.settings_number != self._team.settings_number:
            self._tasks.start_soon(self._reload_of, worker)
        else:
            self._note_success()

    async def _reload_of(self, worker: Worker) -> None:
        """Let one worker reload, and wait as long as it hangs. Repeat this if the settings have changed meanwhile."""
        life, asked_for = worker.life, 0
        self._late.add(worker.number)
        while asked_for != self._team.settings_number:
            asked_for = self._team.settings_number
            reply = await asked(self._folder, worker, "/api/reload", {}, waits=True)
        self._late.discard(worker.number)
        if worker.life is not life:  # a new process has read the file, or `_catch_up` lets it reload
            return
        if reply.status != 200:
            self._emit(WorkerNotChanged(worker=worker.number, detail=reply.why))
        self._reloads[worker.number] = reply
        self._note_success()

    async def _ask_all(self, path: str, body: Mapping[str, str | None]) -> Sequence[Reply]:
        replies = await all_asked(self._folder, self._team.at_work, path, body)
        if not replies:
            raise CannotChange(NO_WORKER)
        return replies

    def _note_success(self) -> None:
        """Note whether the last reload is successful by now: all workers have made all its changes."""
        answers = self._reloads.values()
        if not self._was_refused and all(one.status == 200 and not one.body.get("failed") for one in answers):
            if not self.status.was_successful:
                self.status = ReloadStatus(was_successful=True, succeeded_at=self._now())
        else:
            self.status = self.status._replace(was_successful=False)

    def _refuse_if_stopping(self) -> None:
        if self._team.stop.has_begun:
            raise CannotChange(STOPPING)


class Backlogs:
    """Implements `admin.scaling.Backlogs`: asks all workers, and makes one backlog of their answers."""

    def __init__(self, folder: Path, team: Team) -> None:
        self._folder = folder
        self._team = team

    async def of_daemon(self) -> Known:
        return await self._known("/api/scaling") or UnknownBacklog(NO_WORKER)

    async def of_mapping(self, name: str, /) -> Known | None:
        return await self._known(f"/api/scaling/mappings/{quote(name, safe='')}")

    async def of_function(self, name: str, /) -> Known | None:
        return await self._known(f"/api/scaling/functions/{quote(name, safe='')}")

    async def _known(self, path: str) -> Known | None:
        replies = await all_asked(self._folder, self._team.at_work, path)
        if not replies:
            return UnknownBacklog(NO_WORKER)
        known = [reply for reply in replies if reply.status != 404]  # a worker may not have seen an event yet
        return of_workers([_backlog(reply) for reply in known]) if known else None

    async def depths(self) -> Mapping[MappingName, KnownDepth]:
        """Ask the worker that has reported last, because all workers have the same queues."""
        if (worker := self._team.last_to_report) is not None:
            with anyio.move_on_after(LONGEST_LOOK_IN_SECONDS):
                reply = await asked(self._folder, worker, QUEUES.path)
                if reply.status == 200:
                    return read_queues(reply.body)
        return {}


def _backlog(reply: Reply) -> Known:
    return Backlog(**reply.body) if reply.status == 200 else UnknownBacklog(_why(reply))


def _all_made(replies: Sequence[Reply], *, is_made_later: bool = False) -> Sequence[Reply]:
    """Return the replies if all workers have made the change.

    Else raise CannotChange, or PartlyChanged if some workers have made it. `is_made_later` is true for a kind of change
    that a hanging worker makes when it answers again. It does so only if another worker has made the change.
    """
    refused = [reply for reply in replies if reply.status != 200]
    if not refused:
        return replies
    made = [reply for reply in replies if reply.status == 200]
    why = "; ".join(_why(reply, is_made_later=is_made_later and bool(made)) for reply in refused)
    reasons = list(dict.fromkeys(reply.why for reply in refused))
    if not made:
        raise CannotChange(reasons[0] if len(reasons) == 1 and refused[0].status != HANGS else why)
    raise PartlyChanged(f"{why}; the other workers have made the change", made[0].body)


def _why(reply: Reply, *, is_made_later: bool = False) -> str:
    if reply.status != HANGS:
        return f"worker {reply.worker}: {reply.why}"
    then = "; it makes the change when it answers again" if is_made_later else ", so it did not get the request"
    return f"{reply.why}{then}"


def _reloaded(replies: Sequence[Reply]) -> Mapping[str, Any]:
    """Return the changes of the worker with the most changes, without those that another worker failed to make.

    A worker that has just started has begun with the new file, so it reports fewer changes.
    """
    report = dict(max(replies, key=lambda reply: len(orjson.dumps(reply.body))).body)
    failures: dict[str, dict[int, str]] = {}
    for reply in replies:
        for mapping, why in reply.body.get("failed", {}).items():
            failures.setdefault(mapping, {})[reply.worker] = why
    report["mappings"] = {
        change: [name for name in names if name not in failures] for change, names in report["mappings"].items()
    }
    changed_events = report["events"]["replaced"]
    report["events"] = {"replaced": [name for name in changed_events if EventMapping.named(name) not in failures]}
    report["failed"] = {mapping: _of_workers(reasons, len(replies)) for mapping, reasons in failures.items()}
    return report


def _of_workers(reasons: Mapping[int, str], workers: int) -> str:
    """Return why a mapping could not be changed. If not all workers say the same, each reason names its worker."""
    if len(reasons) == workers and len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    return "; ".join(f"worker {worker}: {why}" for worker, why in sorted(reasons.items()))


def _write(folder: Path, text: str) -> None:
    """Replace the copy of the settings in one step. Only the daemon's user may read it."""
    new = folder / "settings.new"
    new.touch(0o600)
    new.write_bytes(text.encode())
    new.replace(folder / SETTINGS_COPY)
