"""What happens to a stream batch that failed?

A `Delivery` handles one batch until each of its records has succeeded or was discarded, in order. The engine asks the
delivery for the next step, executes it, and asks again. After Invoke, the engine calls `answered` before it asks again,
unless `withdraw_if_void` has cancelled the call:

    while (step := delivery.step(now)) is not None:
        Invoke   call the function, then `delivery.answered(...)`   Settle    these records have succeeded
        Wait     sleep                                              Discard   report these records, then they are done

The remaining records form a stack of pieces, with the first piece on top. A piece is a batch of its own: it has its own
request id and its own count of attempts. If a piece changes, the new pieces get new ones.

    succeeded                            the piece is done
    partly failed, first record is not   the records before the first failed one are done; all records from it on
    among the failed ones                become a new piece
    failed, with bisection, n > 1        two new pieces: the first floor(n/2) records, then the other records
    too large for the function, n > 1    the same
    failed otherwise                     the piece is retried after a pause, up to maximum_retry_attempts times,
                                         and is then discarded
    first record exceeds maximum age     it is discarded before the next invocation, even before the first one, with
                                         the expired records directly after it; the others become a new piece
    one record that fits no event        it is discarded without an invocation; without a retry limit, it blocks
    postponed                            the piece is retried after a pause; this does not count as an attempt

A person may order the next step of a piece (`order`): to retry it now, to make two halves of it now, or to discard it
now, whatever the mapping's limits are. If an invocation of the piece runs, its answer comes first, and the order lapses
if the answer ends the piece or makes new pieces of it.

AWS does not document some points. Here, new pieces are tried without a pause, and the age of an invocation without
records (the last one of a tumbling window) counts from the time when it became due.
Source: AWS Lambda Developer Guide, "Retaining discarded batch records for a Kinesis Data Streams event source in
Lambda" and "Configuring partial batch response with Kinesis Data Streams and Lambda".
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar, assert_never

from poller.core.backoff import POSTPONED, STREAM_RETRY, at_least
from poller.core.batching import EMPTY_EVENT_BYTES, MAXIMUM_EVENT_BYTES
from poller.model.ids import RequestId
from poller.model.invocation import Response
from poller.model.mapping import StreamMapping
from poller.model.order import Action
from poller.model.outcome import Failed, Outcome, Oversized, PartlyFailed, Postponed, Succeeded
from poller.model.stream import SequenceNumber

Condition = Literal["RetryAttemptsExhausted", "RecordAgeExceeded", "DiscardedByRequest"]
"""Why records are discarded. AWS has the first two; the third says that a person has ordered it."""

ITEM_FAILURES = "batchItemFailures"
"""The reason of a failure if the function's answer named failed records."""

JUST_AFTER_IN_SECONDS = 0.001
"""The seconds that a wait until a record's expiry adds, so that rounding does not end it too early."""


class Deliverable(Protocol):
    """The attributes of a record that a delivery uses. `arrived_at` is in epoch seconds, `encoded` is its JSON."""

    @property
    def sequence_number(self) -> SequenceNumber: ...
    @property
    def arrived_at(self) -> float: ...
    @property
    def encoded(self) -> bytes: ...


R = TypeVar("R", bound=Deliverable)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """A mapping's limits for retries. None means no limit."""

    maximum_retry_attempts: int | None = None
    maximum_record_age_in_seconds: int | None = None
    bisects: bool = False

    @classmethod
    def of(cls, mapping: StreamMapping) -> RetryPolicy:
        return cls(
            maximum_retry_attempts=mapping.maximum_retry_attempts,
            maximum_record_age_in_seconds=mapping.maximum_record_age_in_seconds,
            bisects=mapping.bisect_batch_on_function_error,
        )

    def expires_at(self, arrived_at: float) -> float | None:
        """Return the time from which a record is too old for an invocation, or None if there is no limit.

        `arrived_at` and the result are in epoch seconds. A record may expire while its batching window is still open.
        """
        age = self.maximum_record_age_in_seconds
        return None if age is None else arrived_at + age


class Invoke(NamedTuple, Generic[R]):
    """Call the function with these records. `attempt` counts the piece's calls from 1. Postponed calls do not count."""

    records: Sequence[R]
    request_id: RequestId
    attempt: int


class Wait(NamedTuple):
    """Wait for this number of seconds. `reason` says briefly why the lane is blocked; `detail` is for a person."""

    seconds: float
    reason: str
    detail: str = ""


class Settle(NamedTuple, Generic[R]):
    """These records have succeeded. `response` is the function's answer."""

    records: Sequence[R]
    response: Response


class Discard(NamedTuple, Generic[R]):
    """These records are discarded. `invoke_count` is the number of invocations that is reported, at least 1.

    `response` is the last response. It is None if there was none, or if the records became too old.
    """

    records: Sequence[R]
    request_id: RequestId
    condition: Condition
    invoke_count: int
    response: Response | None


