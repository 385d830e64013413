"""THE SEAMS: the interfaces through which the engine reaches the outside world.

Every port has a working in-memory implementation in `tests/fakes/`.
One contract suite for each port in `tests/contracts/` tests this fake and every real adapter.
A method may be cancelled at any await. Then the adapter leaves nothing half-done in this process.
A method that calls a service raises `errors.ServiceError` and no other exception. `Target.invoke` raises nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from poller.core.document import Document
from poller.model.event import Event, EventQueueDepth, TakenEvent
from poller.model.ids import FunctionName, MappingName
from poller.model.invocation import Invocation, Response
from poller.model.lease import Pause, Row, RowKey
from poller.model.message import Message, QueueAttributes, RejectedEntry
from poller.model.stream import (
    Position,
    Read,
    Shard,
    ShardId,
    ShardIterator,
    StreamLimits,
)


class QueueSource(Protocol):
    """An SQS queue."""

    @property
    def clock(self) -> SourceClock:
        """Return the clock that dates the messages."""

    async def describe(self) -> QueueAttributes:
        """Return the queue's attributes. Raises NotFound if there is no such queue, or another ServiceError."""

    async def receive(
        self, *, count: int, wait_in_seconds: int, visibility_timeout_in_seconds: int | None
    ) -> list[Message]:
        """Receive up to `count` (1 to 10) messages. Wait up to `wait_in_seconds` (0 to 20) for the first message.

        SQS hides the messages for this visibility timeout. None means the queue's own timeout.
        If no record can be made of a message, the message has a `defect`.
        A cancelled receive may have hidden messages. No receive returns them until their visibility timeout is over.
        """

    async def delete(self, messages: Sequence[Message]) -> list[RejectedEntry]:
        """Delete up to ten messages. Return the messages that SQS did not delete. Idempotent."""

    async def change_visibility(self, messages: Sequence[Message], *, timeout_in_seconds: int) -> list[RejectedEntry]:
        """Set how long up to ten messages stay hidden from now. With 0, they become visible at once.

        Return the messages whose timeout SQS did not change.
        """


class StreamSource(Protocol):
    """A Kinesis or DynamoDB stream."""

    @property
    def clock(self) -> SourceClock:
        """Return the clock that dates the records."""

    @property
    def limits(self) -> StreamLimits:
        """Return the rates and pauses of the service for reading the stream."""

    @property
    def status(self) -> str | None:
        """Return the stream's status in the service's spelling, from the last listing, or None if listings lack it."""

    async def shards(self) -> list[Shard]:
        """Return every shard that the stream still lists, in no order. Raises NotFound if the stream does not exist.

        A listing obeys the service's rate limit, so it may take seconds. A throttled page is requested again.
        """

    async def children(self, shard_id: ShardId) -> list[Shard]:
        """Return the children of a shard that was read to its end. The list may contain other shards, too.

        It costs one call or none if the service can name the children, otherwise a whole listing.
        The child of a merge is returned for each of its two parents. Raises the same errors as `shards`.
        """

    async def iterator(self, shard_id: ShardId, position: Position) -> ShardIterator:
        """Return an iterator at a position of the shard. The engine never calls it with ShardEnd.

        Raises errors.Trimmed if the stream no longer has the records at this position, NotFound if the shard or the
        stream does not exist, and Rejected if the position does not belong to this stream.
        """

    async def read(self, iterator: ShardIterator, *, limit: int) -> Read:
        """Read up to `limit` records, without waiting for new ones.

        The answer may be empty even if there are more records.

        Raises errors.ExpiredIterator if the iterator is too old.
        Raises errors.Trimmed if the stream no longer has the next record, or the record after which reading should
        continue: in the second case the records that followed it may be gone, too.
        """


class SourceClock(Protocol):
    """The clock of a source. The engine compares the source's timestamps with it, because our own clock may be wrong.

    If the source's answers contain no time, this is our own clock.
    """

    def now(self) -> float:
        """Return the source's time of day, in epoch seconds, with an error of about two seconds at most."""

    def reached(self) -> float:
        """Return a time that the source's clock has certainly reached, in epoch seconds."""


