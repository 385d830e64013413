"""A program that saves positions without end, and prints each one after it is stored: `state_writer.py FILE`.

Each pair of shards has its own task and is saved by one call. The bounds and the state of a window repeat the number of
its position, so a test sees if two saves were mixed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from poller.model.ids import MappingName
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber, ShardId, StateKey, Window
from poller.stores.sqlite import SqliteStore
from tests.fakes.saving import load, save

KEY = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
PAIRS = [(ShardId(f"left-{number}"), ShardId(f"right-{number}")) for number in range(5)]


def checkpoint(number: int) -> Checkpoint:
    state = b'"%d%s"' % (number, b"x" * (number * 997 % 5000))
    return Checkpoint(AfterSequence(SequenceNumber(str(number))), Window(start=number, end=number + 1, state=state))


def number_of(checkpoint: Checkpoint) -> int:
    assert isinstance(checkpoint.position, AfterSequence)
    return int(checkpoint.position.sequence_number)


async def climb(store: SqliteStore, pair: tuple[ShardId, ShardId], number: int) -> None:
    while True:
        number += 1
        await save(store, KEY, dict.fromkeys(pair, checkpoint(number)))
        print(pair[0], number, flush=True)


async def main(path: Path) -> None:
    print("opening", flush=True)
    async with SqliteStore(path) as store, anyio.create_task_group() as shards:
        stored = await load(store, KEY)
        for pair in PAIRS:
            shards.start_soon(climb, store, pair, number_of(stored[pair[0]]) if stored else 0)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
