"""Are all promises kept while mappings are replaced, removed, added, paused and resumed, and crash?

The parts and the checkers are those of the other scenarios.  A FIFO queue is added to the streams, so that queues and
streams change in one daemon.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from random import Random

from tests.fakes.target import FunctionPlan
from tests.simulation import queue_part
from tests.simulation.changes import Changes
from tests.simulation.queue_part import Queues, QueueShape
from tests.simulation.scenario import Scenario
from tests.simulation.stream_part import Streams
from tests.simulation.stream_shape import TROUBLE_ENDS_AT, StreamShape

GROUPS = 3


def changing_queues(shape: QueueShape) -> Scenario:
    """Return a scenario with queues of all kinds, whose mappings change."""
    queues = Queues(shape)
    names = [mapping.name for mapping in queues.world.mappings]
    end_at = queue_part.TROUBLE_ENDS_AT
    changes = Changes(queues.world, names, seed=shape.seed + 3, end_at=end_at, is_calm=shape.is_calm)
    return Scenario(queues.world, shape, queues, changes=changes)


def changing_streams(shape: StreamShape) -> Scenario:
    """Return a scenario with streams and a FIFO queue, whose mappings change.

    If a mapping is broken, only this one changes.
    """
    shape = replace(shape, retention_in_seconds=86_400.0)  # no record may be trimmed during a pause
    streams = Streams(shape, has_changes=True)
    _add_fifo_queue(streams)
    names = [mapping.name for mapping in streams.world.all_mappings]
    changes = Changes(
        streams.world,
        names if streams.broken is None else [streams.broken.name],
        seed=shape.seed + 5,
        end_at=TROUBLE_ENDS_AT,
        is_calm=streams.broken is not None,
    )
    return Scenario(streams.world, shape, streams, changes=changes)


def _add_fifo_queue(streams: Streams) -> None:
    world, shape = streams.world, streams.shape
    randomness = Random(shape.seed + 4)
    queue = world.add_queue("groups.fifo", visibility_timeout_in_seconds=30)
    plan = FunctionPlan(seed=shape.seed, duration_in_seconds=(0.0, randomness.choice([0.1, 3.0, 20.0])))
    world.add_function("for-groups", plan, timeout_in_seconds=20.0)
    world.add_mapping("groups", queue, "for-groups", batch_size=5)
    for serial in range(shape.records):
        group = f"g{randomness.randrange(GROUPS)}"
        send = partial(world.sqs.send, queue, f"m{serial}", group=group, deduplication_id=str(serial))
        streams.load.append((randomness.uniform(0, TROUBLE_ENDS_AT), send))
