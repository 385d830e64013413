"""Where does the time of a hand-over go? Every request of the workers is noted, and each hand-over is put together.

    the last call of the old worker ends, or the old worker gets SIGTERM
        ── done ──> the lease is given away ──> the next worker is offered it ──> it reads the offer ──> it takes the
        lease ──> it has an iterator ──> it has read records ──> its first call begins

A proxy stands between each worker and its two services, so that the daemon itself measures nothing. All times are in
seconds on the monotonic clock, which all processes of a host share.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import aiohttp
import orjson

from tests.e2e.worker_history import Note, changes_of_owner
from tests.fakes.http_server import Reply, Request, http_server

STEPS = (
    "the shard is done, and SIGTERM has come",
    "the lease is given away",
    "the offer is in the next worker's row",
    "the next worker has read its row",
    "the next worker has taken the lease",
    "it has an iterator",
    "it has read records",
    "its first call begins",
)
"""The steps of a hand-over, in order."""

OPERATIONS = frozenset({"PutItem", "BatchGetItem", "GetShardIterator", "GetRecords"})
"""The operations by which the steps are recognized."""

HEADERS_OF_A_HOP = frozenset({"host", "content-length", "connection", "keep-alive", "transfer-encoding"})
"""The headers that the proxy does not pass on, because they are about one connection only."""


class Exchange(NamedTuple):
    """A request that one run of a worker has sent with success, and its answer."""

    run: str
    operation: str
    request: Any
    answer: Any
    began: float
    ended: float


class HandOver(NamedTuple):
    """One shard that went from one worker to another. `at` has the time of each of the STEPS.

    `waited` is the time for which records waited, although no call of the shard ran: since the last call's end, or
    since the first record of the next call arrived.
    `age` is the age of this record when the call began.
    """

    at: tuple[float, ...]
    waited: float
    age: float

    @property
    def parts(self) -> list[float]:
        """Return the time from each step to the next one."""
        return [after - before for before, after in pairwise(self.at)]

    @property
    def without_reader(self) -> float:
        """Return for how long the lease had no owner."""
        return self.at[4] - self.at[1]


class Wire:
    """What goes between the workers and their services. `exchanges` has the requests of all workers."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    @asynccontextmanager
    async def proxy(self, run: str, target: str) -> AsyncIterator[str]:
        """Pass each request of this run on to the service at `target`. Yield the URL for the worker."""
        async with aiohttp.ClientSession(auto_decompress=False) as session:

            async def passed_on(request: Request) -> Reply:
                began = time.monotonic()
                headers = {name: text for name, text in request.headers.items() if name not in HEADERS_OF_A_HOP}
                async with session.post(target + request.target, headers=headers, data=request.body) as reply:
                    answer = await reply.read()
                operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
                if operation in OPERATIONS and reply.status == 200:
                    asked, answered = orjson.loads(request.body), orjson.loads(answer)
                    self.exchanges.append(Exchange(run, operation, asked, answered, began, time.monotonic()))
                kept = {name: text for name, text in reply.headers.items() if name.lower() not in HEADERS_OF_A_HOP}
                return Reply(status=reply.status, headers=kept, body=answer)

            async with http_server(passed_on) as server:
                yield server.url

    def answers(self) -> dict[str, list[float]]:
        """Return how long each answer has taken, by operation."""
        found: defaultdict[str, list[float]] = defaultdict(list)
        for each in self.exchanges:
            found[each.operation].append(each.ended - each.began)
        return found


def hand_overs(
    notes: Iterable[Note],
    exchanges: Sequence[Exchange],
    *,
    arrivals: Mapping[str, float],
    stopped: Mapping[str, float],
) -> list[HandOver]:
    """Return the hand-overs between the calls of a shard, without those of leases that had expired.

    `arrivals` has the time at which each record was put, `stopped` the time at which each run got SIGTERM.
    """
    found = []
    traffic = _Traffic(exchanges)
    for before, after in changes_of_owner(notes):
        steps = traffic.steps(before.worker, after)
        if steps is None or before.worker not in stopped or steps[0] < stopped[before.worker]:
            continue
        arrived = arrivals[after.numbers[0]]
        at = (max(before.at, stopped[before.worker]), *steps, after.at)
        found.append(HandOver(at, after.at - max(before.at, arrived), after.at - arrived))
    return found


