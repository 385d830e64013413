"""What becomes of the messages that were gathered together?

A `Delivery` owns them from their receive until each of them is deleted or shown again.  First they are put into it,
as one batch, or as several where one event cannot hold them.  Then ask it for the next step, carry the step out, and
ask again:

    while (step := delivery.step()) is not None:
        Invoke   call the function with `delivery.messages`: `begin` before the call, `answered` after it.
                 Before it, `drop_lost` takes messages out; `doubt` or `withdraw` stand instead of the call
        Wait     sleep
        Finish   delete these, show those again: the batch is done

The batches are a stack, the first on top.  Only the one on top is delivered:

    gathering ──> waiting ── begin ──> running ── answered ──> answered ── Finish ──> done ──> the next batch
                     ^                    └ postponed, too large ┐
                     └───────────────────────────────────────────┘

    succeeded            deleted
    partly failed        the named messages are shown again, the others deleted
    failed               shown again: a message is not invoked again from memory
    failed, may still    the same; on a FIFO queue not before the function has had its whole timeout: a group must not
    run                  run twice at once
    postponed            the same batch again, after a wait; the receive count of its messages does not grow
    too large            two halves, one after the other; no attempt is spent
    lost                 a message that the queue may have shown to others is not invoked; it is left to the queue
    withdrawn            all of the batch is shown again at once

A message is shown again when the queue's own visibility timeout is over, unless the table says another time.
On a FIFO queue, a message that is not done takes the messages of its group out of the later batches: they must not
overtake it.

At a stop, `give_back` says what becomes of everything that is in hand:

    done                  deleted, or shown again, as it was decided
    filtered out          deleted
    set aside             shown again when the queue's own visibility timeout is over
    gathering, waiting    shown at once: the function never saw it
    running               its invocation is cut: shown at once; on a FIFO queue after the function's timeout, as above,
                          and so are the other messages of its groups

Source: AWS Lambda Developer Guide, "Handling errors for an SQS event source in Lambda".
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, assert_never

from poller.core.backoff import POSTPONED, at_least
from poller.core.queues.in_hand import MessageInHand
from poller.core.queues.ordering import groups_of, without_gaps
from poller.model.ids import MessageGroupId, RequestId
from poller.model.outcome import Failed, Outcome, Oversized, PartlyFailed, Postponed, Succeeded

Phase = Literal["gathering", "waiting", "running", "answered", "done"]

AT_ONCE = 0.0
"""The time at which a message is shown that is to be shown now."""


class Invoke(NamedTuple):
    """Call the function with the batch on top. `attempt` counts its calls from 1, those that were postponed, too."""

    request_id: RequestId
    attempt: int


class Wait(NamedTuple):
    """Do nothing for so many seconds."""

    seconds: float


class Finish(NamedTuple):
    """Delete these, and let the queue show those again, each at its `returns_at`."""

    delete: Sequence[MessageInHand]
    show: Sequence[MessageInHand]


Step = Invoke | Wait | Finish


class Batch:
    """Messages that one event carries, and the `aside` ones, which are shown again once the batch is done."""

    __slots__ = ("aside", "attempts", "doubts", "messages", "request_id", "wait")

    def __init__(self, messages: list[MessageInHand], aside: list[MessageInHand]) -> None:
        self.messages = messages
        self.aside = aside
        self.attempts = 0
        self.doubts = 0
        self.request_id: RequestId | None = None
        self.wait: Wait | None = None


class Delivery:
    """The messages of one gather, until each is deleted or shown again."""

    __slots__ = (
        "_batches",
        "_filtered_out",
        "_finish",
        "_new_request_id",
        "_phase",
        "_randomness",
        "_running_until",
    )

    def __init__(self, *, new_request_id: Callable[[], RequestId], randomness: random.Random) -> None:
        self._new_request_id = new_request_id
        self._randomness = randomness
        self._batches: list[Batch] = []  # while gathering, the last one is open; later, the last one is on top
        self._filtered_out: list[MessageInHand] = []
        self._finish: Finish | None = None
        self._phase: Phase = "gathering"
        self._running_until = 0.0

    def put(self, held: list[MessageInHand], *, begins_batch: bool) -> None:
        """Add messages that are to be invoked: to the last batch, or as another one if they do not fit into it."""
        if not held:
            return
        if begins_batch or not self._batches:
            self._batches.append(Batch(held, []))
        else:
            self._batches[-1].messages += held

    def set_aside(self, held: Sequence[MessageInHand]) -> None:
        """Add messages that cannot be invoked, and those that must not overtake them."""
        if not self._batches:
            self._batches.append(Batch([], []))
        self._batches[-1].aside += held

    def filter_out(self, held: Sequence[MessageInHand]) -> None:
        """Add messages that the filter keeps out. The first batch that is done takes them along to be deleted."""
        self._filtered_out = [*self._filtered_out, *held]

    def filtered_out_are_deleted(self, held: Sequence[MessageInHand], *, but: Sequence[MessageInHand]) -> None:
        """Of these messages, all were deleted but some."""
        left = {*but}
        gone = {one for one in held if one not in left}
        self._filtered_out = [one for one in self._filtered_out if one not in gone]

    @property
    def batch_count(self) -> int:
        return len(self._batches)

    @property
    def message_count(self) -> int:
        """How many messages are to be invoked or deleted."""
        decided = len(self._finish.delete) if self._finish is not None else 0
        return decided + len(self._filtered_out) + sum(len(batch.messages) for batch in self._batches)

    @property
    def messages(self) -> Sequence[MessageInHand]:
        """The messages of the batch on top."""
        return self._batches[-1].messages

    @property
    def groups(self) -> frozenset[MessageGroupId]:
        """The groups of all messages that are to be invoked; empty on a standard queue."""
        groups = {held.message.message_group_id for batch in self._batches for held in batch.messages}
        return groups_of(groups)

    @property
    def pause(self) -> float | None:
        """In how many seconds the batch on top is invoked again; None if it has not been put off."""
        wait = self._batches[-1].wait if self._batches else None
        return None if wait is None else wait.seconds

    def hidden(self) -> Iterator[MessageInHand]:
        """The messages that must stay hidden. What follows in a group is one of them, even if it is not invoked."""
        if self._finish is not None:
            yield from self._finish.delete
        for batch in self._batches:
            yield from batch.messages
            yield from (held for held in batch.aside if held.group is not None)
        yield from self._filtered_out

    def step(self) -> Step | None:
        """What to do now; None when all is done."""
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

    def drop_lost(self, now: float) -> int:
        """Take out of the batch on top what must not be invoked any more; returns how many messages that were."""
        batch = self._batches[-1]
        kept = without_gaps(
            batch.messages, is_lost=lambda held: held.may_be_visible(now), group_of=lambda held: held.group
        )
        dropped = len(batch.messages) - len(kept)
        if dropped:
            for held in batch.messages:
                held.is_lost = held.may_be_visible(now)
            still = set(kept)
            batch.aside = self._with_followers([held for held in batch.messages if held not in still]) + batch.aside
            batch.messages = kept
        return dropped

    def doubt(self) -> None:
        """Whether the batch on top is hidden for long enough is not known: it is to be asked again after a wait."""
        batch = self._batches[-1]
        batch.doubts += 1
        batch.wait = Wait(POSTPONED.delay(batch.doubts, self._randomness))

    def withdraw(self) -> None:
        """The batch on top cannot be hidden for long enough: it is not invoked, and shown again at once."""
        undone = self._with_followers(self.messages)
        for held in undone:
            held.return_at(AT_ONCE)
        self._decide([], undone)

    def begin(self, *, running_until: float) -> None:
        """The function is called with the batch on top; it runs until then at the longest."""
        assert self._phase == "waiting", self._phase
        self._phase = "running"
        self._running_until = running_until
        self._batches[-1].attempts += 1

    def answered(self, outcome: Outcome) -> None:
        """The call came to an end."""
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
                self._decide(done, self._with_followers(undone))
            case Failed(may_still_run=may_still_run):
                undone = self._with_followers(batch.messages)
                for held in (*undone, *batch.aside) if may_still_run else ():
                    if held.group is not None:
                        held.return_at(max(held.returns_at, self._running_until))
                self._decide([], undone)
            case _:
                assert_never(outcome)

    def busy_until(self) -> Mapping[MessageGroupId, float]:
        """The groups that the function may be working on, and until when at the longest."""
        if self._phase != "running":
            return {}
        return dict.fromkeys(groups_of(held.group for held in self.messages), self._running_until)

    def give_back(self, busy_until: Mapping[MessageGroupId, float]) -> Finish:
        """What a stop does with all that is in hand, which is nobody's afterwards."""
        delete = [*self._filtered_out]
        show: list[MessageInHand] = []
        if self._finish is not None:
            delete += self._finish.delete
            show += self._finish.show
        for batch in self._batches if self._phase == "gathering" else reversed(self._batches):
            for held in batch.messages:
                held.return_at(AT_ONCE if held.group is None else busy_until.get(held.group, AT_ONCE))
            show += [*batch.messages, *batch.aside]
        self._batches, self._filtered_out, self._finish, self._phase = [], [], None, "done"
        return Finish(delete, show)

    def _decide(self, done: Sequence[MessageInHand], undone: Sequence[MessageInHand]) -> None:
        """The batch on top is done with."""
        batch = self._batches.pop()
        filtered_out, self._filtered_out = self._filtered_out, []
        self._finish = Finish(
            [*done, *filtered_out] if filtered_out else done, [*undone, *batch.aside] if batch.aside else undone
        )
        self._phase = "answered"

    def _halve(self, batch: Batch) -> None:
        middle = len(batch.messages) // 2
        assert middle > 0, "a single message has no halves"
        self._batches[-1:] = [Batch(batch.messages[middle:], []), Batch(batch.messages[:middle], batch.aside)]

    def _with_followers(self, undone: Sequence[MessageInHand]) -> list[MessageInHand]:
        """These messages of the batch on top, and those of their groups in the later batches, which lose them."""
        groups = groups_of(held.group for held in undone)
        together = list(undone)
        for later in reversed(self._batches[:-1]) if groups else ():
            together += [held for held in (*later.messages, *later.aside) if held.group in groups]
            later.messages = [held for held in later.messages if held.group not in groups]
            later.aside = [held for held in later.aside if held.group not in groups]
        return together


def give_back(deliveries: Iterable[Delivery]) -> Finish:
    """What a stop does with all messages in hand. A group that runs in one delivery is busy for the others, too."""
    deliveries = list(deliveries)
    busy_until: dict[MessageGroupId, float] = {}
    for delivery in deliveries:
        busy_until |= delivery.busy_until()
    given_back = [delivery.give_back(busy_until) for delivery in deliveries]
    return Finish(
        [held for finish in given_back for held in finish.delete],
        [held for finish in given_back for held in finish.show],
    )
