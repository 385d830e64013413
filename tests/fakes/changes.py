"""Which fake replaces a daemon that clients ask for changes?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio

from poller.errors import PollerError
from poller.facts import Fact
from poller.model.event import EventAction
from poller.model.move import MoveOrder
from poller.model.order import ShardOrder


class FakeChanges:
    """Records each request. A request waits until `go` is set.

    Then it raises `error` if there is one, or returns `report`.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, str | None]] = []
        """The function, or the name of the method with its mapping or function, and the settings file of each call."""
        self.facts: list[Fact] = []
        """For tests that give its `append` to the server as `emit`."""
        self.orders: list[ShardOrder] = []
        self.moves: list[MoveOrder] = []
        self.is_asked = anyio.Event()
        self.report: Mapping[str, Any] = {
            "mappings": {"added": ["orders"]},
            "events": {"replaced": []},
            "was_paused": False,
            "survives_restart": True,
        }
        self.error: PollerError | None = None
        self.go = anyio.Event()
        self.go.set()

    async def reload(self, *, settings: str | None) -> Mapping[str, Any]:
        return await self._answer(None, settings)

    async def restart_function(self, name: str, *, settings: str | None) -> Mapping[str, Any]:
        return await self._answer(name, settings)

    async def pause(self, mapping: str, *, settings: str | None) -> Mapping[str, Any]:
        return await self._answer(f"pause {mapping}", settings)

    async def resume(self, mapping: str, *, settings: str | None) -> Mapping[str, Any]:
        return await self._answer(f"resume {mapping}", settings)

    async def order(self, mapping: str, order: ShardOrder, *, settings: str | None) -> Mapping[str, Any]:
        self.orders.append(order)
        return await self._answer(f"order {mapping}", settings)

    async def positions(self, mapping: str) -> Mapping[str, Any]:
        return await self._answer(f"positions {mapping}", None)

    async def move(self, mapping: str, order: MoveOrder, *, settings: str | None) -> Mapping[str, Any]:
        self.moves.append(order)
        return await self._answer(f"move {mapping}", settings)

    async def stuck_events(self, function: str) -> Mapping[str, Any]:
        return await self._answer(f"events {function}", None)

    async def change_events(
        self,
        function: str,
        action: EventAction,
        request_id: str | None,
        *,
        drops_waiting: bool = False,
        settings: str | None,
    ) -> Mapping[str, Any]:
        which = " or waiting" if drops_waiting else ""
        return await self._answer(f"{action} {function} {request_id}{which}", settings)

    async def _answer(self, function: str | None, settings: str | None) -> Mapping[str, Any]:
        self.asked.append((function, settings))
        self.is_asked.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return self.report
