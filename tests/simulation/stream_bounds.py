"""Did the daemon stay within its bounds, stop cleanly, and keep its mappings apart?

reads      a shard has one read at a time, and five a second
listings   all streams together request no more pages a second than the service allows
bytes      the records in hand of a process do not exceed its budget
a stop     it stores all that is done, begins nothing, and leaves nothing running
in time    a mapping does its work in time, even if other mappings fail
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from math import inf

from poller.engine.leases.messages import LONGEST_ANNOUNCEMENT
from poller.facts import LeasesLost
from poller.sources.pacing import CALLS_IN_A_SECOND
from tests.simulation.checker import Violation
from tests.simulation.life import Life
from tests.simulation.process import CRASH_AFTER_IN_SECONDS, ListingNote, ReadNote
from tests.simulation.stream_history import EPSILON, History, reached

READS_IN_A_SECOND = 5


def check_reads(history: History) -> None:
    """Check that a process has one read of a shard at a time, and a run of a Kinesis mapping five a second.

    A run that has lost a lease and gets it again does not know its reads before: then the bound is twice as high.
    """
    bound = READS_IN_A_SECOND * (2 if history.world.facts_of(LeasesLost) else 1)
    of_lives: defaultdict[tuple[int, str], list[ReadNote]] = defaultdict(list)
    of_runs: defaultdict[tuple[int, int, str], list[ReadNote]] = defaultdict(list)
    for read in history.reads:
        of_lives[read.life, read.shard_id].append(read)
        of_runs[read.life, read.run, read.shard_id].append(read)
    for (_, shard_id), reads in of_lives.items():
        if any(a.ended_at is None or a.ended_at > b.began_at + EPSILON for a, b in pairwise(reads)):
            raise Violation(f"two reads of {shard_id} at once")
    for (_, _, shard_id), reads in of_runs.items() if history.mapping.is_kinesis else ():
        for first, next_ in zip(reads, reads[bound:], strict=False):
            if next_.began_at - first.began_at < 1.0 - EPSILON:
                raise Violation(f"more than {bound} reads of {shard_id} in a second, from {first.began_at} on")


def check_listings(listings: Iterable[ListingNote]) -> None:
    """Check the rate of listings of all mappings of a process, because all of them share one account."""
    asked_at: dict[tuple[int, str], float] = {}
    for life, operation, at in listings:
        if at - asked_at.get((life, operation), -inf) < 1 / CALLS_IN_A_SECOND[operation] - EPSILON:
            raise Violation(f"two pages of {operation} were asked for at {asked_at[life, operation]} and {at}")
        asked_at[life, operation] = at


def check_bytes_in_hand(histories: list[History], sizes: dict[tuple[str, str], int], budget_in_bytes: int) -> None:
    """Check that a process has no more bytes in hand than the budget and one read of each shard.

    `sizes` has the size of each body, by mapping and sequence number.
    """
    for life in histories[0].lives:
        changes: list[tuple[float, int]] = []
        largest: defaultdict[tuple[str, str], int] = defaultdict(int)
        for history in histories:
            name = history.mapping.name
            for sight in history.sights:
                numbers = [number for number in sight.numbers if history.done_at[number] > -inf]
                if sight.life != life.number or not numbers:
                    continue
                shard_id = history.puts[numbers[0]].shard_id
                size = sum(sizes[name, number] for number in numbers)
                largest[name, shard_id] = max(largest[name, shard_id], size)
                for number in numbers:
                    changes.append((sight.at, sizes[name, number]))
                    changes.append((max(sight.at, history.done_at[number]), -sizes[name, number]))
        in_hand, most = 0, budget_in_bytes + sum(largest.values())
        for at, change in sorted(changes):
            in_hand += change
            if in_hand > most:
                raise Violation(f"{in_hand} bytes in hand at {at}, where {budget_in_bytes} are allowed")


def check_stop(history: History, life: Life, *, is_store_sound: bool, grace_in_seconds: float) -> None:
    """Check the promises for a stop, for a process that ended by one."""
    assert life.stopped_at is not None
    assert life.ended_at is not None
    left_by = life.stopped_at + LONGEST_ANNOUNCEMENT * history.world.lease_duration
    if life.ended_at > left_by + grace_in_seconds + 6.0:
        raise Violation(f"the stop took {life.ended_at - life.stopped_at} s")
    for call in history.calls_of(life.number):
        if call.began_at > left_by + EPSILON:
            raise Violation(f"a batch was invoked long after the stop had begun at {life.stopped_at}: {call}")
        last_crash_at = history.world.crashes_end_at + CRASH_AFTER_IN_SECONDS
        is_cut_by_crash = history.world.crash_rate > 0 and call.began_at < last_crash_at
        is_cut_by_loss = bool(history.world.facts_of(LeasesLost))
        if call.ending == "cut" and not (is_cut_by_crash or is_cut_by_loss or life.stop.releasing.is_set()):
            raise Violation(f"the stop left a call running: {call}")
    if is_store_sound:
        _check_all_is_stored(history, life, life.stopped_at)


def _check_all_is_stored(history: History, life: Life, stopped_at: float) -> None:
    """Check that a stop has stored all finished records.

    A run that ends before it has finished a record also leaves all later records that it has read to the next run.
    """
    stored = history.world.store.stored[history.mapping.state_key]
    done = {number for call in history.calls_of(life.number) for number in call.done}
    for report in history.answered_reports:
        done |= set(report.numbers)
    for shard_id, puts in history.shards.items():
        seen = history.seen_by_last_run(life.number, shard_id)
        place = reached(stored, shard_id)
        ahead = next((put for put in puts if put.place > place and put.number in seen), None)
        if ahead is None or shard_id in history.gone_at:
            continue
        is_filtered = not history.matches(ahead.number) and seen[ahead.number] < stopped_at - EPSILON
        if ahead.number in done or is_filtered:
            raise Violation(f"{ahead} was done when the process stopped, and is not stored")


def check_in_time(history: History, longest_in_seconds: float) -> None:
    """Check that the records of this mapping are done in time, even if other mappings fail."""
    for put in history.puts.values():
        if history.done_at[put.number] - put.put_at > longest_in_seconds:
            raise Violation(f"{put} took {history.done_at[put.number] - put.put_at} s")
