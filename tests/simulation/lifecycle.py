"""Does all hold while mappings are replaced, removed, added, paused and resumed, and crash? Scenarios with changes.

The worlds and the checkers are those of the other scenarios.  A FIFO queue is added to those of streams, so that queues
and streams change in one daemon.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from random import Random

from poller.model.mapping import StreamMapping
from tests.fakes.target import FunctionPlan
from tests.simulation import checker
from tests.simulation.changes import Changes
from tests.simulation.scenario import TROUBLE_ENDS_AT as QUEUE_TROUBLE_ENDS_AT
from tests.simulation.scenario import Scenario, Shape
from tests.simulation.stream_scenario import StreamScenario
from tests.simulation.stream_shape import TROUBLE_ENDS_AT
from tests.simulation.stream_shape import Shape as StreamShape

GROUPS = 3


class ChangingQueues(Scenario):
    """Queues of all kinds, whose mappings change."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        names = [mapping.name for mapping in self.world.mappings]
        self.changes = Changes(
            self.world, names, seed=shape.seed + 3, end_at=QUEUE_TROUBLE_ENDS_AT, is_calm=shape.is_calm
        )
        self.world.beside = self.changes.make


class ChangingStreams(StreamScenario):
    """Streams and a FIFO queue, whose mappings change; of a broken mapping and its neighbours, only the broken one."""

    has_changes = True

    def __init__(self, shape: StreamShape) -> None:
        super().__init__(replace(shape, retention_in_seconds=86_400.0))  # nothing is trimmed during a pause
        randomness = Random(shape.seed + 4)
        self._queue = self.world.add_queue("groups.fifo", visibility_timeout_in_seconds=30)
        self.plan = FunctionPlan(seed=shape.seed, duration_in_seconds=(0.0, randomness.choice([0.1, 3.0, 20.0])))
        self._target = self.world.add_function("for-groups", self.plan, timeout_in_seconds=20.0)
        self.world.add_mapping("groups", self._queue, "for-groups", batch_size=5)
        for serial in range(shape.records):
            put = partial(
                self.world.sqs.send,
                self._queue,
                f"m{serial}",
                group=f"g{randomness.randrange(GROUPS)}",
                deduplication_id=str(serial),
            )
            self._drawing.load.append((randomness.uniform(0, TROUBLE_ENDS_AT), put))
        names = [mapping.name for mapping in self.world.all_mappings]
        self.changes = Changes(
            self.world,
            names if self.broken is None else [self.broken.name],
            seed=shape.seed + 5,
            end_at=TROUBLE_ENDS_AT,
            is_calm=self.broken is not None,
        )
        self.world.beside = self.changes.make

    def _may_repeat(self, mapping: StreamMapping) -> bool:
        """The next run of a mapping goes on at the checkpoint: behind what other lanes have done, or has not stored."""
        return mapping.parallelization_factor > 1 or self.shape.has_store_faults

    def _check(self) -> None:
        super()._check()
        checker.check_order(self._queue, self._target.calls, lambda _: True)
        checker.check_one_batch_at_a_time(self._target.calls)
