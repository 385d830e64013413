"""What happens to the messages of a batch, from their receive until they are deleted or visible again?

A `Delivery` owns the messages of one poll. They form one batch, or several batches if one event cannot hold them. The
engine adds the messages, then asks for the next step, executes it, and asks again:

    while (step := delivery.step()) is not None:
        Invoke   call the function with `delivery.messages`; call `begin` before and `answered` after the call.
                 Before, `drop_lost` removes messages that the function must not get. If it must not get the other
                 messages now, call `doubt` or `withdraw` instead of the function
        Wait     sleep
        Finish   delete some messages and make the others visible again; then the batch is done

The batches are a stack with the first batch on top. The function is invoked with the batch on top:

    gathering ──> waiting ── begin ──> running ── answered ──> answered ── Finish ──> done ──> the next batch
                     ^                    └ postponed, too large ┐
                     └───────────────────────────────────────────┘

    succeeded            the messages are deleted
    partly failed        the named messages become visible again, the others are deleted
    failed               the messages become visible again; only a new receive leads to a new invocation
    failed, may still    the same, but on a FIFO queue they stay hidden until the function must have ended: otherwise
    run                  two invocations of one group could run at once
    postponed            the function is invoked again with the same batch after a wait; no receive count rises
    too large            the batch is split in two halves, one after the other; their attempts begin at 1
    lost                 a message that may be visible already: the function does not get it, and no call changes it
    withdrawn            all messages of the batch become visible again at once

A message becomes visible again when the queue's own visibility timeout, counted from its receive, is over, unless this
table says another time. If a message on a FIFO queue is not done, the messages of its group leave the later batches and
become visible together with it, because they must not overtake it.

At a stop, `give_back` returns what happens to everything in hand:

    done                  is deleted or becomes visible, as already decided
    filtered out          is deleted
    set aside             becomes visible when the queue's own visibility timeout is over
    gathering, waiting    becomes visible at once
    running               becomes visible at once; on a FIFO queue when the function must have ended, because the cut
                          invocation may still run; the same holds for all other messages of its groups

A function must have ended when its timeout has passed since the failure or the cut. The timeout is not counted from the
beginning of the call, because the function may begin later: the call may first wait for a free emulator or for a
connection.

Source: AWS Lambda Developer Guide, "Handling errors for an SQS event source in Lambda".
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Literal, NamedTuple, assert_never

from poller.core.backoff import POSTPONED, Backoff, at_least
from poller.core.queues.in_hand import MessageInHand
from poller.core.queues.ordering import groups_of, without_gaps
from poller.core.queues.redelivery import delay_return
from poller.model.ids import MessageGroupId, RequestId
from poller.model.outcome import Failed, Outcome, Oversized, PartlyFailed, Postponed, Succeeded

Phase = Literal["gathering", "waiting", "running", "answered", "done"]

AT_ONCE = 0.0
"""A time in the past. A message with this time as its `returns_at` becomes visible at once."""


class Invoke(NamedTuple):
    """Call the function with the batch on top. `attempt` counts the batch's calls from 1, including postponed calls."""

    request_id: RequestId
    attempt: int


class Wait(NamedTuple):
    """Wait for this number of seconds, then ask for the next step."""

    seconds: float


class Finish(NamedTuple):
    """Delete the messages of `delete`. Make each message of `show` visible at its `returns_at`."""

    delete: Sequence[MessageInHand]
    show: Sequence[MessageInHand]


Step = Invoke | Wait | Finish


class Batch:
    """The messages of one event.

    The function does not get those in `aside`; they become visible once the batch is done.
    """

    __slots__ = ("aside", "attempts", "doubts", "messages", "request_id", "wait")

    def __init__(self, messages: list[MessageInHand], aside: list[MessageInHand]) -> None:
        self.messages = messages
        self.aside = aside
        self.attempts = 0
        self.doubts = 0
        self.request_id: RequestId | None = None
        self.wait: Wait | None = None


