"""What may a person do while the daemon runs, and what faults of our own may come between? By seed, one after another.

    replace          with other options, also while the old run still has batches in hand
    remove, add      the same mapping comes back later
    pause, resume    a pause may survive the death of the process; the next one begins with it
    crash            a run fails by a fault of our own, before or while a function runs

All of this ends before the trouble of the scenario ends, with every mapping at work.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import anyio

from poller.model.ids import MappingName
from poller.model.mapping import QueueMapping, StreamMapping
from tests.simulation.life import Life
from tests.simulation.world import World

LONGEST_PAUSE_IN_SECONDS = 20.0


class Changes:
    """The changes of one world, to the mappings `names`."""

    def __init__(self, world: World, names: list[MappingName], *, seed: int, end_at: float, is_calm: bool) -> None:
        self._world = world
        self._names = names
        self._randomness = Random(seed)
        self._end_at = end_at
        world.crash_rate = 0.0 if is_calm else self._randomness.choice([0.0, 0.02, 0.1])
        world.crashes_end_at = end_at
        self._interval = self._randomness.choice([0.5, 5.0, 30.0])
        self.made = 0

    async def make(self, life: Life) -> None:
        """Change the mappings of this life, several of them side by side, until the changes end."""
        async with anyio.create_task_group() as tasks:
            for name in self._names:
                tasks.start_soon(self._change_one, life, name)

    async def _change_one(self, life: Life, name: MappingName) -> None:
        mapping = next(mapping for mapping in self._world.all_mappings if mapping.name == name)
        await life.has_begun.wait()
        await anyio.sleep(self._randomness.uniform(0, self._interval))
        await self._resume(life, name)
        while anyio.current_time() < self._end_at and not life.stop.has_begun:
            self.made += 1
            match self._randomness.choice(["replace", "remove", "pause"]):
                case "replace":
                    await life.supervisor.replace(self._varied(mapping), self._function(mapping))
                case "remove":
                    await life.supervisor.remove(name)
                    await self._rest()
                    await life.supervisor.add(self._varied(mapping), self._function(mapping))
                case "pause":
                    await life.supervisor.pause(name)
                    await self._rest()
                    await self._resume(life, name)
            await anyio.sleep(self._randomness.uniform(0, 2 * self._interval))

    async def _resume(self, life: Life, name: MappingName) -> None:
        await life.supervisor.resume(name)

    async def _rest(self) -> None:
        await anyio.sleep(self._randomness.choice([0.0, 1.0, self._randomness.uniform(0, LONGEST_PAUSE_IN_SECONDS)]))

    def _function(self, mapping: QueueMapping | StreamMapping) -> Any:
        return self._world.functions[mapping.function_name]

    def _varied(self, mapping: QueueMapping | StreamMapping) -> QueueMapping | StreamMapping:
        """With options that allow no more than the mapping's own, by which the checkers judge."""
        varied = replace(mapping, batch_size=self._randomness.randint(1, mapping.batch_size))
        if isinstance(varied, QueueMapping) and mapping.batch_size > 10:
            return mapping
        return varied
