"""Were the promises for queues kept? The checker reads the history, and does not know the engine.

nothing is lost          every message was processed and deleted, was filtered out, or is in the dead-letter queue
order                    the function gets a message of a group only when all earlier messages of the group are done
no expired receipt       the function does not get a message that has become visible in the queue again
one batch at a time      two invocations with the same message group never overlap, even if the daemon was killed
room before receive      every received message leads to an invocation, unless SQS or a crash prevents it
redelivery               a failed message becomes visible when the queue's own timeout is over, in the group's order
bounds                   the invocations of a mapping do not exceed its concurrency
ages                     no reported age is higher than the age of the world, even if the daemon's clock is wrong
a clean stop             after a stop, all messages that the function did not get are visible again
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import groupby

from poller.facts import BatchInvoked
from poller.model.mapping import RedeliveryBackoff
from tests.fakes.queue import Entry, FakeQueue
from tests.fakes.target import Call

Matches = Callable[[str], bool]
"""Returns whether the message with this id matches the mapping's filter."""


class Violation(AssertionError):
    """A promise was not kept."""


def check_queue(queue: FakeQueue, calls: list[Call], matches: Matches) -> None:
    """Check all promises that must be kept even with faults. Call this at the end, when nothing happens any more."""
    check_nothing_is_lost(queue, calls, matches)
    check_nothing_filtered_is_invoked(calls, matches)
    check_no_expired_receipt_is_invoked(queue, calls)
    if queue.is_fifo:
        check_order(queue, calls, matches)
        check_one_batch_at_a_time(calls)


def check_nothing_is_lost(queue: FakeQueue, calls: Iterable[Call], matches: Matches) -> None:
    """Check at the end that every message is done, and that no message was deleted before it had succeeded."""
    succeeded_at = _first_success(calls)
    gone: set[str] = set()
    for entry in queue.history:
        if entry.kind == "moved":
            gone.add(entry.message_id)
        elif entry.kind == "deleted":
            gone.add(entry.message_id)
            if not matches(entry.message_id):
                continue
            if succeeded_at.get(entry.message_id, entry.at + 1) > entry.at:
                raise Violation(f"deleted at {entry.at} without a success before: {entry}")
    lost = {entry.message_id for entry in queue.history if entry.kind == "sent"} - gone
    if lost:
        raise Violation(f"{len(lost)} messages are neither deleted nor dead-lettered: {sorted(lost)[:3]}")


def check_nothing_filtered_is_invoked(calls: Iterable[Call], matches: Matches) -> None:
    for call in calls:
        for message_id in call.message_ids:
            if not matches(message_id):
                raise Violation(f"a message that the filter keeps out was invoked: {message_id}")


def check_order(queue: FakeQueue, calls: list[Call], matches: Matches) -> None:
    """Check the order: the function gets a message after, or together with, all earlier ones of its group."""
    sent: dict[str | None, list[str]] = defaultdict(list)
    moved_at: dict[str, float] = {}
    for entry in queue.history:
        if entry.kind == "sent":
            sent[entry.group].append(entry.message_id)
        elif entry.kind == "moved":
            moved_at[entry.message_id] = entry.at
    succeeded_at = _first_success(calls)
    first_undone: dict[str | None, int] = defaultdict(int)

    def is_done(message_id: str, now: float) -> bool:
        return (
            not matches(message_id)
            or succeeded_at.get(message_id, now + 1) <= now
            or moved_at.get(message_id, now + 1) <= now
        )

    for call in sorted(calls, key=lambda call: call.began_at):
        in_batch: set[str] = set()
        for message_id, group in zip(call.message_ids, call.groups, strict=True):
            order = sent[group]
            position = order.index(message_id)
            start = first_undone[group]
            while start < position and is_done(order[start], call.began_at):
                start += 1
            first_undone[group] = max(first_undone[group], start)
            for earlier in order[start:position]:
                if earlier not in in_batch and not is_done(earlier, call.began_at):
                    raise Violation(
                        f"{message_id} of group {group} was handed over at {call.began_at} before {earlier} was done"
                    )
            in_batch.add(message_id)


