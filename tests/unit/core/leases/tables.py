"""Makes tables of leases for tests: workers `a`, `b` … that live, and leases with an owner and a load."""

from __future__ import annotations

from collections.abc import Iterable

from poller.core.leases.expiry import Observed
from poller.model.lease import Detail, Owner, Row, RowKey
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber

CHECKPOINT = Checkpoint(AfterSequence(SequenceNumber("7")))


def worker(name: str, *, is_stopping: bool = False) -> Row:
    details: dict[str, Detail] = {"heartbeat": 1, "is_stopping": is_stopping}
    return Row(key=RowKey(f":worker/{name}"), owner=Owner(name), details=details)


def shard(
    number: int, owner: str | None, rate: Detail = 0.0, *, mapping: str = "orders", checkpoint: Checkpoint = CHECKPOINT
) -> Row:
    return Row(
        key=RowKey(f"{mapping}/arn:stream/shard-{number:05}"),
        owner=None if owner is None else Owner(owner),
        checkpoint=checkpoint,
        details={"bytes_per_second": rate},
    )


def unit(function: str, number: int, owner: str | None) -> Row:
    return Row(key=RowKey(f":unit/{function}/{number}"), owner=None if owner is None else Owner(owner))


def observed_by(me: str, rows: Iterable[Row], *, now: float = 100.0) -> Observed:
    """Return what a worker has seen after one scan."""
    observed = Observed(Owner(me), lease_duration=10.0)
    observed.scanned(rows, now=now)
    return observed
