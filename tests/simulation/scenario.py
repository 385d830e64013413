"""What happens in the world of a seed? One process of the daemon runs after another, until all records are done.

At the end, the checkers check that the promises were kept.

Shape     drawn by a seed: when and how the processes end, and how wrong the daemon's clock is
Part      queues (queue_part.py) or streams (stream_part.py): what is sent to them, and what is checked
Scenario  runs the parts in their world, with what a person does in every process (changes.py, orders.py)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal, Protocol

import anyio

from tests.simulation.checker import Violation
from tests.simulation.life import Life
from tests.simulation.life_checker import check_concurrency, check_facts
from tests.simulation.world import Beside, ClockStep, World

LONGEST_RUN = 60_000.0
"""The time at which all records must be done, in seconds on anyio's clock."""

LOOK_EVERY_SECONDS = 5.0

Load = list[tuple[float, Callable[[], object]]]
"""The calls that put records into the sources or change the sources, each with its time."""

How = Literal["crash", "stop", "hurry"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The daemon's own clock, and when and how each of its processes ends.

    The last process is not in `ends`: it runs until all records are done.
    """

    seed: int
    begins_at: float = 0.0
    ends: tuple[tuple[float, How], ...]
    clock: tuple[ClockStep, ...]


class Part(Protocol):
    """The sources of one kind in a world, with their mappings."""

    load: Load

    def is_quiet(self) -> bool:
        """Return whether everything that was sent is done."""

    def check_life(self, life: Life) -> None:
        """Check the promises for one process, after its end."""

    def check(self) -> None:
        """Check the promises for the whole run, at its end."""


class Interventions(Protocol):
    """What a person does while the daemon runs (changes.py, orders.py)."""

    async def make(self, life: Life) -> None:
        """Do it in this process, until its end or until it must end."""


class Scenario:
    """A run of `parts`, which are all in `world`."""

    def __init__(self, world: World, shape: Shape, *parts: Part, changes: Interventions | None = None) -> None:
        self.world = world
        self.changes = changes
        self._shape = shape
        self._parts = parts
        self.randomness = Random(shape.seed + 2)
        self._is_sent = False

    async def run(self) -> None:
        """Send the load while one process of the daemon follows another.

        Then wait until all is done, and stop the last process.
        """
        try:
            async with anyio.create_task_group() as producers:
                producers.start_soon(self._send)
                producers.start_soon(self.world.set_clock, self._shape.clock)
                await anyio.sleep(self._shape.begins_at)
                await self.run_lives()
            for part in self._parts:
                part.check()
        except BaseException as error:
            error.add_note("\n".join(map(str, [self._shape, *self.world.all_mappings])))
            raise

    async def run_lives(self) -> None:
        """Run one process after another."""
        for at, how in self._shape.ends:
            await self.live(ending_at(at, how))
            await anyio.sleep(self.randomness.choice([0.0, 1.0, 20.0, 40.0]))
        await self.live(self.until_quiet)

    async def live(self, until: Beside) -> None:
        """Run one process, and check it."""
        facts_before = len(self.world.facts)
        life = await self.world.live(until, beside=self.changes.make if self.changes else None)
        check_concurrency(life)
        check_facts(self.world.facts[facts_before:])
        for part in self._parts:
            part.check_life(life)

    async def _send(self) -> None:
        load = [each for part in self._parts for each in part.load]
        for at, act in sorted(load, key=lambda item: item[0]):
            await anyio.sleep(max(0.0, at - anyio.current_time()))
            act()
        self._is_sent = True

    async def until_quiet(self, life: Life) -> None:
        while anyio.current_time() < LONGEST_RUN:
            await anyio.sleep(LOOK_EVERY_SECONDS)
            if self._is_sent and all(part.is_quiet() for part in self._parts):
                life.begin_stop()
                return
        raise Violation(f"it has not come to rest: {[status.reason for status in life.supervisor.statuses()]}")


def ending_at(at: float, how: How) -> Beside:
    async def until(life: Life) -> None:
        await anyio.sleep(max(0.0, at - anyio.current_time()))
        if how == "crash":
            life.crash()
            return
        life.begin_stop()
        if how == "hurry":
            await anyio.sleep(0.3)
            life.stop.hurry()

    return until