def check_one_batch_at_a_time(calls: list[Call]) -> None:
    """Check that invocations with a common message group do not overlap, even if the process of one was killed."""
    busy_until: dict[str, Call] = {}
    for call in sorted(calls, key=lambda call: call.began_at):
        for group in {group for group in call.groups if group is not None}:
            before = busy_until.get(group)
            if before is not None and before.ended_at > call.began_at:
                raise Violation(f"group {group} is in two batches at once: {before} and {call}")
            busy_until[group] = call


def check_every_receive_is_invoked(queue: FakeQueue, calls: Iterable[Call], matches: Matches) -> None:
    """Check that each receive led to an invocation, or to a delete of a filtered-out message.

    Only a stop may release a message that was not invoked, and a receive that it cancels may lose its answer.
    """
    spent: set[str | None] = {receipt for call in calls for receipt in call.receipts}
    spent |= {entry.receipt for entry in queue.history if entry.kind == "answer_lost"}
    spent |= {entry.receipt for entry in queue.history if entry.kind == "visibility_changed" and entry.detail == "0"}
    for entry in queue.history:
        if entry.kind == "received" and entry.receipt not in spent and matches(entry.message_id):
            raise Violation(f"received, and never invoked under that receipt: {entry}")


def check_no_expired_receipt_is_invoked(queue: FakeQueue, calls: Iterable[Call]) -> None:
    """Check that the function gets no message with an expired receipt handle: another client may have the message."""
    expired_at = {entry.receipt: entry.at for entry in queue.history if entry.kind == "expired"}
    for call in calls:
        for receipt in call.receipts:
            if expired_at.get(receipt, call.began_at + 1) <= call.began_at:
                raise Violation(f"receipt {receipt} expired at {expired_at[receipt]}, and was invoked: {call}")


def check_failed_messages_come_again_in_time(
    queue: FakeQueue, calls: Iterable[Call], *, timeout_in_seconds: float, slack_in_seconds: float
) -> None:
    """Check that a failed message becomes visible after the queue's own timeout, or at its failure if that is later.

    If an answer was lost, its message group may stay hidden for the whole timeout of the function from then on.
    """
    received_at = {entry.receipt: entry.at for entry in queue.history if entry.kind in ("received", "repeated")}
    shown_at = {entry.receipt: entry.at for entry in queue.history if _is_shown(entry)}
    for call in calls:
        if call.ending not in ("failed", "partly_failed", "answer_lost"):
            continue
        for message_id, receipt in zip(call.message_ids, call.receipts, strict=True):
            if message_id in call.done or receipt not in shown_at:
                continue
            due_at = received_at[receipt] + queue.visibility_timeout_in_seconds
            latest = max(due_at, call.ended_at)
            if queue.is_fifo and call.ending == "answer_lost":
                latest = max(latest, call.ended_at + timeout_in_seconds)
            if not due_at <= shown_at[receipt] <= latest + slack_in_seconds:
                raise Violation(f"{message_id} was shown at {shown_at[receipt]}, not at {latest}: {call}")


def check_failed_messages_come_again_by_backoff(
    queue: FakeQueue,
    calls: Iterable[Call],
    backoff: RedeliveryBackoff,
    *,
    timeout_in_seconds: float,
    slack_in_seconds: float,
) -> None:
    """Check that a failed message is shown at the time that `redelivery_backoff` gives, by its number of receives.

    The first failed message of a group gives the time of the whole group.
    A group whose answer was lost may wait for the whole timeout of its function.
    """
    receives: Counter[str] = Counter()
    count_of: dict[str | None, int] = {}
    for entry in queue.history:
        if entry.kind in ("received", "repeated"):
            receives[entry.message_id] += entry.kind == "received"
            count_of[entry.receipt] = receives[entry.message_id]
    shown_at = {entry.receipt: entry.at for entry in queue.history if _is_shown(entry)}
    for call in calls:
        if call.ending not in ("failed", "partly_failed", "answer_lost"):
            continue
        first_of: dict[str, str] = {}
        for message_id, receipt, group in zip(call.message_ids, call.receipts, call.groups, strict=True):
            if message_id in call.done:
                continue
            decisive = receipt if group is None else first_of.setdefault(group, receipt)
            if receipt not in shown_at:
                continue
            full = min(backoff.maximum_in_seconds, backoff.initial_in_seconds * 2 ** (count_of[decisive] - 1))
            earliest, latest = call.ended_at + full / 2, call.ended_at + full
            if queue.is_fifo and call.ending == "answer_lost":
                latest = max(latest, call.ended_at + timeout_in_seconds)
            if not earliest <= shown_at[receipt] <= latest + slack_in_seconds:
                raise Violation(f"{message_id} was shown at {shown_at[receipt]}, not {earliest} to {latest}: {call}")


