"""Which records of a shard may run side by side?

With a parallelization factor, a shard's records go to that many lanes, by a hash of their key: the partition key of a
Kinesis record, the item's key of a DynamoDB record.
Records of one key share a lane, and a lane keeps the shard's order; lanes do not wait for each other.
AWS does not say how it hashes.
Here it is CRC-32 modulo the factor: defined outside Python, so a restart or a newer Python finds the same lane.

Source: AWS Lambda Developer Guide, "Using Lambda with Kinesis", parallelization factor.
"""

from __future__ import annotations

from zlib import crc32

from poller.model.stream import StreamRecord


def lane_of(lane_key: str, factor: int) -> int:
    """The key's lane, from 0 to factor - 1."""
    return crc32(lane_key.encode("utf-8", "surrogatepass")) % factor


def split(records: list[StreamRecord], factor: int) -> list[list[StreamRecord]]:
    """The records of each lane, in the order in which they came."""
    assert factor >= 1, factor
    if factor == 1:
        return [records]
    lanes: list[list[StreamRecord]] = [[] for _ in range(factor)]
    for record in records:
        lanes[lane_of(record.lane_key, factor)].append(record)
    return lanes
