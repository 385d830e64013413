"""Were the promises for a stream kept? The checker reads the history of one mapping, and does not know the engine.

nothing is lost       every record in scope is done (stream_history.py says what this means)
order                 the function gets a record after all earlier ones of its lane are done, or together with them
nothing again         in one process, the function gets no record that is done, or that an earlier checkpoint has passed
checkpoints           a save passes only records that were done when the save began; no checkpoint moves backwards
lineage               the function gets records of a child only after all records of its ancestors are done
one owner             no invocation begins with an older fencing token than one before, or while one with an older token
                      runs that its worker still waits for
one batch at a time   in one process, a lane has one invocation at a time. An invocation of a killed process may
                      overlap with a later one: the daemon cannot know of it, as Lambda's own pollers cannot

The rules of failure are in stream_rules.py, the bounds and the stop in stream_bounds.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from math import inf

from poller.facts import PositionTrimmed
from poller.model.stream import TrimHorizon
from tests.fakes.store import Forgotten
from tests.fakes.target import Call
from tests.simulation.checker import Violation
from tests.simulation.stream_history import EPSILON, History, Put, by_beginning, life_of, passed, reached


def check_stream(history: History, *, may_repeat: bool = False) -> None:
    """Check all promises that must be kept at any time of any run.

    With `may_repeat`, a process may invoke the function again with records that are done.
    """
    check_batches(history)
    check_order(history)
    if not may_repeat:
        check_nothing_again(history)
    check_checkpoints(history)
    check_lineage(history)
    check_one_owner(history)
    check_one_batch_at_a_time(history)


THE_END = 1e9
"""A time later than everything that happens, and earlier than `inf`, which means never."""


def check_nothing_is_lost(history: History) -> None:
    """Check at the end that every record is done."""
    life = history.lives[-1].number
    lost = [put for put in history.puts.values() if not history.is_done(put, THE_END, life)]
    if lost:
        raise Violation(f"{len(lost)} records are lost: {lost[:3]}")
    check_trimming_is_reported(history)


def check_trimming_is_reported(history: History) -> None:
    """Check that a run reports trimmed records after a stored position before it delivers the next record.

    If a shard has left the stream with all its records, it is not read any more, and nothing is reported.
    Kinesis moves an iterator in use without a notice. So only a start at a stored position can notice trimmed records.
    """
    reported = {fact.shard for fact in history.world.facts if isinstance(fact, PositionTrimmed)}
    for shard_id, puts in history.shards.items():
        lost = [put for put in puts if history.done_at[put.number] == inf]
        if not lost or shard_id in reported:
            continue
        trimmed_at = history.trimmed_at[lost[0].number]
        has_place = any(
            save.shard_id == shard_id and save.at < trimmed_at and passed(save.checkpoint.position) >= 0
            for save in history.saves
        )
        next_in = next(
            (s.life for s in history.sights if s.at > trimmed_at and history.puts[s.numbers[0]].shard_id == shard_id), 0
        )
        goes_on = next_in and (history.lives[next_in - 1].began_at > trimmed_at or not history.mapping.is_kinesis)
        if has_place and goes_on:
            raise Violation(f"{len(lost)} records were trimmed unread, and no fact reports it: {lost[:3]}")


def check_batches(history: History) -> None:
    for call in history.calls:
        puts = [history.puts[number] for number in call.message_ids]
        if len(puts) > history.mapping.batch_size:
            raise Violation(f"{len(puts)} records in a batch: {call}")
        if len({put.shard_id for put in puts}) > 1:
            raise Violation(f"records of several shards in a batch: {call}")
        if any(a.place >= b.place for a, b in pairwise(puts)):
            raise Violation(f"a batch out of order: {call}")
        for put in puts:
            if not history.matches(put.number) or not history.may_be_invoked(put):
                raise Violation(f"a record that is out of scope or filtered out was handed over: {put}")


def check_order(history: History) -> None:
    lanes: defaultdict[tuple[str, str], list[Put]] = defaultdict(list)
    for puts in history.shards.values():
        for put in puts:
            lanes[history.lane_of(put)].append(put)
    position = {put.number: index for lane in lanes.values() for index, put in enumerate(lane)}
    first_undone: defaultdict[tuple[str, str], int] = defaultdict(int)
    for call in by_beginning(history.calls):
        in_batch = set(call.message_ids)
        for number in call.message_ids:
            key = history.lane_of(history.puts[number])
            lane, index = lanes[key], position[number]
            while first_undone[key] < index and _is_done(history, lane[first_undone[key]], call):
                first_undone[key] += 1
            for earlier in lane[first_undone[key] : index]:
                if earlier.number not in in_batch and not _is_done(history, earlier, call):
                    raise Violation(f"{number} was handed over before {earlier} was done: {call}")


def check_nothing_again(history: History) -> None:
    for life in history.lives:
        stored = life.stored.get(history.mapping.state_key, {})
        done_at: dict[str, float] = {}
        for taken_at, report in history.reports:
            if report.request_id.startswith(f"{life.number}-"):
                done_at |= dict.fromkeys(report.numbers, taken_at)
        calls = by_beginning(history.calls_of(life.number))
        for call in calls:
            done_at |= dict.fromkeys(call.done, call.ended_at)
        first_done: dict[str, Call] = {}
        for call in calls:
            for number in call.message_ids:
                put = history.puts[number]
                if put.place <= reached(stored, put.shard_id):
                    raise Violation(f"the checkpoint had passed {put} when the process began: {call}")
                if number in first_done or done_at.get(number, inf) < call.began_at - EPSILON:
                    raise Violation(f"{put} was done by this process, and was handed over again: {call}")
            first_done |= dict.fromkeys(call.done, call)


def check_checkpoints(history: History) -> None:
    before: dict[str, float] = defaultdict(lambda: -1)
    first_undone: defaultdict[str, int] = defaultdict(int)
    for save in history.saves:
        shard_id, number = save.shard_id, passed(save.checkpoint.position)
        if number < before[shard_id] or (isinstance(save.checkpoint.position, TrimHorizon) and before[shard_id] > -1):
            raise Violation(f"the checkpoint of {shard_id} moved back from {before[shard_id]} to {number}: {save}")
        before[shard_id] = number
        if number == inf and not history.closed_at.get(shard_id, inf) <= save.asked_at:
            raise Violation(f"{shard_id} was stored as drained while it was open: {save}")
        puts = history.shards[shard_id]
        while first_undone[shard_id] < len(puts) and puts[first_undone[shard_id]].place <= number:
            put = puts[first_undone[shard_id]]
            if not history.is_done(put, save.asked_at, save.life):
                raise Violation(f"a checkpoint passed {put} before it was done: {save}")
            first_undone[shard_id] += 1
    for entry in history.world.store.history:
        is_own = isinstance(entry, Forgotten) and entry.key == history.mapping.state_key
        if is_own and history.gone_at.get(entry.shard_id, inf) > entry.at:
            raise Violation(f"{entry.shard_id} was forgotten while the stream listed it")


def check_lineage(history: History) -> None:
    done: set[str] = set()
    found_at: dict[str, float] = {}
    for save in history.saves:
        found_at.setdefault(save.shard_id, save.asked_at)

    def ancestors(shard_id: str) -> Iterable[str]:
        """Return the ancestors of a shard.

        If a parent had left the stream when its child was found, the parents of this parent are unknown.
        """
        for parent in history.parents[shard_id]:
            if found_at.get(shard_id, inf) < history.gone_at.get(parent, inf):
                yield parent
                yield from ancestors(parent)

    for call in by_beginning(history.calls):
        shard_id = history.shard_of(call)
        for ancestor in ancestors(shard_id):
            if ancestor in done:
                continue
            for put in history.shards[ancestor]:
                if not _is_done(history, put, call):
                    raise Violation(f"{shard_id} was begun before {put} of its ancestor {ancestor} was done: {call}")
            done.add(ancestor)


def check_one_owner(history: History) -> None:
    newest: dict[str, int] = {}
    running: defaultdict[str, list[Call]] = defaultdict(list)
    for call in by_beginning(history.calls):
        shard_id = history.shard_of(call)
        assert call.token is not None, "each invocation carries the token of its lease"
        if call.token < newest.get(shard_id, 0):
            raise Violation(f"an invocation of {shard_id} began with an old token: {call}")
        newest[shard_id] = call.token
        running[shard_id] = [each for each in running[shard_id] if each.ended_at > call.began_at + EPSILON]
        if old := [each for each in running[shard_id] if each.token != call.token and each.ending != "cut"]:
            raise Violation(f"two workers invoke the function with records of {shard_id}: {old[0]} and {call}")
        running[shard_id].append(call)


def check_one_batch_at_a_time(history: History) -> None:
    """Check the lanes. A cut invocation of a lost lease may still run: any worker may read the shard by then."""
    factor = history.mapping.parallelization_factor
    for life in history.lives:
        running: defaultdict[str, list[Call]] = defaultdict(list)
        for call in by_beginning(history.calls_of(life.number)):
            shard_id = history.shard_of(call)
            others = [
                other
                for other in running[shard_id]
                if other.ended_at > call.began_at + EPSILON
                and not (other.ending == "cut" and other.token != call.token)
            ]
            if len(others) >= factor:
                raise Violation(f"{len(others) + 1} batches of {shard_id} at once, with {factor} lanes: {call}")
            keys = _keys(history, call)
            for other in others:
                if keys & _keys(history, other):
                    raise Violation(f"two batches of a lane at once: {other} and {call}")
            running[shard_id] = [*others, call]


def _is_done(history: History, put: Put, call: Call) -> bool:
    return history.is_done(put, call.began_at, life_of(call))


def _keys(history: History, call: Call) -> set[tuple[str, str]]:
    return {history.lane_of(history.puts[number]) for number in call.message_ids}