class Delivery:
    """The messages of one poll, until each one is deleted or visible again."""

    __slots__ = (
        "_batches",
        "_filtered_out",
        "_finish",
        "_new_request_id",
        "_phase",
        "_randomness",
        "_redelivery_backoff",
    )

    def __init__(
        self,
        *,
        new_request_id: Callable[[], RequestId],
        randomness: random.Random,
        redelivery_backoff: Backoff | None = None,
    ) -> None:
        """Without a `redelivery_backoff`, a failed message returns at the end of the queue's visibility timeout."""
        self._new_request_id = new_request_id
        self._redelivery_backoff = redelivery_backoff
        self._randomness = randomness
        self._batches: list[Batch] = []  # the last batch is open while messages are added, and is the top afterwards
        self._filtered_out: list[MessageInHand] = []
        self._finish: Finish | None = None
        self._phase: Phase = "gathering"

    def put(self, held: list[MessageInHand], *, begins_batch: bool) -> None:
        """Add messages for the function to the last batch, or to a new batch if `begins_batch` is true."""
        if not held:
            return
        if begins_batch or not self._batches:
            self._batches.append(Batch(held, []))
        else:
            self._batches[-1].messages += held

    def set_aside(self, held: Sequence[MessageInHand]) -> None:
        """Add defective messages, which the function does not get, and the messages that must not overtake them."""
        if not self._batches:
            self._batches.append(Batch([], []))
        self._batches[-1].aside += held

    def filter_out(self, held: Sequence[MessageInHand]) -> None:
        """Add messages that match no filter. They are deleted together with the first batch that is done."""
        self._filtered_out = [*self._filtered_out, *held]

    def filtered_out_are_deleted(self, held: Sequence[MessageInHand], *, but: Sequence[MessageInHand]) -> None:
        """Forget the filtered-out messages that SQS has deleted: those of `held`, except those in `but`."""
        left = {*but}
        gone = {one for one in held if one not in left}
        self._filtered_out = [one for one in self._filtered_out if one not in gone]

    @property
    def batch_count(self) -> int:
        return len(self._batches)

    @property
    def message_count(self) -> int:
        """Return how many messages the delivery still has."""
        decided = len(self._finish.delete) if self._finish is not None else 0
        return decided + len(self._filtered_out) + sum(len(batch.messages) for batch in self._batches)

    @property
    def messages(self) -> Sequence[MessageInHand]:
        """Return the messages of the batch on top."""
        return self._batches[-1].messages

    @property
    def groups(self) -> frozenset[MessageGroupId]:
        """Return the message groups of all messages that the function gets, or an empty set for a standard queue."""
        groups = {held.message.message_group_id for batch in self._batches for held in batch.messages}
        return groups_of(groups)

    @property
    def pause(self) -> float | None:
        """Return the seconds until the batch on top is tried again, or None if there is no wait."""
        wait = self._batches[-1].wait if self._batches else None
        return None if wait is None else wait.seconds

    def hidden(self) -> Iterator[MessageInHand]:
        """Yield the messages that must stay hidden.

        On a FIFO queue, these include messages that the function does not get.
        """
        if self._finish is not None:
            yield from self._finish.delete
        for batch in self._batches:
            yield from batch.messages
            yield from (held for held in batch.aside if held.group is not None)
        yield from self._filtered_out

    def step(self) -> Step | None:
        """Return the next step, or None once every message is deleted or visible again."""
        assert self._phase != "running", "an invocation was not answered"
        if self._phase == "gathering":
            self._batches.reverse()
        if self._phase != "answered":
            self._finish = None
            self._phase = "waiting"
            if not self._batches:
                return None
            batch = self._batches[-1]
            wait, batch.wait = batch.wait, None
            if wait is not None:
                return wait
            if batch.messages:
                batch.request_id = batch.request_id or self._new_request_id()
                return Invoke(batch.request_id, batch.attempts + 1)
            self._decide([], [])
        self._phase = "done"
        return self._finish

    def drop_lost(self, now: float) -> Sequence[MessageInHand]:
        """Remove the messages that may be visible already from the batch on top. Return the messages that it loses.

        The later messages of the same groups are removed, too, from this batch and from the later batches.
        """
        batch = self._batches[-1]
        kept = without_gaps(
            batch.messages, is_lost=lambda held: held.may_be_visible(now), group_of=lambda held: held.group
        )
        if len(kept) == len(batch.messages):
            return ()
        for held in batch.messages:
            held.is_lost = held.may_be_visible(now)
        still = set(kept)
        dropped = [held for held in batch.messages if held not in still]
        batch.aside = self._with_followers(dropped) + batch.aside
        batch.messages = kept
        return dropped

    def doubt(self) -> None:
        """Delay the batch on top, because it may not stay hidden for long enough. The next step is then a Wait."""
        batch = self._batches[-1]
        batch.doubts += 1
        batch.wait = Wait(POSTPONED.delay(batch.doubts, self._randomness))

    def withdraw(self) -> None:
        """Make the batch on top visible at once, without an invocation, because SQS cannot hide it for long enough."""
        undone = self._with_followers(self.messages)
        for held in undone:
            held.return_at(AT_ONCE)
        self._decide([], undone)

    def begin(self) -> None:
        """Note that the function is called with the batch on top."""
        assert self._phase == "waiting", self._phase
        self._phase = "running"
        self._batches[-1].attempts += 1

    def answered(self, outcome: Outcome, *, now: float, may_run_until: float) -> None:
        """Decide what happens to the batch on top, after the call had this outcome. Times are on anyio's clock.

        If the function may still run, it runs until `may_run_until` at the latest.
        """
        assert self._phase == "running", self._phase
        self._phase = "waiting"
        batch = self._batches[-1]
        match outcome:
            case Postponed(retry_after=retry_after):
                delay = POSTPONED.delay(batch.attempts, self._randomness)
                batch.wait = Wait(at_least(retry_after, delay))
            case Oversized():
                self._halve(batch)
            case Succeeded():
                self._decide(batch.messages, [])
            case PartlyFailed(failed=failed):
                undone = [held for held in batch.messages if held.message.message_id in failed]
                done = [held for held in batch.messages if held.message.message_id not in failed]
                self._decide(done, self._delayed(undone, now))
            case Failed(may_still_run=may_still_run):
                undone = self._delayed(batch.messages, now)
                for held in (*undone, *batch.aside) if may_still_run else ():
                    if held.group is not None:
                        held.return_at(max(held.returns_at, may_run_until))
                self._decide([], undone)
            case _:
                assert_never(outcome)

    @property
    def running_groups(self) -> frozenset[MessageGroupId]:
        """Return the message groups of the running invocation, or an empty set if none runs."""
        return groups_of(held.group for held in self.messages) if self._phase == "running" else frozenset()

    def give_back(self, running: Collection[MessageGroupId], *, may_run_until: float) -> Finish:
        """Return which messages a stop deletes and makes visible again. The delivery is empty afterwards.

        `running` are the message groups that are in a running invocation of any delivery.
        """
        delete = [*self._filtered_out]
        show: list[MessageInHand] = []
        if self._finish is not None:
            delete += self._finish.delete
            show += self._finish.show
        for batch in self._batches if self._phase == "gathering" else reversed(self._batches):
            for held in batch.messages:
                held.return_at(may_run_until if held.group in running else AT_ONCE)
            show += [*batch.messages, *batch.aside]
        self._batches, self._filtered_out, self._finish, self._phase = [], [], None, "done"
        for held in (*delete, *show):
            held.is_left = True
        return Finish(delete, show)

    def _decide(self, done: Sequence[MessageInHand], undone: Sequence[MessageInHand]) -> None:
        """Remove the batch on top from the stack. The next Finish deletes `done` and makes `undone` visible again."""
        batch = self._batches.pop()
        filtered_out, self._filtered_out = self._filtered_out, []
        for held in (*undone, *batch.aside):
            held.is_left = True
        self._finish = Finish(
            [*done, *filtered_out] if filtered_out else done, [*undone, *batch.aside] if batch.aside else undone
        )
        self._phase = "answered"

    def _delayed(self, failed: Sequence[MessageInHand], now: float) -> list[MessageInHand]:
        """Return the failed messages and their followers, each with the time at which it returns to the queue."""
        undone = self._with_followers(failed)
        if self._redelivery_backoff is not None:
            groups = groups_of(held.group for held in undone)
            aside = [held for held in self._batches[-1].aside if held.group in groups]
            delay_return([*undone, *aside], self._redelivery_backoff, now=now, randomness=self._randomness)
        return undone

    def _halve(self, batch: Batch) -> None:
        """Replace the batch on top by its two halves.

        The messages set aside come after all others, so the second half gets them.
        """
        middle = len(batch.messages) // 2
        assert middle > 0, "a single message has no halves"
        self._batches[-1:] = [Batch(batch.messages[middle:], batch.aside), Batch(batch.messages[:middle], [])]

    def _with_followers(self, undone: Sequence[MessageInHand]) -> list[MessageInHand]:
        """Return these messages, and all messages of their groups in the later batches.

        The later batches no longer have these messages.
        """
        groups = groups_of(held.group for held in undone)
        together = list(undone)
        for later in reversed(self._batches[:-1]) if groups else ():
            together += [held for held in (*later.messages, *later.aside) if held.group in groups]
            later.messages = [held for held in later.messages if held.group not in groups]
            later.aside = [held for held in later.aside if held.group not in groups]
        return together


def give_back(deliveries: Collection[Delivery], *, may_run_until: float) -> Finish:
    """Return which messages of these deliveries a stop deletes, and which messages it makes visible again.

    While an invocation has a message group, the messages of the group in all deliveries stay hidden until it must have
    ended. The stop cuts the running invocations; their functions run until `may_run_until` at the latest.
    """
    running = frozenset(group for delivery in deliveries for group in delivery.running_groups)
    given_back = [delivery.give_back(running, may_run_until=may_run_until) for delivery in deliveries]
    return Finish(
        [held for finish in given_back for held in finish.delete],
        [held for finish in given_back for held in finish.show],
    )
