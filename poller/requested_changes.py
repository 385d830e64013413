"""What does the daemon do when a client asks for a change? It checks which file the client means, and makes the change.

    a reload, or new child processes for a function    ──> reloading.py, one after another
    a pause, an order about a blocked shard, a move    ──> running.py, at once
    a change of stuck events                           ──> the file of events (`event_queues/by_request.py`)

The answers have the form that `admin/answers.py` describes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from poller.admin.changing import refuse_another_file
from poller.core.envelope import iso_seconds
from poller.event_queues.by_request import StuckEvents
from poller.model.event import EventAction
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.move import Moved, MoveOrder, StoredPositions
from poller.model.order import ShardOrder
from poller.model.status import BlockedShard
from poller.ports import Clock
from poller.reloading import Reloader


class Running(Protocol):
    """The running mappings (running.py)."""

    async def pause(self, name: MappingName) -> bool:
        """Pause a mapping of the file, and return whether it was paused before."""
        ...

    async def resume(self, name: MappingName) -> bool:
        """End a pause, and return whether the mapping was paused."""
        ...

    def order(self, name: MappingName, order: ShardOrder) -> BlockedShard:
        """Execute a person's order about a blocked shard, and return the block as it was before."""
        ...

    async def positions(self, name: MappingName) -> StoredPositions:
        """Return the stored positions of a mapping."""
        ...

    async def move(self, name: MappingName, order: MoveOrder) -> Moved:
        """Move the stored positions of a paused mapping, or only show the effect."""
        ...


class RequestedChanges:
    """Implements `admin.changing.Changes`.

    `settings` is the file that the client means; None means the daemon's own file.
    Each method raises CannotChange if the client means another file.
    """

    def __init__(self, reloader: Reloader, running: Running, *, file: Path, clock: Clock) -> None:
        self._reloader = reloader
        self._running = running
        self._file = file
        self._clock = clock

    async def reload(self, *, settings: str | None = None) -> Mapping[str, Any]:
        """Read the file again, apply its changes, and return what changed. Raises the errors of `Reloader.reload`."""
        refuse_another_file(settings, self._file)
        return await self._reloader.reload()

    async def restart_function(self, name: str, *, settings: str | None = None) -> Mapping[str, Any]:
        """Use new child processes for later invocations of a function. Raises the errors of the reloader."""
        refuse_another_file(settings, self._file)
        return await self._reloader.restart_function(name)

    async def pause(self, mapping: str, *, settings: str | None = None) -> Mapping[str, Any]:
        """Pause a mapping until `resume`, also after a restart unless the state is in memory.

        Raises CannotChange if there is no such mapping, or if the client means another file; and a ServiceError if the
        pause cannot be stored.
        """
        refuse_another_file(settings, self._file)
        return self._pausing(mapping, was_paused=await self._running.pause(MappingName(mapping)))

    async def resume(self, mapping: str, *, settings: str | None = None) -> Mapping[str, Any]:
        """End the pause of a mapping. Raises the same errors as `pause`, and those of a mapping that cannot begin."""
        refuse_another_file(settings, self._file)
        return self._pausing(mapping, was_paused=await self._running.resume(MappingName(mapping)))

    async def order(self, mapping: str, order: ShardOrder, *, settings: str | None = None) -> Mapping[str, Any]:
        """Execute a person's order about a blocked shard, and return what blocked the shard before.

        Raises CannotChange if the client means another file, or if the order cannot be executed now.
        """
        refuse_another_file(settings, self._file)
        before = self._running.order(MappingName(mapping), order)
        return {
            "mapping": mapping,
            "shard": order.shard_id,
            "action": order.action,
            "records": before.records,
            "reason": before.reason,
            "blocked_since": iso_seconds(before.since),
        }

    async def positions(self, mapping: str) -> Mapping[str, Any]:
        """Return the stored positions of a mapping. Raises CannotChange if no such mapping reads a stream."""
        found = await self._running.positions(MappingName(mapping))
        return {
            "mapping": mapping,
            "stream_arn": found.stream_arn,
            "set_by_hand": found.set_by_hand,
            "shards": [
                {
                    "shard": shard.shard_id,
                    "position": shard.position,
                    "saved_at": None if shard.saved_at is None else iso_seconds(shard.saved_at),
                    "reader": shard.reader,
                }
                for shard in found.shards
            ],
            "shards_stored": found.shards_stored,
            "version": found.version,
        }

    async def move(self, mapping: str, order: MoveOrder, *, settings: str | None = None) -> Mapping[str, Any]:
        """Move the stored positions of a paused mapping, or only show the effect.

        Raises CannotChange if the client means another file, or if this move is not possible now; and the
        errors of the state.
        """
        refuse_another_file(settings, self._file)
        moved = await self._running.move(MappingName(mapping), order)
        return {
            "mapping": mapping,
            "shard": moved.shard_id,
            "before": moved.before,
            "position": moved.position,
            "effect": moved.effect,
            "version": moved.version,
            "is_made": not order.only_shows,
        }

    async def stuck_events(self, function: str) -> Mapping[str, Any]:
        """Return the stuck events of a function. Raises CannotChange if there is no such function or no file."""
        return await self._stuck_events.report(FunctionName(function), now=self._clock.now())

    async def change_events(
        self,
        function: str,
        action: EventAction,
        request_id: str | None,
        *,
        drops_waiting: bool = False,
        settings: str | None = None,
    ) -> Mapping[str, Any]:
        """Retry or drop one stuck event, or all stuck events of the function if `request_id` is None.

        With `drops_waiting`, a drop also removes events that wait.
        Raises CannotChange if the client means another file, or if there is no such event.
        """
        refuse_another_file(settings, self._file)
        one = None if request_id is None else RequestId(request_id)
        return await self._stuck_events.change(
            FunctionName(function), action, one, drops_waiting=drops_waiting, now=self._clock.now()
        )

    def _pausing(self, mapping: str, *, was_paused: bool) -> Mapping[str, Any]:
        survives_restart = self._reloader.in_use.daemon.state != "memory:"
        return {"mapping": mapping, "was_paused": was_paused, "survives_restart": survives_restart}

    @property
    def _stuck_events(self) -> StuckEvents:
        settings = self._reloader.in_use
        return StuckEvents(settings.daemon.event_queue, settings.functions)