def other_ages(notes: Iterable[Note], arrivals: Mapping[str, float]) -> list[float]:
    """Return the age of the first record of each call that does not follow a change of the shard's owner."""
    notes = list(notes)
    firsts = {(after.shard, after.at) for _, after in changes_of_owner(notes)}
    calls = [note for note in notes if note.what == "began" and (note.shard, note.at) not in firsts]
    return [note.at - arrivals[note.numbers[0]] for note in calls]


class _Traffic:
    """The exchanges, by their subject."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self._writes: defaultdict[tuple[str, int], list[Exchange]] = defaultdict(list)
        self._offers: defaultdict[str, list[Exchange]] = defaultdict(list)
        self._seen: defaultdict[tuple[str, str], list[Exchange]] = defaultdict(list)
        self._iterators: defaultdict[tuple[str, str], list[Exchange]] = defaultdict(list)
        self._reads: defaultdict[tuple[str, str], list[Exchange]] = defaultdict(list)
        shards: dict[str, str] = {}
        for each in sorted(exchanges, key=lambda each: each.began):
            match each.operation:
                case "PutItem":
                    self._note_write(each)
                case "BatchGetItem":
                    for item in (item for items in each.answer["Responses"].values() for item in items):
                        for key in _offers(item):
                            self._seen[each.run, key].append(each)
                case "GetShardIterator":
                    shards[each.answer["ShardIterator"]] = each.request["ShardId"]
                    self._iterators[each.run, each.request["ShardId"]].append(each)
                case "GetRecords":
                    shard = shards[each.request["ShardIterator"]]
                    if (following := each.answer.get("NextShardIterator")) is not None:
                        shards[following] = shard
                    if each.answer["Records"]:
                        self._reads[each.run, shard].append(each)

    def steps(self, giver: str, first: Note) -> list[float] | None:
        """Return the times of the steps before the next worker's first call, or None if there was no offer."""
        ends = (key for key, counter in self._writes if counter == first.token and key.endswith(f"/{first.shard}"))
        if (key := next(ends, None)) is None:
            return None
        given = next((each for each in self._writes[key, first.token - 1] if "leaseOwner" not in _item(each)), None)
        taken = next((each for each in self._writes[key, first.token] if each.run == first.worker), None)
        if given is None or given.run != giver or taken is None:
            return None
        offer = _last(self._offers[key], before=taken.began)
        seen = _first(self._seen[first.worker, key], after=given.began)
        iterator = _first(self._iterators[first.worker, first.shard], after=taken.began)
        read = _first(self._reads[first.worker, first.shard], after=taken.began)
        if offer is None or seen is None or iterator is None or read is None or seen.ended > taken.began:
            return None
        return [each.ended for each in (given, offer, seen, taken, iterator, read)]

    def _note_write(self, write: Exchange) -> None:
        item = _item(write)
        self._writes[item["leaseKey"]["S"], int(item["leaseCounter"]["N"])].append(write)
        for key in _offers(item):
            self._offers[key].append(write)


def _item(write: Exchange) -> Any:
    return write.request["Item"]


def _offers(item: Any) -> list[str]:
    details = orjson.loads(item["details"]["S"]) if "details" in item else {}
    return list(details.get("offers", ()))


def _first(exchanges: Iterable[Exchange], *, after: float) -> Exchange | None:
    return next((each for each in exchanges if each.began >= after), None)


def _last(exchanges: Iterable[Exchange], *, before: float) -> Exchange | None:
    return next((each for each in reversed(list(exchanges)) if each.ended <= before), None)
