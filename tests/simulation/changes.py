"""Which changes does a person make while the daemon runs, and which faults of poller happen? A seed draws them.

    replace            gives a mapping other options, also while the old run still has batches in hand
    remove, add        removes a mapping, and adds it again later
    pause, resume      pauses a mapping; if the process crashes, the mapping is still paused in the next process
    replace, restart   gives all mappings of a function a new function, or restarts the function's child processes
    crash              makes a run crash because of a fault in poller, before or while a function runs

All changes end before the faults of the scenario end, and then every mapping works.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from random import Random

import anyio

from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import QueueMapping, StreamMapping
from tests.simulation.life import Life
from tests.simulation.world import World

SourceMapping = QueueMapping | StreamMapping

LONGEST_PAUSE_IN_SECONDS = 20.0
START_IN_SECONDS = 10.0


class Changes:
    """The changes in one world: of the mappings `names`, and of the functions that only these mappings invoke."""

    def __init__(self, world: World, names: list[MappingName], *, seed: int, end_at: float, is_calm: bool) -> None:
        self._world = world
        self._mappings = {mapping.name: mapping for mapping in world.all_mappings if mapping.name in names}
        others = {mapping.function_name for mapping in world.all_mappings if mapping.name not in names}
        self._functions = {name: function for name, function in world.functions.items() if name not in others}
        self._randomness = Random(seed)
        self._end_at = end_at
        world.crash_rate = 0.0 if is_calm else self._randomness.choice([0.0, 0.02, 0.1])
        world.crashes_end_at = end_at
        self._interval = self._randomness.choice([0.5, 5.0, 30.0])
        self._changing: defaultdict[MappingName, anyio.Lock] = defaultdict(anyio.Lock)
        self._removed: set[MappingName] = set()

    async def make(self, life: Life) -> None:
        """Change mappings and functions of this life, several at the same time, until the changes must end."""
        self._removed.clear()
        self._world.changing.clear()
        await life.has_begun.wait()
        async with anyio.create_task_group() as tasks:
            for mapping in self._mappings:
                tasks.start_soon(self._change_mapping, life, mapping)
            for function in self._functions:
                tasks.start_soon(self._change_function, life, FunctionName(function))

    async def _change_mapping(self, life: Life, name: MappingName) -> None:
        mapping = self._mappings[name]
        await anyio.sleep(self._randomness.uniform(0, self._interval))
        await life.supervisor.resume(name)
        while self._goes_on(life):
            match self._randomness.choice(["replace", "remove", "pause"]):
                case "replace":
                    await self._replace(life, self._varied(mapping))
                case "remove":
                    async with self._changing[name]:
                        self._removed.add(name)
                        await life.supervisor.remove(name)
                    await self._rest()
                    async with self._changing[name]:
                        varied = self._varied(mapping)
                        await life.supervisor.add(varied, life.function(varied))
                        self._removed.remove(name)
                case "pause":
                    await life.supervisor.pause(name)
                    await self._rest()
                    await life.supervisor.resume(name)
            await anyio.sleep(self._randomness.uniform(0, 2 * self._interval))

    async def _change_function(self, life: Life, name: FunctionName) -> None:
        await anyio.sleep(self._randomness.uniform(0, 2 * self._interval))
        while self._goes_on(life):
            if self._randomness.random() < 0.5:
                self._world.targets[name].restart(until=anyio.current_time() + START_IN_SECONDS)
            else:
                self._world.changing.add(name)
                self._vary_function(name)
                async with anyio.create_task_group() as tasks:
                    for mapping in self._mappings.values():
                        if mapping.function_name == name:
                            tasks.start_soon(self._replace, life, mapping)
                self._world.changing.remove(name)
            await anyio.sleep(self._randomness.uniform(0, 4 * self._interval))

    def _goes_on(self, life: Life) -> bool:
        return anyio.current_time() < self._end_at and not life.stop.has_begun

    async def _replace(self, life: Life, mapping: SourceMapping) -> None:
        async with self._changing[mapping.name]:
            if mapping.name not in self._removed:
                await life.supervisor.replace(mapping, life.function(mapping))

    async def _rest(self) -> None:
        await anyio.sleep(self._randomness.choice([0.0, 1.0, self._randomness.uniform(0, LONGEST_PAUSE_IN_SECONDS)]))

    def _vary_function(self, name: FunctionName) -> None:
        """Change the function's limits. The new limits allow no more than the original ones, which the checkers use."""
        function, (_, longest) = self._functions[name], self._world.targets[name].plan.duration_in_seconds
        self._world.functions[name] = replace(
            function,
            timeout_in_seconds=self._randomness.choice([max(longest, 0.1), function.timeout_in_seconds]),
            reserved_concurrency=self._randomness.randint(1, function.reserved_concurrency),
        )

    def _varied(self, mapping: SourceMapping) -> SourceMapping:
        """Change the mapping's options.

        The new options allow no more than the original ones, which the checkers use.
        """
        varied = replace(mapping, batch_size=self._randomness.randint(1, mapping.batch_size))
        if isinstance(varied, QueueMapping) and mapping.batch_size > 10:
            return mapping
        lanes = mapping.parallelization_factor if isinstance(mapping, StreamMapping) else 1
        if isinstance(varied, StreamMapping) and lanes > 1:
            fewer = self._randomness.randint(1, lanes)
            varied = replace(varied, parallelization_factor=self._randomness.choice([lanes, lanes, fewer]))
        return varied
