"""How many records should a read ask for? As many as fit into its room; the weight of earlier records tells how many.

    the room holds the largest answer    ask for as many records as the service gives
    the shard was read before            use the average weight of its last records
    only other shards were read          use the highest average weight of a read so far
    no shard was read                    wait up to two seconds for the first answer, then assume the heaviest record

The process's budget has room for about 36 of the largest answers.  If a mapping with more shards begins, the other
shards have less room; without the wait, each of them would ask for a few records only.
"""

from __future__ import annotations

import anyio

from poller.engine.streams.budget import LARGEST_ANSWER

RECORDS_IN_A_READ = 10_000
"""The most records that a read asks for. A source lowers the number to what its service allows."""

HEAVIEST_RECORD = 2.0**20
"""The assumed weight of an unknown record, in bytes: Kinesis takes up to 1 MiB, unless a stream allows larger ones."""

PATIENCE_IN_SECONDS = 2.0
"""How long other reads wait for the answer of a mapping's first read: several times the usual latency."""


class RecordWeight:
    """How heavy the records of one mapping are, in bytes."""

    def __init__(self) -> None:
        self._heaviest: float | None = None
        self._is_known = anyio.Event()
        self._patient_until: float | None = None

    async def fitting(self, room_in_bytes: int, last: float | None) -> int:
        """Return how many records to ask for, at least one.

        `last` is the average weight of the shard's last records in bytes; None before its first read.
        """
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
        """Note that a read of one of the mapping's shards returned records of this average weight."""
        self._heaviest = max(weight, self._heaviest or 0.0)
        self._is_known.set()
