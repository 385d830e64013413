"""A program that saves positions without end, and prints each one after it is stored: `state_writer.py FILE`.

Each pair of shards has its own task and is saved by one call. The bounds and the state of a window repeat the number of
its position, so a test sees if two saves were mixed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio

from poller.model.ids import MappingName
from poller.model.lease import Row, shard_key, shard_of
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber, ShardId, StateKey, Window
from poller.stores.sqlite_leases import SqliteLeaseStore

KEY = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
PAIRS = [(ShardId(f"left-{number}"), ShardId(f"right-{number}")) for number in range(5)]


def checkpoint(number: int) -> Checkpoint:
    state = b'"%d%s"' % (number, b"x" * (number * 997 % 5000))
    return Checkpoint(AfterSequence(SequenceNumber(str(number))), Window(start=number, end=number + 1, state=state))


def number_of(checkpoint: Checkpoint) -> int:
    assert isinstance(checkpoint.position, AfterSequence)
    return int(checkpoint.position.sequence_number)


async def save(store: SqliteLeaseStore, shards: Sequence[ShardId], number: int) -> None:
    """Save a checkpoint of these shards by one call, as their only worker."""
    keys = [shard_key(KEY, shard_id) for shard_id in shards]
    rows = await store.read(keys)
    if rows:
        new = [replace(rows[key], counter=rows[key].counter + 1, checkpoint=checkpoint(number)) for key in keys]
        assert not await store.update(new)
    else:
        assert not await store.create([Row(key=key, checkpoint=checkpoint(number)) for key in keys])


async def load(store: SqliteLeaseStore) -> dict[ShardId, Checkpoint]:
    return {shard_of(row.key): row.checkpoint for row in await store.scan() if row.checkpoint is not None}


async def climb(store: SqliteLeaseStore, pair: tuple[ShardId, ShardId], number: int) -> None:
    while True:
        number += 1
        await save(store, pair, number)
        print(pair[0], number, flush=True)


async def main(path: Path) -> None:
    print("opening", flush=True)
    async with SqliteLeaseStore(path) as store, anyio.create_task_group() as shards:
        stored = await load(store)
        for pair in PAIRS:
            shards.start_soon(climb, store, pair, number_of(stored[pair[0]]) if pair[0] in stored else 0)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