def check_groups_are_shown_in_order(
    queue: FakeQueue, calls: Iterable[Call] = (), matches: Matches = lambda _: True
) -> None:
    """Check that no message of a group is visible while an earlier message of the group is hidden.

    An earlier message may be hidden if it has succeeded or is filtered out, because it will soon be deleted.
    """
    succeeded_at = _first_success(calls)
    sent_at = {entry.message_id: index for index, entry in enumerate(queue.history) if entry.kind == "sent"}
    hidden: defaultdict[str | None, set[str]] = defaultdict(set)
    for _, moment in groupby(queue.history, lambda entry: entry.at):
        entries = list(moment)
        leaving = {entry.message_id for entry in entries if _is_shown(entry) or entry.kind in ("deleted", "moved")}
        for entry in entries:
            if entry.kind in ("received", "repeated"):
                hidden[entry.group].add(entry.message_id)
            elif _is_shown(entry) or entry.kind in ("deleted", "moved"):
                hidden[entry.group].discard(entry.message_id)
            if _is_shown(entry):
                others = {
                    each
                    for each in hidden[entry.group] - leaving
                    if matches(each) and succeeded_at.get(each, entry.at + 1) > entry.at
                }
                if any(sent_at[other] < sent_at[entry.message_id] for other in others):
                    raise Violation(f"shown before an earlier message of its group: {entry}")


def check_given_back(queue: FakeQueue, calls: Iterable[Call], now: float) -> None:
    """Check after a clean stop: the function got each message in flight, or the answer of its receive was lost."""
    queue.settle(now)
    invoked = {receipt for call in calls for receipt in call.receipts}
    lost = {entry.receipt for entry in queue.history if entry.kind == "answer_lost"}
    for entry in in_flight(queue):
        if entry.receipt not in invoked and entry.receipt not in lost:
            raise Violation(f"still hidden after a clean stop, though never handed over: {entry}")


def check_ages(invoked: Iterable[BatchInvoked], now: float) -> None:
    """Check that no age is more than two seconds higher than the age of the world.

    A source's clock is known to two seconds.
    """
    for fact in invoked:
        if not 0 <= fact.oldest_record_age_seconds <= now + 2:
            raise Violation(f"an age of {fact.oldest_record_age_seconds} s, {now} s after the world began: {fact}")


def in_flight(queue: FakeQueue) -> list[Entry]:
    """Return the receives that still hide their messages."""
    open_receives: dict[str, Entry] = {}
    for entry in queue.history:
        if entry.kind in ("received", "repeated"):
            open_receives[entry.message_id] = entry
        elif entry.kind in ("deleted", "moved") or _is_shown(entry):
            open_receives.pop(entry.message_id, None)
    return list(open_receives.values())


def _is_shown(entry: Entry) -> bool:
    """Return whether the message is visible after this fact."""
    return entry.kind == "expired" or (entry.kind == "visibility_changed" and entry.detail == "0")


def _first_success(calls: Iterable[Call]) -> dict[str, float]:
    succeeded_at: dict[str, float] = {}
    for call in calls:
        for message_id in call.done:
            succeeded_at[message_id] = min(call.ended_at, succeeded_at.get(message_id, call.ended_at))
    return succeeded_at
