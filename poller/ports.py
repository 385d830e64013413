"""THE SEAMS: what the engine asks of the outside world, and nothing more.

Every port has an in-memory implementation in `tests/fakes/` that behaves, and one contract suite in
`tests/contracts/` that the fake and every real adapter pass.
All methods may be cancelled at any await; a port then holds nothing half-done on our side.
All methods that talk to a service raise `errors.ServiceError`, and only that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from poller.core.invocation_record import Document
from poller.model.ids import MappingName
from poller.model.invocation import Invocation, Response
from poller.model.message import Message, QueueAttributes, RejectedEntry
from poller.model.stream import (
    Checkpoint,
    Claim,
    Position,
    Read,
    Shard,
    ShardId,
    ShardIterator,
    StartingPosition,
    StateKey,
    StoredCheckpoint,
    StreamLimits,
)


class QueueSource(Protocol):
    """An SQS queue."""

    @property
    def clock(self) -> SourceClock:
        """The clock that dates the messages."""

    async def describe(self) -> QueueAttributes:
        """Look the queue up. Raises NotFound, AccessDenied …"""

    async def receive(
        self, *, count: int, wait_in_seconds: int, visibility_timeout_in_seconds: int | None
    ) -> list[Message]:
        """Receive up to `count` (1 to 10) messages, waiting up to `wait_in_seconds` (0 to 20) for the first.

        A message of which no event can be made has a `defect`.
        With None the queue's own visibility timeout holds. A cancelled receive may have hidden messages that nobody
        sees until their visibility timeout is over; SQS cannot undo it.
        """

    async def delete(self, messages: Sequence[Message]) -> list[RejectedEntry]:
        """Delete up to ten messages; returns those that were not deleted. Idempotent."""

    async def change_visibility(self, messages: Sequence[Message], *, timeout_in_seconds: int) -> list[RejectedEntry]:
        """Hide up to ten messages for so long from now (0 shows them at once); returns those it could not."""


class StreamSource(Protocol):
    """A Kinesis or DynamoDB stream."""

    @property
    def clock(self) -> SourceClock:
        """The clock that dates the records."""

    @property
    def limits(self) -> StreamLimits:
        """How the service lets the stream be read."""

    @property
    def status(self) -> str | None:
        """The stream's status, as the service spells it, by the last listing; None if listings do not tell it."""

    async def shards(self) -> list[Shard]:
        """Every shard that the stream still lists, in no order. Raises NotFound, AccessDenied …

        A listing keeps to the service's rate, so it may take seconds; a throttled page is asked for again.
        """

    async def children(self, shard_id: ShardId) -> list[Shard]:
        """The children of a shard that was read to its end, perhaps with other shards; cheap if the service allows it.

        A child of a merge is returned for both parents. Raises what `shards` raises.
        """

    async def iterator(self, shard_id: ShardId, position: Position) -> ShardIterator:
        """A cursor at a position; never called for ShardEnd.

        Raises errors.Trimmed when the records there are gone, NotFound when the shard or the stream is, and Rejected
        when the position is not one of this stream.
        """

    async def read(self, iterator: ShardIterator, *, limit: int) -> Read:
        """Read up to `limit` records, perhaps none though there are more. It waits for nothing.

        Raises errors.ExpiredIterator when the cursor is too old, errors.Trimmed when the records there are gone: those
        that it would read, or the one that it was to go on after, so that nobody knows of those that followed it.
        """


class SourceClock(Protocol):
    """A source's own clock. The times that a source has written are compared with it, because our clock may be wrong.

    It is our clock if the source's answers tell no time.
    """

    def now(self) -> float:
        """The time of day there, in epoch seconds, known within about two seconds."""

    def reached(self) -> float:
        """A time of day, in epoch seconds, that the source's clock has certainly reached."""


class CheckpointStore(Protocol):
    """Where stream positions live. What was saved survives whatever the process dies of.

    Several writers may share a store: a save compares the version of each shard (`core/streams/claims.py`).
    """

    async def load(self, key: StateKey) -> dict[ShardId, StoredCheckpoint]:
        """Everything stored for a mapping in its stream."""

    async def save(self, key: StateKey, checkpoints: Mapping[ShardId, Checkpoint], claim: Claim) -> frozenset[ShardId]:
        """Store these checkpoints, and return once they are durable.

        A shard that another writer has stored meanwhile is lost to this writer: its checkpoint is not stored, and its
        id is returned. The other checkpoints are stored all together; if that fails, none is stored.
        The same save may be repeated.
        """

    async def forget(self, key: StateKey, shard_ids: Collection[ShardId]) -> None:
        """Remove what is stored for these shards."""

    async def starting_position(self, key: StateKey) -> StartingPosition | None:
        """The position to begin at instead of the mapping's own where nothing is stored, if a person set one."""


class PauseStore(Protocol):
    """Which mappings a person has paused. What was stored survives whatever the process dies of."""

    async def load(self) -> frozenset[MappingName]:
        """The mappings that are paused."""

    async def pause(self, mapping: MappingName) -> None:
        """Store that the mapping is paused. Idempotent. Returns when that is durable."""

    async def resume(self, mapping: MappingName) -> None:
        """Store that the mapping is not paused. Idempotent. Returns when that is durable."""


class Target(Protocol):
    """What a function is reached through. A target is opened and closed by the composition root."""

    async def invoke(self, invocation: Invocation) -> Response:
        """Call the function once and wait for its answer, at most the function's timeout and a little.

        Never raises for anything that the function or the way to it does: that is the response.
        """


class Destination(Protocol):
    """Where invocation records are sent. A destination is opened and closed by the composition root."""

    async def deliver(self, document: Document) -> None:
        """Returns once the service has accepted the document; gives up as Unreachable after a bounded time.

        A document that is larger than the service accepts is Rejected, without a call.
        To deliver a document again, after an answer that was lost, does no harm beyond a second message.
        """


class Clock(Protocol):
    """Our time of day. Waiting goes through anyio, whose clock may be virtual; this one follows it in tests."""

    def now(self) -> float:
        """Epoch seconds."""
