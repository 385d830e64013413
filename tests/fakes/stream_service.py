"""What do the fakes of Kinesis and DynamoDB Streams have in common? Calls with faults, and iterators that expire.

    source ──call──> FakeStreamService ──(faults, latency)──> FakeStream

A service is a `Client` like the clients of aws/. So the real sources run over it, and contract tests use it like an
emulator. Requests and answers are converted to JSON and back. `tests/fakes/stream.py` says how a stream behaves, and
`faults.py` which calls fail.

An iterator contains its place and the time of its issue, so it can be used twice: after a lost answer, the same read
returns the same records. If an answer is lost, the history has `answer_lost`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple

import anyio
import orjson

from poller.errors import AccessDenied, ExpiredIterator, NotFound, Rejected, ServiceError, Throttled, Unreachable
from tests.fakes.clock import EPOCH, date_header, service_clock
from tests.fakes.faults import Fault, FaultPlan
from tests.fakes.stream import FakeStream, Page

REGION = "eu-west-1"
ACCOUNT = "123456789012"


class Cursor(NamedTuple):
    """The content of an iterator."""

    stream_arn: str
    shard_id: str
    place: int
    issued_at: float

    def token(self) -> str:
        return "AAAA" + b64encode(orjson.dumps(list(self))).decode()

    @classmethod
    def of(cls, token: str) -> Cursor:
        try:
            return cls(*orjson.loads(b64decode(token.removeprefix("AAAA"))))
        except ValueError as error:
            raise Rejected("Invalid ShardIterator.", code="InvalidArgumentException") from error


class Bucket:
    """A rate limit. The calls of one second may come at the same moment. A refused call does not count."""

    def __init__(self, calls_in_a_second: float) -> None:
        self._rate = self._tokens = calls_in_a_second
        self._filled_at = 0.0

    def takes(self, now: float) -> bool:
        self._tokens = min(self._rate, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class EveryNth:
    """A limit that refuses every `n`-th call at any rate."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._calls = 0

    def takes(self, now: float) -> bool:
        self._calls += 1
        return self._calls % self._n != 0


class FakeStreamService(ABC):
    """The streams of a service, by ARN. `seed` is the seed of the streams. The faults have their own seed.

    `listings_in_a_second` limits the pages of listings, or is None. `throttled_listings` counts the refused pages.
    `epoch` is the time of day when anyio's clock shows 0. Answers have a Date header if `tells_time` is true.
    """

    iterator_lifetime_in_seconds: float
    throttling_code: str

    def __init__(
        self,
        *,
        seed: int = 0,
        faults: FaultPlan | None = None,
        epoch: float = EPOCH,
        listings_in_a_second: float | None = None,
    ) -> None:
        self.listings: Bucket | EveryNth | None = None if listings_in_a_second is None else Bucket(listings_in_a_second)
        self.throttled_listings = 0
        self.faults = faults or FaultPlan()
        self.epoch = epoch
        self.seed = seed
        self.streams: dict[str, FakeStream] = {}
        self.tells_time = True
        self.clock = service_clock()

    @property
    def date(self) -> str | None:
        """Return the Date header of an answer that is written now."""
        return date_header(self.epoch) if self.tells_time else None

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        """Answer one request. Raises only errors.ServiceError."""
        request, asked_at = orjson.loads(body), anyio.current_time()
        fault = self.faults.draw(operation, anyio.current_time())
        with anyio.move_on_after(timeout_in_seconds):
            await self._way_there(fault)
            answer = self.answer(operation, request, anyio.current_time())
            try:
                await self.faults.way_back(fault)
            except (anyio.get_cancelled_exc_class(), ServiceError):
                self._lost(operation, request, answer)
                raise
            self.clock.correct(self.date, asked_at=asked_at)
            return orjson.loads(orjson.dumps(answer))
        raise Unreachable(f"no answer within {timeout_in_seconds:g} s", code="Timeout", was_sent=True)

    @abstractmethod
    def answer(self, operation: str, request: Mapping[str, Any], now: float) -> Any:
        """Return the answer to a request that has arrived."""

    @abstractmethod
    def sequence_number(self, wire: Mapping[str, Any]) -> str:
        """Return the sequence number of a record in the answer to a read."""

    def stream(self, arn: str, now: float) -> FakeStream:
        """Return the stream as it is now."""
        stream = self.streams.get(arn)
        if stream is None:
            raise NotFound(f"Stream {arn} not found", code="ResourceNotFoundException")
        stream.settle(now)
        return stream

    def read(self, cursor: Cursor, *, limit: int, maximum_bytes: int, now: float) -> Page:
        """Return a page of a stream if the iterator is still valid."""
        stream = self.stream(cursor.stream_arn, now)
        is_too_old = now - cursor.issued_at >= self.iterator_lifetime_in_seconds
        if is_too_old or stream.randomness.random() < stream.early_expiry_rate:
            stream.refused(cursor.shard_id, "ExpiredIteratorException", now=now)
            raise ExpiredIterator("Iterator expired.", code="ExpiredIteratorException")
        return stream.read(cursor.shard_id, cursor.place, limit=limit, maximum_bytes=maximum_bytes, now=now)

    def limit_listings(self, now: float) -> None:
        """Raise Throttled if too many listings were requested, over all streams."""
        if self.listings is not None and not self.listings.takes(now):
            self.throttled_listings += 1
            raise Throttled("Rate exceeded", code="LimitExceededException")

    async def _way_there(self, fault: Fault) -> None:
        await anyio.sleep(self.faults.latency())
        match fault:
            case Fault.THROTTLED:
                raise Throttled("Rate exceeded", code=self.throttling_code)
            case Fault.UNREACHABLE:
                raise Unreachable("connection refused", code="ConnectionRefused", was_sent=False)
            case Fault.ACCESS_DENIED:
                raise AccessDenied("not authorized", code="AccessDeniedException")
            case Fault.NOT_FOUND:
                raise NotFound("no such stream, by plan", code="ResourceNotFoundException")

    def _lost(self, operation: str, request: Mapping[str, Any], answer: Any) -> None:
        if operation == "GetRecords":
            cursor = Cursor.of(request["ShardIterator"])
            numbers = [self.sequence_number(wire) for wire in answer["Records"]]
            self.streams[cursor.stream_arn].answer_lost(cursor.shard_id, numbers, now=anyio.current_time())
