"""How many records should a read ask for? As many as fit into its room, by the weight of earlier records.

    the largest answer fits          as many as the service gives
    the shard was read before        by the weight of its last records
    only other shards were read      by the heaviest weight that they had
    no shard was read                wait shortly for the first answer; if none comes, as many as fit of the heaviest

The process's budget has room for about 36 of the largest answers at once. When a mapping of more shards begins, the
others have less room, and without the wait each of them would ask for a single record.
"""

from __future__ import annotations

import anyio

from poller.engine.streams.budget import LARGEST_ANSWER

RECORDS_IN_A_READ = 10_000
"""The highest number that a read asks for; a source lowers it to what its service allows."""

HEAVIEST_RECORD = 2.0**20
"""The weight of an unknown record: the largest that Kinesis takes, unless a stream allows larger ones."""

PATIENCE_IN_SECONDS = 2.0
"""How long after a mapping's first read other reads wait for its answer; ours, several times an answer's latency."""


class RecordWeight:
    """What a record of one mapping weighs, in bytes."""

    def __init__(self) -> None:
        self._heaviest: float | None = None
        self._is_known = anyio.Event()
        self._patient_until: float | None = None

    async def fitting(self, room_in_bytes: int, last: float | None) -> int:
        """How many records to ask for. `last` is the weight of the shard's last records; None before its first read."""
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
        """A read of any shard of the mapping gave records of this weight."""
        self._heaviest = max(weight, self._heaviest or 0.0)
        self._is_known.set()
