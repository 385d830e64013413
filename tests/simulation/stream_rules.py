"""Did one mapping of a stream obey every rule of failures: retries, ages, invocation records and windows?

retries              under one lease, an unchanged batch keeps its request id; no batch gets too many or too few
                     attempts. The next owner of the lease continues the count, from the last one that the table has
ages                 the function gets no batch whose first record is too old
invocation records   each has the right reason and count, and names records of one shard in order
windows              each invocation has the state that the earlier records of the window have made
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from poller.core.envelope import iso_seconds
from poller.facts import RecordsDropped
from tests.fakes.clock import EPOCH
from tests.fakes.destinations import Report
from tests.fakes.target import Call
from tests.simulation.checker import Violation
from tests.simulation.stream_history import EPSILON, History, Put, by_beginning, by_request, life_of, reached


def check_rules(history: History) -> None:
    check_retries(history)
    check_request_ids(history)
    check_ages(history)
    check_invocation_records(history)


def check_retries(history: History) -> None:
    mapping = history.mapping
    for calls in by_request(history.calls).values():
        numbers = tuple(calls[0].message_ids)
        if any(tuple(call.message_ids) != numbers for call in calls):
            raise Violation(f"a batch changed under its request id: {calls}")
        attempts = [call.attempt for call in calls]
        if attempts[0] != 1 or any(b > a + 1 for a, b in pairwise(attempts)):
            raise Violation(f"attempts are not counted one by one: {attempts} {calls[0]}")
        if mapping.maximum_retry_attempts is not None and max(attempts) > mapping.maximum_retry_attempts + 1:
            raise Violation(f"{max(attempts)} attempts are too many: {calls}")
        for call, after in pairwise(calls):
            if call.token != after.token or is_cut(history, call):
                continue
            if after.attempt == call.attempt and has_new_run(history, call, after):
                continue  # the run before could not report the discarded records
            if after.attempt != call.attempt + 1:
                raise Violation(f"attempts are not counted one by one: {attempts} {calls[0]}")
            if call.done:
                raise Violation(f"tried again unchanged after a part of it was done: {calls}")
            if mapping.bisect_batch_on_function_error and len(numbers) > 1:
                raise Violation(f"tried again instead of bisected: {calls}")
            waits = not (history.world.has_orders or has_new_run(history, call, after))
            if waits and after.began_at - call.ended_at < 0.2:
                raise Violation(f"tried again without a pause: {calls}")


def check_request_ids(history: History) -> None:
    """Check that a batch keeps its request id. A new run may begin anew, because it reads from the checkpoint."""
    last: dict[tuple[int | None, tuple[str, ...]], Call] = {}
    for call in history.calls:
        if not call.message_ids or is_cut(history, call):
            continue
        batch = (call.token, tuple(call.message_ids))
        before = last.get(batch)
        if before is not None and before.request_id != call.request_id and not has_new_run(history, before, call):
            raise Violation(f"an unchanged batch has a new request id: {call}")
        last[batch] = call


def is_cut(history: History, call: Call) -> bool:
    """Return whether the engine may not know the answer of this call, so that it does not count as an attempt."""
    return call.ending == "cut" or (history.world.crash_rate > 0 and call.ending == "answer_lost")


def has_new_run(history: History, call: Call, after: Call) -> bool:
    """Return whether a new run of the mapping has come between two calls. It tries at once.

    The second call is its call, or it has begun to read the shard.
    """
    if call.run != after.run:
        return True
    shard_id = history.puts[call.message_ids[0]].shard_id if call.message_ids else None
    first_reads: dict[tuple[int, int], float] = {}
    for read in history.reads:
        if read.shard_id == shard_id:
            first_reads.setdefault((read.life, read.run), read.began_at)
    return any(call.ended_at <= began_at <= after.began_at for began_at in first_reads.values())


def check_ages(history: History) -> None:
    for call in history.calls:
        if call.message_ids and history.too_old_by(history.puts[call.message_ids[0]]) < call.began_at - EPSILON:
            raise Violation(f"the head was too old when it was handed over: {call}")


def check_invocation_records(history: History) -> None:
    mapping = history.mapping
    requests = by_request(history.calls)
    for taken_at, report in history.reports:
        puts = [history.puts[number] for number in report.numbers]
        if {put.shard_id for put in puts} - {report.shard_id} or any(a.place >= b.place for a, b in pairwise(puts)):
            raise Violation(f"an invocation record of records of another shard, or out of order: {report}")
        calls = requests.get(report.request_id, [])
        is_exact = len({call.token for call in calls}) <= 1 and not any(is_cut(history, call) for call in calls)
        is_exact = is_exact and not any(has_new_run(history, call, after) for call, after in pairwise(calls))
        is_exact = is_exact and not any(_has_ended(history, call, taken_at) for call in calls)
        least = len(calls) if is_exact else 1
        if is_exact and report.condition == "RecordAgeExceeded":
            least -= 1  # the last attempt led to a discard, which a stop has cut short
        if not max(1, least) <= report.invoke_count <= max(1, len(calls)):
            raise Violation(f"{len(calls)} calls, and the invocation record says {report.invoke_count}: {report}")
        if report.condition == "RecordAgeExceeded":
            if any(history.too_old_from(put) > report.at - EPOCH + EPSILON for put in puts):
                raise Violation(f"a record was not too old when it was given up: {report}")
        elif report.condition == "DiscardedByRequest":
            ends = (puts[0].number, puts[-1].number) if puts else (None, None)
            if ends not in history.world.discards_ordered:
                raise Violation(f"nobody has ordered to discard it: {report}")
        elif mapping.maximum_retry_attempts is None or report.invoke_count != mapping.maximum_retry_attempts + 1:
            raise Violation(f"given up after {report.invoke_count} calls: {report}")
        elif not any(_led_to(call, report, taken_at) for call in calls):
            raise Violation(f"given up though it was not the batch that failed: {report}")
        elif mapping.bisect_batch_on_function_error and len(puts) > 1:
            raise Violation(f"given up before it was bisected: {report}")
    on_failure = mapping.on_failure
    if on_failure is not None and on_failure.if_unreachable == "wait" and _has_dropped(history):
        raise Violation("records were dropped though the mapping waits for its destination")


def _has_ended(history: History, call: Call, now: float) -> bool:
    """Return whether the process that made the call has ended.

    The next owner of the lease counts only the attempts that the table's row has.
    """
    ended_at = history.lives[call.life - 1].ended_at
    return ended_at is not None and ended_at < now


def _led_to(call: Call, report: Report, taken_at: float) -> bool:
    """Return whether this call may have been the last attempt before the records were given up."""
    return call.message_ids == list(report.numbers) and not call.done and call.ended_at <= taken_at


def check_windows(history: History) -> None:
    """Check that the state in each invocation of a window counts each finished record of the window once.

    A discarded record is not in the state. There is one exception: it has succeeded in a process that died before it
    had stored this, and was discarded later. After the last invocation of a window, no invocation of the window
    follows, unless a run begins at an earlier checkpoint.
    """
    length = history.mapping.tumbling_window_in_seconds
    if length is None:
        return
    succeeded_in: defaultdict[str, set[int]] = defaultdict(set)
    for call in history.calls:
        for number in call.done:
            succeeded_in[number].add(life_of(call))
    ended: set[tuple[int, str, str]] = set()
    for call in by_beginning(history.calls):
        assert call.window is not None
        shard_id, start = history.shard_of(call), call.window["window"]["start"]
        puts = [history.puts[number] for number in call.message_ids]
        if any(_window_of(put, length) != start for put in puts):
            raise Violation(f"a record of another window: {call}")
        if call.window["isFinalInvokeForWindow"] != (not puts):
            raise Violation(f"the last invocation of a window is the one without records: {call}")
        if (life_of(call), shard_id, start) in ended:
            raise Violation(f"invoked again after the window's last invocation: {call}")
        before = [
            put
            for put in history.shards[shard_id]
            if _window_of(put, length) == start and (not puts or put.place < puts[0].place)
        ]
        seen = call.window["state"].get("seen", [])
        possible = [put.number for put in before if put.number in succeeded_in]
        certain = {
            put.number
            for put in before
            if put.number in possible and _must_be_in_state(history, put, succeeded_in[put.number], life_of(call))
        }
        if not certain <= set(seen) or [number for number in possible if number in set(seen)] != seen:
            raise Violation(f"the state has {seen}, where {possible} succeeded before: {call}")
        if not puts and call.ending == "succeeded":
            ended.add((life_of(call), shard_id, start))


def _must_be_in_state(history: History, put: Put, succeeded_in: set[int], life: int) -> bool:
    """Return whether a record must be in the state.

    A record need not be in it if it has succeeded, this was not stored, and it was trimmed before the next process read
    it.
    """

    def is_stored_after(ended: int) -> bool:
        stored = history.lives[ended].stored.get(history.mapping.state_key, {})
        return put.place <= reached(stored, put.shard_id)

    is_known = any(each == life or (each < life and is_stored_after(each)) for each in succeeded_in)
    is_given_up = any(put.number in report.numbers for _, report in history.reports)
    return is_known and history.is_in_scope(put) and not is_given_up and not history.may_be_given_up(put.number)


def _window_of(put: Put, length: int) -> str:
    return iso_seconds((put.arrived_at + EPOCH) // length * length)


def _has_dropped(history: History) -> bool:
    facts = history.world.facts
    return any(isinstance(fact, RecordsDropped) and fact.mapping == history.mapping.name for fact in facts)
