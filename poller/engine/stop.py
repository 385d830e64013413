"""How does the daemon stop? In three stages, each an event that anyone may wait for.

    draining    no more polls; what runs may finish
    releasing   the grace is over, or a second signal hurries: what still runs is cut, what is in hand goes back
    (stopped)   every task has ended

An event is set once and never taken back. `is_unclean` is set if the stop left something undone that a person should
know.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio


@dataclass(frozen=True, slots=True)
class Stop:
    draining: anyio.Event = field(default_factory=anyio.Event)
    releasing: anyio.Event = field(default_factory=anyio.Event)
    is_unclean: anyio.Event = field(default_factory=anyio.Event)

    @property
    def has_begun(self) -> bool:
        return self.draining.is_set()

    def begin(self) -> None:
        self.draining.set()

    def hurry(self) -> None:
        self.draining.set()
        self.releasing.set()

    async def after_grace(self, grace_in_seconds: float) -> None:
        """Wait for the stop to begin, then hurry it once the grace is over."""
        await self.draining.wait()
        with anyio.move_on_after(grace_in_seconds):
            await self.releasing.wait()
        self.releasing.set()