class Attempts(NamedTuple):
    """How often a piece was tried, and with which request id."""

    number: int
    request_id: RequestId


Step = Invoke[R] | Wait | Settle[R] | Discard[R]


class Piece(Generic[R]):
    """A batch or a part of a batch: the records of one invocation.

    `due_at` is when the piece was made, in epoch seconds.
    """

    __slots__ = ("attempts", "due_at", "order", "postponements", "records", "request_id", "response", "wait")

    def __init__(self, records: Sequence[R], request_id: RequestId, due_at: float) -> None:
        self.records = records
        self.request_id = request_id
        self.due_at = due_at
        self.attempts = 0
        self.postponements = 0
        self.response: Response | None = None
        self.wait: Wait | None = None
        self.order: Action | None = None


class Delivery(Generic[R]):
    """One batch until all of its records are done. Without records, it is the last invocation of a tumbling window.

    `room_in_bytes` is the space for records in an event.
    `before` are the attempts with this batch that were made before, if another worker has begun to deliver it.
    """

    __slots__ = ("_done", "_is_invoking", "_new_request_id", "_pieces", "_policy", "_randomness", "_room_in_bytes")

    def __init__(
        self,
        records: Sequence[R],
        *,
        policy: RetryPolicy,
        new_request_id: Callable[[], RequestId],
        randomness: random.Random,
        now: float,
        room_in_bytes: int = MAXIMUM_EVENT_BYTES - EMPTY_EVENT_BYTES,
        before: Attempts | None = None,
    ) -> None:
        self._room_in_bytes = room_in_bytes
        self._policy = policy
        self._new_request_id = new_request_id
        self._randomness = randomness
        self._done: Settle[R] | Discard[R] | None = None
        self._is_invoking = False
        attempts, request_id = before or Attempts(0, new_request_id())
        self._pieces = [Piece(records, request_id, now)]
        self._pieces[0].attempts = attempts

    def step(self, now: float) -> Step[R] | None:
        """Return the next step, or None once all records are done. `now` is in epoch seconds."""
        assert not self._is_invoking, "an invocation was not answered"
        done, self._done = self._done, None
        if done is not None:
            return done
        if not self._pieces:
            return None
        piece = self._pieces[-1]
        if piece.order == "discard":
            self._pieces.pop()
            return self._discard(piece, piece.records, "DiscardedByRequest")
        if piece.order == "bisect":
            self._halve(piece, now)
            piece = self._pieces[-1]
        if self._has_expired(piece, now):
            return self._discard_expired(piece, now)
        if piece.order == "retry":
            piece.order = piece.wait = None
        wait, piece.wait = piece.wait, None
        if wait is not None:
            return self._until_expiry(piece, wait, now)
        if self._fits_no_event(piece):
            return self._spend_all(piece, now)
        self._is_invoking = True
        return Invoke(piece.records, piece.request_id, piece.attempts + 1)

    def order(self, action: Action) -> None:
        """Make a person's order the next step of the piece on top. The order must not be refused."""
        assert self.denial(action) is None, "the order is refused"
        self._pieces[-1].order = action

    def denial(self, action: Action) -> str | None:
        """Return why a person may not order this for the piece on top, or None."""
        piece = self._pieces[-1]
        if action == "bisect" and len(piece.records) < 2:
            return "the batch has one record, so it has no halves" if piece.records else "the batch has no records"
        if action == "retry" and self._fits_no_event(piece):
            return "the record is larger than any event, so no retry can succeed"
        return None

    def withdraw_if_void(self, now: float) -> bool:
        """Cancel the last Invoke if it is void, and return whether it is cancelled.

        It is void if its first record became too old before the call, or if a person has ordered to bisect or to
        discard its records.
        """
        assert self._is_invoking, "nothing is to be invoked"
        piece = self._pieces[-1]
        self._is_invoking = not (self._has_expired(piece, now) or piece.order in ("bisect", "discard"))
        return not self._is_invoking

    @property
    def tried(self) -> Sequence[R]:
        """Return the records of the invocation that runs now or comes next."""
        return self._pieces[-1].records if self._pieces else ()

    @property
    def attempts(self) -> int:
        """Return how many tries of these records have failed in a row. A postponed invocation counts, too."""
        return self._pieces[-1].attempts + self._pieces[-1].postponements if self._pieces else 0

    @property
    def made(self) -> Attempts | None:
        """Return how often the records in `tried` were tried, and with which request id.

        Return None if all are done.
        """
        return Attempts(self._pieces[-1].attempts, self._pieces[-1].request_id) if self._pieces else None

    @property
    def pause(self) -> Wait | None:
        """Return the wait before the next invocation, or None if it follows at once or all records are done."""
        return self._pieces[-1].wait if self._pieces else None

    def answered(self, outcome: Outcome, response: Response, *, now: float) -> bool:
        """Decide what happens to the piece of the last Invoke. Return whether the piece is split into two halves."""
        assert self._is_invoking, "nothing was invoked"
        self._is_invoking = False
        piece = self._pieces[-1]
        match outcome:
            case Postponed(reason=reason, retry_after=retry_after, detail=detail):
                piece.postponements += 1
                piece.wait = Wait(
                    at_least(retry_after, POSTPONED.delay(piece.postponements, self._randomness)), reason, detail
                )
                return False
            case Succeeded():
                self._pieces.pop()
                self._done = Settle(piece.records, response)
                return False
            case PartlyFailed(failed=failed):
                return self._partly_failed(piece, failed, response, now)
            case Failed():
                return self._failed(piece, outcome, response, now)
            case Oversized():
                self._halve(piece, now)
                return True
        assert_never(outcome)

    def _partly_failed(self, piece: Piece[R], failed: frozenset[str], response: Response, now: float) -> bool:
        first = next(index for index, record in enumerate(piece.records) if record.sequence_number in failed)
        if first == 0:
            return self._failed(piece, Failed(ITEM_FAILURES), response, now)
        self._done = Settle(piece.records[:first], response)
        self._replace(now, piece.records[first:])
        return False

    def _failed(self, piece: Piece[R], failure: Failed, response: Response, now: float) -> bool:
        piece.attempts += 1
        piece.postponements = 0
        piece.response = response
        retries = self._policy.maximum_retry_attempts
        if self._policy.bisects and len(piece.records) > 1:
            self._halve(piece, now)
            return True
        if retries is None or piece.attempts <= retries:
            piece.wait = Wait(STREAM_RETRY.delay(piece.attempts, self._randomness), failure.reason, failure.detail)
        else:
            self._pieces.pop()
            self._done = self._discard(piece, piece.records, "RetryAttemptsExhausted")
        return False

    def _halve(self, piece: Piece[R], now: float) -> None:
        middle = len(piece.records) // 2
        assert middle > 0, "a single record has no halves"
        self._replace(now, piece.records[:middle], piece.records[middle:])

    def _replace(self, now: float, *pieces: Sequence[R]) -> None:
        """Replace the piece on top by these pieces, in this order. Empty ones are left out."""
        self._pieces.pop()
        self._pieces.extend(Piece(piece, self._new_request_id(), now) for piece in reversed(pieces) if piece)

    def _has_expired(self, piece: Piece[R], now: float) -> bool:
        expires_at = self._policy.expires_at(_arrival(piece))
        return expires_at is not None and now >= expires_at

    def _discard_expired(self, piece: Piece[R], now: float) -> Discard[R]:
        """Discard the first record and the expired records directly after it."""
        limit = self._policy.maximum_record_age_in_seconds
        assert limit is not None
        fresh = (index for index, record in enumerate(piece.records) if now < record.arrived_at + limit)
        cut = next(fresh, len(piece.records))
        self._replace(now, piece.records[cut:])
        piece.response = None
        return self._discard(piece, piece.records[:cut], "RecordAgeExceeded")

    def _discard(self, piece: Piece[R], records: Sequence[R], condition: Condition) -> Discard[R]:
        """Return the step that discards these records. It counts at least one invocation, as AWS does."""
        return Discard(records, piece.request_id, condition, max(1, piece.attempts), piece.response)

    def _until_expiry(self, piece: Piece[R], wait: Wait, now: float) -> Wait:
        """Return the wait, or a shorter one if the first record expires earlier."""
        expires_at = self._policy.expires_at(_arrival(piece))
        if expires_at is None:
            return wait
        return wait._replace(seconds=min(wait.seconds, expires_at - now + JUST_AFTER_IN_SECONDS))

    def _fits_no_event(self, piece: Piece[R]) -> bool:
        return len(piece.records) == 1 and len(piece.records[0].encoded) > self._room_in_bytes

    def _spend_all(self, piece: Piece[R], now: float) -> Discard[R] | Wait:
        """Discard a record that fits in no event, because a retry cannot help. Without a retry limit, wait instead."""
        retries = self._policy.maximum_retry_attempts
        if retries is None:
            sizes = f"the record has {len(piece.records[0].encoded)} bytes; an event has room for {self._room_in_bytes}"
            return self._until_expiry(piece, Wait(STREAM_RETRY.maximum, "RecordTooLarge", sizes), now)
        self._pieces.pop()
        piece.attempts = retries + 1
        return self._discard(piece, piece.records, "RetryAttemptsExhausted")


def _arrival(piece: Piece[R]) -> float:
    return piece.records[0].arrived_at if piece.records else piece.due_at
