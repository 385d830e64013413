"""What happens in the world of a seed? Life after life of the daemon, in a world of streams, until all is quiet.

The shape of a seed is in stream_shape.py, the world drawn for it in stream_drawing.py; the checks are in
stream_checker.py, stream_rules.py and stream_bounds.py, and for a queue in checker.py.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from math import inf
from random import Random
from typing import Any

import anyio

from poller.facts import BatchInvoked
from poller.model.mapping import StreamMapping
from tests.simulation import checker, stream_bounds
from tests.simulation.checker import Violation
from tests.simulation.life import Life
from tests.simulation.stream_checker import check_nothing_is_lost, check_stream
from tests.simulation.stream_drawing import Drawing
from tests.simulation.stream_history import History, reached
from tests.simulation.stream_rules import check_rules, check_windows
from tests.simulation.stream_shape import Shape
from tests.simulation.streams import CANARY

LONGEST_RUN = 20_000.0
"""By then all must have come to rest."""

LONGEST_WAIT_BESIDE_A_BROKEN_MAPPING = 60.0


class StreamScenario:
    """The run through the world of a shape.

    With `has_changes`, a mapping has several runs in a process. Each counts its attempts and its reads anew, and gives
    back in the end what it had read ahead: such rules and bounds hold for a run then, and not for the process.
    """

    has_changes = False

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._randomness = Random(shape.seed + 2)
        self._drawing = Drawing(shape)
        self.world = self._drawing.world

    @property
    def broken(self) -> StreamMapping | None:
        return self.world.stream_mappings[0] if self.shape.kind == "neighbour" else None

    async def run(self) -> None:
        """Put and reshard while the daemon lives, dies and lives again; then let it come to rest, and stop it."""
        try:
            async with anyio.create_task_group() as producers:
                producers.start_soon(self._produce)
                producers.start_soon(self.world.set_clock, self.shape.clock)
                await anyio.sleep(self.shape.begins_at)
                for at, how in self.shape.ends:
                    await self.world.live(_ended_at(at, how))
                    self._check_after_a_life()
                    await anyio.sleep(self._randomness.choice([0.0, 1.0, 20.0]))
                await self.world.live(self._until_quiet)
            self._check_after_a_life()
            self._check()
        except BaseException as error:
            error.add_note("\n".join(map(str, [self.shape, *self.world.stream_mappings])))
            raise

    async def _produce(self) -> None:
        for at, act in sorted(self._drawing.load, key=lambda item: item[0]):
            await anyio.sleep(max(0.0, at - anyio.current_time()))
            act()
        self._drawing.load.clear()

    async def _until_quiet(self, life: Life) -> None:
        while anyio.current_time() < LONGEST_RUN:
            await anyio.sleep(2.0)
            mappings = [mapping for mapping in self.world.stream_mappings if mapping is not self.broken]
            is_sent = not self._drawing.load and not any(queue.message_ids for queue in self.world.queues.values())
            if is_sent and all(self._is_quiet(mapping) for mapping in mappings):
                life.begin_stop()
                return
        raise Violation(f"it has not come to rest: {[status.reason for status in life.supervisor.statuses()]}")

    def _is_quiet(self, mapping: StreamMapping) -> bool:
        """All that was read is done, and the store says so: of closed shards the end, of others all of interest.

        A shard that has left unread is found out by reading it, after two listings without it.
        """
        if mapping.name not in self.world.ready_at:
            return False
        stored = self.world.store.stored[mapping.state_key]
        stream = self.world.streams[mapping.event_source_arn].stream
        shards = stream.shards(now=anyio.current_time())
        history = self._history(mapping)
        if any(checkpoint.window is not None for checkpoint in stored.values()):
            return False
        if any(history.done_at[number] == inf for number in history.seen[self.world.lives[-1].number]):
            return False  # in hand, whether or not the stream has it still
        listed = {shard.shard_id for shard in shards}
        if any(reached(stored, shard_id) != inf for shard_id in stored if shard_id not in listed):
            return False
        for shard in shards:
            place = reached(stored, shard.shard_id)
            records = [record for record in shard.records[shard.oldest :] if record.sequence_number > place]
            if any(history.is_in_scope(history.puts[str(record.sequence_number)]) for record in records):
                return False
            is_unknown = shard.shard_id not in stored
            if not shard.is_open and place != inf and not is_unknown:
                return False
        return True

    def _check_after_a_life(self) -> None:
        life = self.world.lives[-1]
        stream_bounds.check_facts(self.world.facts, CANARY)
        if life.has_crashed:
            return
        for history in self._histories():
            stream_bounds.check_stop(
                history,
                life,
                is_store_sound=not self.shape.has_store_faults and not self._may_repeat(history.mapping),
                grace_in_seconds=self.world.grace_in_seconds,
            )

    def _check(self) -> None:
        histories = self._histories()
        checker.check_ages(self.world.facts_of(BatchInvoked), anyio.current_time())
        for history in histories:
            check_stream(history, may_repeat=self._may_repeat(history.mapping))
            if not self.has_changes:
                check_rules(history)
            elif self.world.crash_rate == 0 and not self._may_repeat(history.mapping):
                check_windows(history)
            stream_bounds.check_reads(history, keeps_rate=not self.has_changes)
            if history.mapping is self.broken:
                continue
            check_nothing_is_lost(history)
            if self.broken is not None:
                stream_bounds.check_in_time(history, LONGEST_WAIT_BESIDE_A_BROKEN_MAPPING)
        stream_bounds.check_listings(self.world.listings)
        if not self.has_changes:
            stream_bounds.check_bytes_in_hand(histories, self._drawing.sizes, self.shape.budget_in_bytes)
        for mapping in self.world.mappings:
            calls = [call for call in self.world.targets[mapping.function_name].calls if call.mapping == mapping.name]
            checker.check_nothing_is_lost(self.world.queue_of(mapping), calls, lambda _: True)
        for name, target in self.world.targets.items():
            if target.most_running > self.world.functions[name].reserved_concurrency:
                raise Violation(f"{target.most_running} invocations of {name} at once")

    def _may_repeat(self, mapping: StreamMapping) -> bool:
        """Whether one process may hand over records of this mapping again that are done."""
        return False

    def _histories(self) -> list[History]:
        return [self._history(mapping) for mapping in self.world.stream_mappings]

    def _history(self, mapping: StreamMapping) -> History:
        return History(self.world, mapping, lambda number: self._drawing.matching[mapping.name, number])


def _ended_at(at: float, how: str) -> Callable[[Life], Coroutine[Any, Any, None]]:
    async def until(life: Life) -> None:
        await anyio.sleep(max(0.0, at - anyio.current_time()))
        match how:
            case "crash":
                life.crash()
            case "stop":
                life.begin_stop()
            case _:
                life.begin_stop()
                await anyio.sleep(0.3)
                life.stop.hurry()

    return until
