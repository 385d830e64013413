"""How many records are asked for? As many as fit into the room, by the weight of those that came before.

    an answer of any size fits       as many as the service gives
    the shard was read before        by the weight of its last records
    other shards of the mapping were by the heaviest of them
    none was                         after a short wait for the first of them: one record, of any weight

The process's budget has room for the largest answer to some 36 reads at once; the other shards of a mapping begin with
less room, at the same moment, and would each begin with a single record.
"""

from __future__ import annotations

import anyio

from poller.engine.streams.budget import LARGEST_ANSWER

RECORDS_IN_A_READ = 10_000
"""The most that is asked for; a source gives what its service allows."""

HEAVIEST_RECORD = 2.0**20
"""What a record weighs at most: as much as Kinesis takes, unless it is told to take more."""

PATIENCE_IN_SECONDS = 2.0
"""How long after a mapping's first read the others wait for a record; ours, several times an answer's latency."""


class RecordWeight:
    """What a record of one mapping weighs, in bytes."""

    def __init__(self) -> None:
        self._heaviest: float | None = None
        self._is_known = anyio.Event()
        self._patient_until: float | None = None

    async def fitting(self, room_in_bytes: int, last: float | None) -> int:
        """How many records to ask for. `last` is the weight of those of the shard's last read, None before it."""
        patient_until = self._patient_until
        if patient_until is None:
            self._patient_until = anyio.current_time() + PATIENCE_IN_SECONDS
        if room_in_bytes >= LARGEST_ANSWER:
            return RECORDS_IN_A_READ
        if last is None and self._heaviest is None and patient_until is not None:
            with anyio.move_on_after(patient_until - anyio.current_time()):
                await self._is_known.wait()
        weight = last or self._heaviest or HEAVIEST_RECORD
        return max(1, min(RECORDS_IN_A_READ, int(room_in_bytes / weight)))

    def learn(self, weight: float) -> None:
        """A read of any shard gave records of this weight."""
        self._heaviest = max(weight, self._heaviest or 0.0)
        self._is_known.set()
