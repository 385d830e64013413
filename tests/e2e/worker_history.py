"""Did several workers read a stream without a loss or disorder? The checker reads the function's notes.

The function refuses the past: a call is refused if its shard has had a call with a larger fencing token. A call that
is not refused is accepted. What must hold:

    nothing is lost      every record is in a call that was accepted and has succeeded
    order                a record is handed over only when the records before it in its shard are done, or are in the
                         same call; and the first record of a child shard when its parents' records are done
    one owner            a token belongs to one run of one worker; a shard has one accepted call at a time
    fencing              a run of a worker begins at most one call of a shard with an old token for each of its pauses
    few are repeated     a record is repeated only if its owner has handed it over in the last seconds, because an owner
                         that cannot store its checkpoint for the duration of a lease begins no call any more
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS


class Note(NamedTuple):
    """A line of the function. `worker` is one run of one worker."""

    what: Literal["began", "ended"]
    at: float
    worker: str
    shard: str
    token: int
    numbers: list[str]


class Summary(NamedTuple):
    """`owners` counts the tokens over all shards, `refused` the calls with an old token.

    `seconds_repeated` is the longest time between two calls of one owner: a call with a record that is repeated later,
    and the owner's last call but one before the repetition. The last call does not count, because it may begin after a
    pause.
    """

    records: int
    calls: int
    repeated: int
    owners: int
    refused: int
    seconds_repeated: float


def changes_of_owner(notes: Iterable[Note]) -> list[tuple[Note, Note]]:
    """Return the old owner's last note and the new owner's first one, for each change of a shard's owner."""
    found: list[tuple[Note, Note]] = []
    last: dict[str, Note] = {}
    for note in sorted(notes, key=lambda each: each.at):
        before = last.get(note.shard)
        if before is not None and note.token < before.token:
            continue  # the function refuses this call
        if before is not None and note.token > before.token:
            found.append((before, note))
        last[note.shard] = note
    return found


def gaps(notes: Iterable[Note]) -> list[float]:
    """Return, for each change of a shard's owner, the seconds from the old owner's last note to the new one's first."""
    return [after.at - before.at for before, after in changes_of_owner(notes)]


@dataclass
class _Shard:
    """What is known of a shard. `running` are the records of the accepted call that has not ended."""

    token: int = 0
    running: list[str] | None = None
    owners: dict[int, str] = field(default_factory=dict)
    calls: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When the calls of each owner have begun."""
    owner_of: dict[str, int] = field(default_factory=dict)
    """The token of the owner that has handed a record over last."""
    handed_over_at: dict[str, float] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    done: set[str] = field(default_factory=set)


def check(
    notes: Iterable[Note],
    records: Mapping[str, Sequence[str]],
    *,
    parents: Mapping[str, Sequence[str]],
    pauses: Mapping[str, int],
) -> Summary:
    """Raise AssertionError if a rule was broken.

    `records` are the sequence numbers of each shard in order, and `pauses` counts the pauses of each run of a worker.
    """
    shards: defaultdict[str, _Shard] = defaultdict(_Shard)
    repeated = set[str]()
    seconds_repeated = 0.0
    calls = 0
    before = {shard: dict(pairwise(reversed(its))) for shard, its in records.items()}
    for note in sorted(notes, key=lambda each: each.at):
        shard = shards[note.shard]
        if note.what == "began":
            calls += 1
            owner = shard.owners.setdefault(note.token, note.worker)
            assert owner == note.worker, f"{owner} and {note.worker} have the same token: {note}"
        if note.token < shard.token:
            shard.refused[note.worker] += note.what == "began"
            continue
        if note.token > shard.token:
            shard.token, shard.running = note.token, None
        if note.what == "ended":
            shard.running = None
            shard.done.update(note.numbers)
            continue
        assert shard.running is None, f"the shard has two calls at a time: {note}"
        shard.running = note.numbers
        shard.calls[note.token].append(note.at)
        for number in note.numbers:
            if (owner_before := shard.owner_of.get(number)) is not None:
                repeated.add(number)
                went_on = shard.calls[owner_before][-2:][0] - shard.handed_over_at[number]
                assert went_on <= LEASE_DURATION_IN_SECONDS, f"{number} was done {went_on:.1f} s before: {note}"
                seconds_repeated = max(seconds_repeated, went_on)
            if owner_before != note.token:
                shard.owner_of[number], shard.handed_over_at[number] = note.token, note.at
        assert note.numbers == sorted(note.numbers, key=int), f"out of order: {note}"
        done = shard.done
        first = note.numbers[0]
        if (earlier := before[note.shard].get(first)) is not None:
            assert earlier in done, f"{earlier} was not done: {note}"
        else:
            for parent in parents.get(note.shard, ()):
                missing = set(records.get(parent, ())) - shards[parent].done
                assert not missing, f"{len(missing)} records of the parent were not done: {note}"
        for earlier, number in pairwise(note.numbers):
            assert before[note.shard].get(number) == earlier, f"{number} does not follow {earlier}: {note}"
    lost = {number for shard, its in records.items() for number in its if number not in shards[shard].done}
    assert not lost, f"{len(lost)} records of {sum(map(len, records.values()))} are lost: {sorted(lost)[:5]}"
    for name, shard in shards.items():
        for worker, count in shard.refused.items():
            assert count <= pauses.get(worker, 0), f"{worker} has begun {count} calls of {name} with an old token"
    return Summary(
        records=sum(map(len, records.values())),
        calls=calls,
        repeated=len(repeated),
        owners=sum(len(shard.owners) for shard in shards.values()),
        refused=sum(sum(shard.refused.values()) for shard in shards.values()),
        seconds_repeated=seconds_repeated,
    )