class LeaseStore(Protocol):
    """A table of leases that several workers share: a file for the workers of one host, or a table of DynamoDB.

    Every write is a compare-and-set of single rows: one row may be written while another is not (`core/leases/`, R1).
    After a ServiceError, each row of the call may be written or not, and an unanswered write may still arrive later. So
    the worker reads the rows again.
    """

    async def scan(self) -> list[Row]:
        """Return all rows, in no order. A row may be some seconds old; a later `update` then rejects it."""

    async def read(self, keys: Collection[RowKey]) -> dict[RowKey, Row]:
        """Return these rows as they are now. A row that does not exist is left out."""

    async def create(self, *groups: Collection[Row]) -> frozenset[RowKey]:
        """Store groups of new rows. Return the keys that already existed; their rows do not change.

        The counter of a new row is 1. If the table has lost a row, a worker creates it again with a larger counter.

        Stores the groups in order: a row only after all rows of the earlier groups are durable. If a row of a group
        already existed, stores the other rows of this group, and no later group. Returns once the rows are durable.
        """

    async def update(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Replace each row whose stored counter is `row.counter - 1`. Return the keys of all other rows.

        The rows of the returned keys do not change: another worker wrote them, or they do not exist. Returns once the
        other rows are durable.
        Raises AssertionError if a checkpoint would move back or be removed, and does not change that row.
        """

    async def delete(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Delete each row whose stored counter is `row.counter`. Return the keys of all other rows that exist."""


class PauseStore(Protocol):
    """The store of the mappings that a person has paused. In a file or a table, a pause survives a crash.

    Several workers may share the store.
    """

    async def load(self) -> Mapping[MappingName, Pause]:
        """Return the mappings that are paused. A change by another worker may be missing for some seconds."""

    async def read(self, mapping: MappingName) -> Pause | None:
        """Return the pause of the mapping, or None if it is not paused now."""

    async def pause(self, mapping: MappingName, *, at: float) -> Pause:
        """Store durably that the mapping is paused, and return the pause. `at` is the time now, in epoch seconds.

        Idempotent: if the mapping is paused already, its pause does not change.
        """

    async def resume(self, mapping: MappingName) -> None:
        """Store durably that the mapping is not paused. Idempotent."""


class EventQueue(Protocol):
    """A durable queue of asynchronous events: the embedded file, or an SQS queue.

    Several processes may share a queue. The claim on an event ends at its deadline, so a dead process keeps no event.
    An event may be taken twice: after a crash, or if a claim was not extended in time.
    A claim may be lost after its deadline: it is lost as soon as another process takes the event.
    """

    async def put(self, events: Sequence[Event]) -> None:
        """Store the events, and return once they are durable.

        Raises errors.QueueFull if the queue has no room for all events; then no event is stored.
        Raises errors.Rejected if an event with its attributes is too large.
        Raises errors.Unreachable if there is no answer; then the events may be stored or not.
        """

    async def take(self, function: FunctionName, *, count: int, wait_in_seconds: float) -> list[TakenEvent]:
        """Claim up to `count` due events of the function. The events that became due first come first.

        Returns fewer events if they would have more than MOST_BYTES_TAKEN, but at least one.
        If no event is due, waits up to `wait_in_seconds` for one. An ended event is due if its deliveries are due. A
        stuck event is never due.
        """

    async def extend(self, taken: TakenEvent, *, by_seconds: float) -> TakenEvent | None:
        """Extend the claim, so that it ends `by_seconds` from now, and return it. Return None if the claim is lost."""

    async def put_back(self, taken: TakenEvent, event: Event) -> None:
        """Replace the claimed event by `event` durably, and end the claim. Do nothing if the claim is lost.

        `event` is the claimed event with other attempts, another due time, an ending or a reason why it is stuck.
        Raises errors.QueueFull if the event has grown, and the disk has no room for that.
        Raises errors.Rejected if the queue never accepts the changed event, for example because it is now too large.
        """

    async def remove(self, taken: TakenEvent) -> None:
        """Remove the claimed event durably. Do nothing if the claim is lost."""

    async def depth(self, function: FunctionName) -> EventQueueDepth:
        """Return how many events of the function the queue holds."""


class Target(Protocol):
    """The way to a function: Lambda, HTTP or a child process. The composition root opens and closes targets."""

    async def invoke(self, invocation: Invocation) -> Response:
        """Call the function once and return its response.

        The call takes at most a little more time than the function's timeout.

        Every failure of the function, or of the connection to it, is a response and not an exception.
        """


class Destination(Protocol):
    """A receiver of documents, such as invocation records. The composition root opens and closes destinations."""

    async def deliver(self, document: Document) -> None:
        """Send the document, and return once the service has accepted it.

        Raises Unreachable if the service does not answer within a fixed time.
        Raises DocumentTooLarge if the document is larger than the destination accepts.
        A document may be sent again after a lost answer; the receiver may then get it twice.
        """


class Clock(Protocol):
    """Our time of day. Tests set it from anyio's virtual clock, which all waiting uses."""

    def now(self) -> float:
        """Return the time of day in epoch seconds."""


class MonotonicClock(Protocol):
    """A clock of this host that is never set. If the host can tell, it also counts while the host sleeps."""

    def now(self) -> float:
        """Return the clock's time in seconds. Only the difference of two times has a meaning."""

    async def sleep_until(self, moment: float) -> None:
        """Sleep until the clock has reached this moment."""
