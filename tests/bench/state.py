"""What does a stored checkpoint cost? Run by hand: `python tests/bench/state.py [FOLDER]`.

CPU is that of the whole process, the kernel's share included; the folder decides about the latency.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from poller.model.ids import MappingName
from poller.model.lease import Row, shard_key
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber, ShardId, StateKey
from poller.stores.sqlite_leases import SqliteLeaseStore

KEY = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
FIRST = 49601189658422359378836298521827638475320189012309704722
SECONDS = 3.0


def rows(first: int, count: int, number: int) -> list[Row]:
    checkpoint = Checkpoint(AfterSequence(SequenceNumber(str(FIRST + number))))
    shards = [ShardId(f"shardId-{shard:012}") for shard in range(first, first + count)]
    return [Row(key=shard_key(KEY, shard_id), counter=number, checkpoint=checkpoint) for shard_id in shards]


async def measured(name: str, savers: int, pause: float, shards_in_a_save: int = 1) -> None:
    """`savers` tasks save, each its own shards, again and again, with a pause between two saves."""
    latencies: list[float] = []

    async def save_on(store: SqliteLeaseStore, saver: int, until: float) -> None:
        await anyio.sleep(pause * saver / savers)
        number = 1
        await store.create(rows(saver * shards_in_a_save, shards_in_a_save, number))
        while anyio.current_time() < until:
            number += 1
            began = time.perf_counter()
            await store.update(rows(saver * shards_in_a_save, shards_in_a_save, number))
            latencies.append(time.perf_counter() - began)
            await anyio.sleep(pause)

    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        async with SqliteLeaseStore(Path(folder) / "poller.db") as store:
            cpu, began = time.process_time(), time.perf_counter()
            async with anyio.create_task_group() as tasks:
                for saver in range(savers):
                    tasks.start_soon(save_on, store, saver, anyio.current_time() + SECONDS)
            cpu, took = time.process_time() - cpu, time.perf_counter() - began
    saves = len(latencies)
    cuts = statistics.quantiles(latencies, n=100)
    print(
        f"{name:44} {saves / took:8.0f} saves/s {cpu / saves * 1e6:7.0f} CPU µs a save"
        f"   p50 {cuts[49] * 1e3:6.1f} ms   p99 {cuts[98] * 1e3:6.1f} ms   CPU {cpu / took:4.0%}"
    )


CASES: list[Callable[[], Awaitable[None]]] = [
    lambda: measured("1 shard, one save after the other", 1, 0),
    lambda: measured("10 shards, each one save after the other", 10, 0),
    lambda: measured("100 shards, each one save after the other", 100, 0),
    lambda: measured("1,000 shards, each one save after the other", 1000, 0),
    lambda: measured("1,000 shards, each a save a second", 1000, 1.0),
    lambda: measured("1,000 shards in one save, once more and again", 1, 0, 1000),
]


async def main() -> None:
    for case in CASES:
        await case()


if __name__ == "__main__":
    anyio.run(main, backend_options={"use_uvloop": True})
