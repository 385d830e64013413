"""What does a seed for streams draw first? Its shape. A violation prints the shape, so that a person can read it.

trouble     calls of all kinds fail, and processes of the daemon crash, stop and start, until the trouble is over
neighbour   one process without faults, whose first mapping is broken for good: the other mappings must not be affected
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from tests.simulation.scenario import Shape
from tests.simulation.world import draw_clock

TROUBLE_ENDS_AT = 60.0

Kind = Literal["trouble", "neighbour"]


@dataclass(frozen=True, kw_only=True)
class StreamShape(Shape):
    kind: Kind
    mappings: int
    has_queue: bool
    shards: int
    records: int
    reshards: int
    has_store_faults: bool
    retention_in_seconds: float
    concurrency: int
    budget_in_bytes: int


def draw(seed: int) -> StreamShape:
    randomness = Random(seed)
    kind: Kind = "neighbour" if randomness.random() < 0.2 else "trouble"
    is_trouble = kind == "trouble"
    moments = sorted(
        randomness.uniform(0.5, TROUBLE_ENDS_AT) for _ in range(randomness.choice([0, 1, 2, 4]) if is_trouble else 0)
    )
    return StreamShape(
        seed=seed,
        kind=kind,
        begins_at=randomness.choice([0.0, 3.0]),
        mappings=randomness.choice([1, 1, 2, 3]) if is_trouble else randomness.choice([2, 3]),
        has_queue=randomness.random() < 0.2,
        shards=randomness.choice([1, 2, 3, 8]),
        records=randomness.choice([5, 40, 120]),
        reshards=randomness.choice([0, 1, 4]),
        ends=tuple((at, randomness.choice(["crash", "crash", "stop", "hurry"])) for at in moments),
        has_store_faults=is_trouble and randomness.random() < 0.4,
        retention_in_seconds=randomness.choice([86_400.0, 86_400.0, 15.0, 40.0]) if is_trouble else 86_400.0,
        concurrency=randomness.choice([1, 3, 50]),
        budget_in_bytes=randomness.choice([512 * 2**20, 8_000]),
        clock=draw_clock(Random(seed + 3), TROUBLE_ENDS_AT),
    )
