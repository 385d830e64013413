"""Were the promises for the streams of a seed kept, and are all their records done?

stream_shape.py draws the shape of a seed, and stream_drawing.py draws its world. The checks are in stream_checker.py,
stream_rules.py and stream_bounds.py.
"""

from __future__ import annotations

from math import inf

import anyio

from poller.facts import BatchInvoked, LeasesLost
from poller.model.mapping import StreamMapping
from tests.simulation import checker, stream_bounds
from tests.simulation.life import Life
from tests.simulation.stream_checker import check_nothing_is_lost, check_stream
from tests.simulation.stream_drawing import Drawing
from tests.simulation.stream_history import History, reached
from tests.simulation.stream_rules import check_rules, check_windows
from tests.simulation.stream_shape import StreamShape

LONGEST_WAIT_BESIDE_A_BROKEN_MAPPING = 60.0


class Streams:
    """The streams of a shape in their own world, which may also have a queue.

    With `has_changes`, a mapping has several runs in a process. At its end, a run drops its unfinished records, so the
    bytes in hand cannot be known from outside.
    """

    def __init__(self, shape: StreamShape, *, has_changes: bool = False) -> None:
        self.shape = shape
        self._has_changes = has_changes
        self._drawing = Drawing(shape)
        self.world = self._drawing.world
        self.load = self._drawing.load

    @property
    def broken(self) -> StreamMapping | None:
        return self.world.stream_mappings[0] if self.shape.kind == "neighbour" else None

    def is_quiet(self) -> bool:
        if any(queue.message_ids for queue in self.world.queues.values()):
            return False
        mappings = [mapping for mapping in self.world.stream_mappings if mapping is not self.broken]
        return all(self._is_quiet(mapping) for mapping in mappings)

    def _is_quiet(self, mapping: StreamMapping) -> bool:
        """Return whether all records are done, and the necessary positions are stored.

        These are the ends of closed shards, and the relevant positions of other shards.

        The end of a shard that has left the stream must be stored, too.
        """
        if mapping.name not in self.world.ready_at:
            return False
        stored = self.world.store.stored[mapping.state_key]
        stream = self.world.streams[mapping.event_source_arn].stream
        shards = stream.shards(now=anyio.current_time())
        history = self._history(mapping)
        if any(checkpoint.window is not None for checkpoint in stored.values()):
            return False
        running = [life.number for life in self.world.lives if life.ended_at is None]
        if any(history.done_at[number] == inf for life in running for number in history.seen[life]):
            return False  # the record is in hand, even if the stream does not have it any more
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

    def check_life(self, life: Life) -> None:
        if life.has_crashed:
            return
        for history in self._histories():
            stream_bounds.check_stop(
                history,
                life,
                is_store_sound=not self.shape.has_store_faults and not self._may_repeat(history.mapping),
                grace_in_seconds=self.world.grace_in_seconds,
            )

    def check(self) -> None:
        histories = self._histories()
        if self.world.facts_of(LeasesLost) and not self.shape.has_store_faults:
            raise checker.Violation("a process has lost a lease, though its table never failed")
        checker.check_ages(self.world.facts_of(BatchInvoked), anyio.current_time())
        for history in histories:
            check_stream(history, may_repeat=self._may_repeat(history.mapping))
            check_rules(history)
            if self.world.crash_rate == 0 and not self._may_repeat(history.mapping):
                check_windows(history)
            stream_bounds.check_reads(history)
            if history.mapping is self.broken:
                continue
            check_nothing_is_lost(history)
            if self.broken is not None:
                stream_bounds.check_in_time(history, LONGEST_WAIT_BESIDE_A_BROKEN_MAPPING)
        stream_bounds.check_listings(self.world.notes.listings)
        if not self._has_changes:
            stream_bounds.check_bytes_in_hand(histories, self._drawing.sizes, self.shape.budget_in_bytes)
        for mapping in self.world.mappings:
            checker.check_queue(self.world.queue_of(mapping), self.world.calls_of(mapping), lambda _: True)

    def _may_repeat(self, mapping: StreamMapping) -> bool:
        """Return whether one process may invoke the function again with finished records of this mapping.

        The next run of a mapping begins at the checkpoint, and other lanes may have finished records after the
        checkpoint. A process that has lost a lease begins at the checkpoint in the table.
        """
        has_several = self._has_changes and mapping.parallelization_factor > 1
        return has_several or bool(self.world.facts_of(LeasesLost))

    def _histories(self) -> list[History]:
        return [self._history(mapping) for mapping in self.world.stream_mappings]

    def _history(self, mapping: StreamMapping) -> History:
        return History(self.world, mapping, lambda number: self._drawing.matching[mapping.name, number])
