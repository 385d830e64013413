"""Which records of a shard may be in two invocations at the same time?

With a parallelization factor of n, a shard has n lanes. A hash of a record's key selects its lane: the partition key of
a Kinesis record, the item's key of a DynamoDB record.
Records with the same key go to the same lane, and a lane keeps the shard's order. Lanes do not wait for each other.
AWS does not document its hash. Here it is CRC-32 modulo n, which is the same after a restart and in every version of
Python.

Source: AWS Lambda Developer Guide, "Using Lambda with Kinesis", parallelization factor.
"""

from __future__ import annotations

from zlib import crc32

from poller.model.stream import StreamRecord


def lane_of(lane_key: str, factor: int) -> int:
    """Return the lane of a key, from 0 to factor - 1."""
    return crc32(lane_key.encode("utf-8", "surrogatepass")) % factor


def split(records: list[StreamRecord], factor: int) -> list[list[StreamRecord]]:
    """Return a list of records for each lane. Within a lane, the records keep their order."""
    assert factor >= 1, factor
    if factor == 1:
        return [records]
    lanes: list[list[StreamRecord]] = [[] for _ in range(factor)]
    for record in records:
        lanes[lane_of(record.lane_key, factor)].append(record)
    return lanes
