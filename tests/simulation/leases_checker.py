"""What must hold in every simulation of leases? The checks read the function's record and the table's history.

nothing lost     each record that arrived is part of an invocation that succeeded
order            an invocation begins when all earlier records of its shard are done
deadline         an invocation is sent before SAFE_PART of the lease duration has passed since the last accepted write
                 was sent, on the clock of its worker; and none is sent after the write that gives the lease away
one owner        no invocation begins beside or after one with a newer token, unless its process was paused just before
units            no more invocations run at once than all workers together may have
tokens           each owner of a lease gets a larger token than the owners before
checkpoints      only the owner stores one, it never moves back, and all records before it are done
parents          a child's records wait for the stored end of each parent
readers          `unread` yields the times when nobody has read a shard
cost             one scan a lease duration and worker
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from math import inf
from typing import NamedTuple

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS, is_lease
from poller.core.leases.holding import SAFE_PART
from poller.core.leases.units import is_unit
from poller.core.positions import rank
from poller.model.stream import AfterSequence, ShardEnd, ShardId
from tests.fakes.lease_store import Written
from tests.simulation.checker import Violation
from tests.simulation.leases_recorder import Seen
from tests.simulation.leases_stream import PREFIX, key_of, shard_of
from tests.simulation.leases_world import LeaseWorld

A_PERSON = "a person"
"""The sender of rows that a person writes. The checks of the table leave these writes out."""

SHORT = 1e-6
"""A time may be later than its limit by this number of seconds, because sums of floats are not exact."""


def check(world: LeaseWorld) -> None:
    """Check all that must hold whatever happens."""
    by_shard: defaultdict[ShardId, list[Seen]] = defaultdict(list)
    for seen in world.function.seen:
        by_shard[seen.shard_id].append(seen)
    for shard_id in world.stream.shards:
        _check_nothing_is_lost(world, shard_id, by_shard[shard_id])
        _check_order(shard_id, by_shard[shard_id])
        _check_one_owner(shard_id, by_shard[shard_id])
        _check_deadline(world, shard_id, by_shard[shard_id])
    if world.units is not None:
        _check_units(world.function.seen, world.units)
    _check_table(world, by_shard)
    _check_parents(world, by_shard)


def _check_nothing_is_lost(world: LeaseWorld, shard_id: ShardId, seen: list[Seen]) -> None:
    done = {number for one in seen if one.has_succeeded for number in range(one.first, one.last + 1)}
    arrived = set(range(1, world.stream.shards[shard_id].arrived(inf) + 1))
    if missing := arrived - done:
        raise Violation(f"{shard_id}: no invocation with {sorted(missing)[:5]} has succeeded ({len(missing)} records)")


def _check_order(shard_id: ShardId, seen: list[Seen]) -> None:
    for one in seen:
        done = max((each.last for each in seen if each.has_succeeded and _ended(each) <= one.began_at), default=0)
        if one.first > done + 1:
            raise Violation(f"{shard_id}: record {one.first} was delivered when only {done} records were done: {one}")


def _check_one_owner(shard_id: ShardId, seen: list[Seen]) -> None:
    late: Counter[tuple[str, float]] = Counter()
    for one in seen:
        for other in seen:
            if other is one:
                continue
            overlaps = other.began_at < one.began_at < _ended(other)
            if other.token == one.token and overlaps:
                raise Violation(f"{shard_id}: two invocations with one token at the same time: {other}, {one}")
            if other.token < one.token and overlaps and not _was_paused(other, until=_ended(other)):
                raise Violation(f"{shard_id}: {one} began while one with an older token ran: {other}")
        newer = [other for other in seen if other.token > one.token and other.began_at <= one.began_at]
        if newer:
            if not _was_paused(one, until=one.began_at):
                raise Violation(f"{shard_id}: {one} began after one with a newer token: {newer[0]}")
            late[one.process.name, one.sent_at] += 1
        if one.sent_at > one.deadline + SHORT:
            raise Violation(f"{shard_id}: an invocation was sent after the deadline of its lease: {one}")
    tokens_of_late = Counter(process for process, _ in late)
    for life, count in tokens_of_late.items():
        pauses = next(one.process.pauses for one in seen if one.process.name == life)
        if count > len(pauses):
            raise Violation(f"{shard_id}: {count} invocations with an old token began after {len(pauses)} pauses")


def _check_deadline(world: LeaseWorld, shard_id: ShardId, seen: list[Seen]) -> None:
    """Check R4 and R7 by the table's history, and not by what the worker believes. A paused process cannot check."""
    rates = {life.process: life.clock.rate for life in world.lives}
    writes: defaultdict[int, list[Written]] = defaultdict(list)
    for write in world.table.history:
        if write.row.key == key_of(shard_id) and write.worker != A_PERSON and write.operation == "update":
            writes[write.row.token].append(write)
    for one in seen:
        before = [write for write in writes[one.token] if write.sent_at <= one.sent_at]
        given = [write.sent_at for write in before if write.row.owner is None]
        held_from = max(write.sent_at for write in before if write.is_accepted and write.row.owner is not None)
        seconds = SAFE_PART * LEASE_DURATION_IN_SECONDS / rates[one.process]
        if (given or one.sent_at > held_from + seconds + SHORT) and not _was_paused(one, until=one.began_at):
            raise Violation(f"{shard_id}: {one} was sent {one.sent_at - held_from} s after a renewal; given at {given}")


