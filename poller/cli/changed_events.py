"""Who retries or drops asynchronous events that a person names? The running daemon, or else the command itself.

a daemon runs this settings file   POST /api/event: the daemon changes its file of events, and logs the change
no such daemon runs                the command changes the file by the same rules, and logs the same line

The daemon uses one file of events from its start to its end. If the settings file names another one now, the change is
refused.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from poller.admin.requester import this_process
from poller.cli.change_log import log_change
from poller.cli.daemon import RunningDaemon, asked, meant, running_daemon
from poller.cli.ending import counted, exit_on_failure, refused
from poller.event_queues.by_request import StuckEvents
from poller.model.event import EventAction
from poller.model.ids import FunctionName, RequestId
from poller.settings.values import Settings


class ChangeOfEvents(NamedTuple):
    """A change that a person asks for. A `request_id` of None means all events to which the action applies.

    `file` has the events, and `applies_to` is the number of those to which the action applies: the stuck ones, and with
    `drops_waiting` also those that wait.
    """

    config: Path
    settings: Settings
    file: Path
    function: FunctionName
    action: EventAction
    request_id: str | None
    drops_waiting: bool
    applies_to: int

    @property
    def is_needed(self) -> bool:
        """Return whether there may be something to change. For one event, `make` finds out whether the event exists."""
        return self.request_id is not None or self.applies_to > 0

    @property
    def events(self) -> str:
        """Return the events in words."""
        if self.request_id is not None:
            return f"the event {self.request_id}"
        return counted(self.applies_to, "stuck or waiting event" if self.drops_waiting else "stuck event")

    def make(self) -> int:
        """Make the change, and return the number of changed events. Ends the program if the change is refused."""
        if not self.is_needed:
            return 0
        daemon = daemon_of_events(self.config, self.settings)
        answer = self._made_by_us() if daemon is None else self._made_by(daemon.socket)
        return int(answer["events"])

    @property
    def _body(self) -> dict[str, Any]:
        return {
            "function": self.function,
            "action": self.action,
            "request_id": self.request_id,
            "drops_waiting": self.drops_waiting,
        }

    def _made_by(self, daemon: Path) -> dict[str, Any]:
        status, answer = asked(daemon, "POST", "/api/event", {**self._body, **meant(self.config)})
        if status != 200:
            raise refused(str(answer.get("error")), code=1)
        return answer

    def _made_by_us(self) -> dict[str, Any]:
        from poller.admin.calls import EventsBody, events_changed

        body = EventsBody(**self._body)
        one = None if body.request_id is None else RequestId(body.request_id)
        events = StuckEvents(self.settings.daemon.event_queue, self.settings.functions)
        change = partial(
            events.change, self.function, body.action, one, drops_waiting=body.drops_waiting, now=time.time()
        )
        with exit_on_failure(self.config):
            answer = anyio.run(change)
        log_change(events_changed(body, answer, this_process()), self.settings)
        return answer


def daemon_of_events(config: Path, settings: Settings) -> RunningDaemon | None:
    """Return the daemon that runs this settings file, or None.

    Ends the program if the daemon uses another file of events, because the settings file has changed since its start.
    The events that the command has counted would not be those that the daemon changes.
    """
    daemon = running_daemon(config, settings.daemon.state)
    if daemon is not None and daemon.event_queue != settings.daemon.event_queue:
        theirs = "no file of events" if daemon.event_queue is None else daemon.event_queue.removeprefix("sqlite://")
        raise refused(f"nothing was changed: the daemon still uses {theirs}, so restart it first", code=1)
    return daemon
