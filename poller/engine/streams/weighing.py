"""How many records should a read ask for? As many as probably fit into its room, if they weigh as much as earlier ones.

    the room holds the largest answer    ask for as many records as the service gives
    the shard was read before            use the average weight of its last records
    only other shards were read          use the highest average weight of a read so far
    no shard was read                    wait up to two seconds for the first answer, then assume the heaviest record

The budget of the process has room for about 36 of the largest answers. When a mapping with more shards starts, the
other shards have less room. Without the wait, each of these shards would ask for only a few records.
"""

from __future__ import annotations

import anyio

from poller.engine.streams.budget import LARGEST_ANSWER

RECORDS_IN_A_READ = 10_000
"""The most records that a read asks for. The source asks for fewer if its service allows fewer."""

HEAVIEST_RECORD = 2.0**20
"""The assumed weight of a record in bytes before any was read. A Kinesis record has up to 1 MiB in most streams."""

PATIENCE_IN_SECONDS = 2.0
"""How long other reads wait for the answer to a mapping's first read. A read usually takes a fraction of this."""


class RecordWeight:
    """The average sizes of the records of one mapping, in bytes."""

    def __init__(self) -> None:
        self._heaviest: float | None = None
        self._is_known = anyio.Event()
        self._patient_until: float | None = None

    async def fitting(self, room_in_bytes: int, last: float | None) -> int:
        """Return how many records to ask for, at least one.

        `last` is the average weight of the shard's last records in bytes; None before its first read.
        """
        patient_until, now = self._patient_until, anyio.current_time()
        if patient_until is None:
            patient_until = now
            self._patient_until = now + PATIENCE_IN_SECONDS
        if room_in_bytes >= LARGEST_ANSWER:
            return RECORDS_IN_A_READ
        if last is None and self._heaviest is None and patient_until > now:
            with anyio.move_on_after(patient_until - now):
                await self._is_known.wait()
        weight = last or self._heaviest or HEAVIEST_RECORD
        return max(1, min(RECORDS_IN_A_READ, int(room_in_bytes / weight)))

    def learn(self, weight: float) -> None:
        """Note the average weight of the records that a read has returned. The highest one of all reads is kept."""
        self._heaviest = max(weight, self._heaviest or 0.0)
        self._is_known.set()