def _check_units(seen: list[Seen], units: int) -> None:
    """Check the concurrency. A paused process cannot cut an invocation, so its invocations do not count."""
    running: list[Seen] = []
    for one in seen:
        running = [each for each in running if _ended(each) > one.began_at]
        running.append(one)
        counted = [each for each in running if not _was_paused(each, until=_ended(each))]
        if len(counted) > units:
            raise Violation(f"{len(counted)} invocations run at once on {units} units: {counted}")


def _ended(seen: Seen) -> float:
    return inf if seen.ended_at is None else seen.ended_at


def _was_paused(seen: Seen, *, until: float) -> bool:
    return seen.process.was_paused_between(seen.sent_at, until)


def _check_table(world: LeaseWorld, by_shard: dict[ShardId, list[Seen]]) -> None:
    tokens: dict[str, int] = {}
    counters: dict[str, int] = {}
    for write in world.table.history:
        row, before = write.row, write.before
        if write.is_accepted and write.operation == "delete" and is_unit(row.key):
            tokens.pop(row.key, None)  # a unit that is created again begins with small tokens, which fence nothing
        if not write.is_accepted or write.operation == "delete" or not is_lease(row) or write.worker == A_PERSON:
            continue
        highest = counters.get(row.key, 0)
        counters[row.key] = max(row.counter, highest)
        if before is None and row.token:  # a worker creates a row again that a person has deleted
            if row.token > tokens[row.key] or row.counter <= highest:
                raise Violation(f"the counter of the new row may have been reached before: {write}")
            continue
        if row.owner is not None and (before is None or before.owner != row.owner or before.token != row.token):
            if row.token <= tokens.get(row.key, 0) or row.token != row.counter or write.worker != row.owner:
                raise Violation(f"the token {row.token} of {write}")
            tokens[row.key] = row.token
        elif before is not None and row.token != before.token:
            raise Violation(f"the token changed without a take: {write}")
        if before is None or row.checkpoint == before.checkpoint or not row.key.startswith(PREFIX):
            continue
        assert row.checkpoint is not None
        if before.checkpoint is None and before.owner is None:  # a person has reset the shard
            continue
        assert before.checkpoint is not None
        if before.owner != write.worker:
            raise Violation(f"{write.worker} stored a checkpoint without the lease: {write}")
        if rank(row.checkpoint.position) < rank(before.checkpoint.position):
            raise Violation(f"a checkpoint moved back: {write}")
        shard_id, position = shard_of(row.key), row.checkpoint.position
        done = max((s.last for s in by_shard[shard_id] if s.has_succeeded and _ended(s) <= write.sent_at), default=0)
        reached = world.stream.shards[shard_id].arrived(inf) if position == ShardEnd() else 0
        if isinstance(position, AfterSequence):
            reached = int(position.sequence_number)
        if reached > done:
            raise Violation(f"a checkpoint passed a record that is not done ({done} are): {write}")


def _check_parents(world: LeaseWorld, by_shard: dict[ShardId, list[Seen]]) -> None:
    ends = {
        shard_of(write.row.key): write.at
        for write in reversed(world.table.history)
        if write.is_accepted and write.row.checkpoint is not None and write.row.checkpoint.position == ShardEnd()
    }
    for shard in world.stream.shards.values():
        for seen in by_shard[shard.shard_id][:1]:
            if late := [parent for parent in shard.parent_ids if ends.get(parent, inf) > seen.began_at]:
                raise Violation(f"{shard.shard_id} was delivered before the end of {late} was stored: {seen}")


class Unread(NamedTuple):
    """From `since` until `until`, nobody has read the shard."""

    shard_id: ShardId
    since: float
    until: float


def unread(world: LeaseWorld) -> Iterator[Unread]:
    """Yield the times between the first and the last reader of each shard when nobody has read it."""
    events: defaultdict[ShardId, list[tuple[float, int]]] = defaultdict(list)
    for note in world.notes:
        events[note.shard_id].append((note.at, 1 if note.what == "got" else -1))
    assert world.stream.shards.keys() == events.keys(), "a shard was never read"
    for shard_id, its_events in events.items():
        readers, since = 0, None
        for at, change in sorted(its_events):
            readers += change
            if readers == 0:
                since = at
            elif since is not None:
                yield Unread(shard_id, since, at)
                since = None


def check_cost(world: LeaseWorld) -> None:
    """Check how often each worker has scanned. No scan may have failed.

    Besides one scan a lease duration, a worker scans when it begins, stops and starts a mapping, and once for each
    worker that begins later or comes back after a pause. If other workers stopped before it began, it scans each second
    while their rows show that they live.
    """
    for life in world.lives:
        ended = inf if life.ended_at is None else life.ended_at
        others = [each for each in world.lives if each is not life]
        began = [each.began_at for each in others] + [at for each in others for _, at in each.process.pauses]
        later = [at for at in began if life.began_at <= at < ended]
        stopped = [each for each in others if each.stopped_at is not None and each.began_at < life.began_at]
        watched = max(((each.ended_at or inf) - life.began_at for each in stopped), default=-inf)
        watched = max(0.0, watched) + (LEASE_DURATION_IN_SECONDS if stopped else 0)
        scans = world.table.calls[life.owner, "scan"]
        if scans > (ended - life.began_at) * life.clock.rate / LEASE_DURATION_IN_SECONDS + 4 + len(later) + watched:
            raise Violation(f"{scans} scans in {ended - life.began_at} s")
