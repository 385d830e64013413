"""What does a daemon do with stuck events when a client asks? It lists, retries or drops them in its file of events.

    a stuck event                     a destination has refused its invocation record permanently
    an event of a removed function    nothing invokes or delivers it, so it counts as stuck, and cannot be retried

Other events are left alone, unless the client drops those that wait, too.
All daemons that use the file see the change within a second.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from anyio import to_thread

from poller.core.envelope import iso_seconds
from poller.core.names import other_names
from poller.errors import CannotChange, SettingsError
from poller.event_queues import by_hand
from poller.model.event import EventAction
from poller.model.ids import FunctionName, RequestId

T = TypeVar("T")


class StuckEvents(NamedTuple):
    """The stuck events in the file that `[daemon] event_queue` names. `known` are the functions of the settings.

    Each method raises CannotChange if there is no such file or function, or if the file is unusable; and CannotStore if
    its disk is full.
    """

    event_queue: str | None
    known: Collection[FunctionName]

    async def report(self, function: FunctionName, *, now: float) -> dict[str, Any]:
        """Return the body of /api/events: the stuck events of a function, the oldest first, without their payloads."""
        path = await self._file_with(function, now)
        found = await _done(partial(by_hand.listed, path, function, now=now, is_stuck=function in self.known))
        return {
            "function": function,
            "is_known": function in self.known,
            "total": found.total,
            "events": [
                {
                    "request_id": one.request_id,
                    "accepted_at": iso_seconds(one.accepted_at),
                    "attempts": one.attempts,
                    "size_in_bytes": one.size_in_bytes,
                    "stuck": one.stuck,
                }
                for one in found.events
            ],
        }

    async def change(
        self,
        function: FunctionName,
        action: EventAction,
        request_id: RequestId | None,
        *,
        drops_waiting: bool = False,
        now: float,
    ) -> dict[str, Any]:
        """Retry or drop one stuck event, or all if `request_id` is None. Return the body of the answer.

        With `drops_waiting`, a drop also removes events that wait, except those that a daemon has claimed.
        Raises CannotChange if there is no such event.
        """
        path = await self._file_with(function, now)
        if action == "retry":
            if function not in self.known:
                raise CannotChange(f"the settings no longer have {function}, so its events cannot be retried")
            change = partial(by_hand.retry, path, function, request_id, now=now)
        else:
            is_stuck = function in self.known and not drops_waiting
            change = partial(by_hand.drop, path, function, request_id, now=now, is_stuck=is_stuck)
        count = await _done(change)
        if not count:
            which = "no event" if request_id is None else f"no event {request_id}"
            state = "waits or is stuck" if action == "drop" and drops_waiting else "is stuck"
            raise CannotChange(f"nothing was changed: {which} of {function} {state}")
        return {"function": function, "action": action, "request_id": request_id, "events": count}

    async def _file_with(self, function: FunctionName, now: float) -> Path:
        if self.event_queue is None:
            raise CannotChange("the settings name no file for asynchronous events, so no event is stored")
        path, known = Path(self.event_queue.removeprefix("sqlite://")), set(self.known)
        if function not in known:
            known |= (await _done(partial(by_hand.depths, path, now=now))).keys()
        if function not in known:
            raise CannotChange(f"there is no function {function}; {other_names(function, sorted(known))}")
        return path


async def _done(work: Callable[[], T]) -> T:
    """Do the work in a thread, because the file may be locked for some seconds."""
    try:
        return await to_thread.run_sync(work)
    except SettingsError as error:
        raise CannotChange(str(error)) from error
