"""How is a daemon killed at random moments of its events' lives, and does every accepted event end?

    client ── 202 ──> stored ── attempts ──> ended ──> destination, dead-letter queue ──> removed
        kill -9 at any moment, and the next daemon starts at once

One daemon has two functions with the same destinations: `embedded` has its events in the daemon's own file, `queued` in
an SQS queue, into which senders put messages too. Half of all events fail, by plan, in every attempt.
A client sends events through Lambda's Invoke API, and notes each request id that was answered with 202. If it gets no
answer, it knows nothing, and the event may exist or not.

    every accepted event       has its record in the queue of its destination: of a success, or of a failure after three
                               attempts; and a failed one has its message in the dead-letter queue
    nothing else ends          each record belongs to an event that the client has sent
    duplicates                 an event has at most one record more than the number of kills since it was accepted
    attempts                   an event of `embedded` that succeeds begins at most once in each daemon's life, and one
                               that fails at most three times; an event of `queued` as often for each of its messages,
                               because a kill between the send and the delete of a retry leaves both messages
    the file                   holds no event at the end
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import anyio
from anyio.abc import TaskGroup

from poller.demo.daemon import reserved_address
from poller.event_queues.by_hand import depths
from tests.e2e.harness import KEYS, Daemon, World, environment, until_gone
from tests.e2e.killing import left_behind
from tests.fakes.queue import FakeQueue
from tests.fakes.watch import History

LONGEST_LIFE_IN_SECONDS = 0.6
STARTING_RATE = 0.15
ACCEPTING_RATE = 0.7
LONGEST_START_IN_SECONDS = 0.8
FEWEST_ACCEPTED = 20
CLIENTS = 3
PAUSE_BETWEEN_EVENTS_IN_SECONDS = 0.02
PAUSE_WITHOUT_A_DAEMON_IN_SECONDS = 0.2
LONGEST_CATCHING_UP_IN_SECONDS = 60.0
ATTEMPTS = 3
FUNCTIONS = ("embedded", "queued")

SETTINGS = """
[functions.{function}]
handler = "tests.e2e.event_functions:consume"
environment = {{ LEDGER = "{ledger}" }}
reserved_concurrency = 2
[functions.{function}.event_invoke_config]
retry_waits_in_seconds = [0.05, 0.1]
destination_config.on_success.destination = "{succeeded}"
destination_config.on_failure.destination = "{failed}"
{event_queue}
[functions.{function}.dead_letter_config]
target_arn = "{dead}"
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """An event that was sent. `life` is the daemon's life in which it was accepted."""

    number: int
    fails: bool
    life: int
    function: str


@dataclass(slots=True)
class Summary:
    """The counts at the end of a test."""

    accepted: int = 0
    unanswered: int = 0
    from_senders: int = 0
    refused: int = 0
    succeeded: int = 0
    failed: int = 0
    repeated_records: int = 0
    repeated_dead_letters: int = 0


@dataclass(slots=True)
class Received:
    """The messages that arrived in a queue: by request id, the bodies, in the order of their arrival."""

    queue: FakeQueue
    seen: int = 0
    bodies: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))

    def catch_up(self) -> None:
        assert isinstance(self.queue.history, History)
        while self.queue.history.counts["sent"] > self.seen:
            wires = self.queue.receive(10, now=anyio.current_time(), visibility_timeout_in_seconds=43_200)
            for wire in wires:
                body = json.loads(wire["Body"])
                attributes = wire.get("MessageAttributes", {})
                in_record = body.get("requestContext", {}).get("requestId")
                self.bodies[in_record or attributes["RequestID"]["StringValue"]].append(body)
                self.seen += 1
            if not wires:
                return


class EventKilling:
    """Runs and kills the daemon again and again. `run` returns the counts at the end, or raises AssertionError."""

    def __init__(self, world: World, *, randomness: random.Random) -> None:
        self._world = world
        self._api = ""
        self._randomness = randomness
        self._life = 0
        self._number = 0
        self._ledger = world.folder / "ledger.jsonl"
        self._ledger.touch()
        world.state = "sqlite://poller.db"
        self._succeeded, self._failed, self._dead = (
            Received(world.queue(name)) for name in ("succeeded", "failed", "dead")
        )
        time_of_day = time.time() - anyio.current_time()
        self._events = world.queue("events", visibility_timeout_in_seconds=5, epoch=time_of_day)
        self._by_id: dict[str, Sent] = {}
        self._by_number: dict[int, Sent] = {}
        self._has_accepted = anyio.Event()  # of the present life
        self._possible: set[int] = set()
        self.summary = Summary()

    async def run(self, kills: int, *, killed: Callable[[], object] = lambda: None) -> Summary:
        """Kill so many daemons, or more on a machine that is so slow that they accept few events."""
        with reserved_address() as self._api:  # each daemon listens there
            self._world.options = f'api_listen = "{self._api}"'
            async with anyio.create_task_group() as group:
                sending = anyio.CancelScope()
                group.start_soon(self._send_all, sending)
                while self._life < kills or self.summary.accepted < FEWEST_ACCEPTED:
                    await self._live_until_killed(group)
                    killed()
                sending.cancel()
                await self._live_to_the_end()
        await until_gone(left_behind(self._world.folder))
        self._check()
        return self.summary

    @property
    def _settings(self) -> str:
        queue = f'event_queue_arn = "{self._events.arn}"'
        return "".join(
            SETTINGS.format(
                function=function,
                ledger=self._ledger,
                succeeded=self._succeeded.queue.arn,
                failed=self._failed.queue.arn,
                dead=self._dead.queue.arn,
                event_queue=queue if function == "queued" else "",
            )
            for function in FUNCTIONS
        )

    async def _send_all(self, sending: anyio.CancelScope) -> None:
        with sending:
            async with aiohttp.ClientSession() as session, anyio.create_task_group() as clients:
                for _ in range(CLIENTS):
                    clients.start_soon(self._send, session)

    async def _send(self, session: aiohttp.ClientSession) -> None:
        """Send one event after another, now and then as a sender that puts its message into the queue itself."""
        while True:
            await self._send_one(session)
            await anyio.sleep(self._randomness.uniform(0, 2 * PAUSE_BETWEEN_EVENTS_IN_SECONDS))

    async def _send_one(self, session: aiohttp.ClientSession) -> None:
        self._number += 1
        number, fails = self._number, self._randomness.random() < 0.5
        payload, life = json.dumps({"number": number, "fails": fails}), self._life
        self._possible.add(number)
        kind = self._randomness.choice([*FUNCTIONS, "sender"])
        if kind == "sender":
            self._world.send(self._events, payload)
            self._by_number[number] = Sent(number, fails, life, "queued")
            self.summary.from_senders += 1
            return
        url = f"http://{self._api}/2015-03-31/functions/{kind}/invocations"
        try:
            with anyio.CancelScope(shield=True), anyio.fail_after(30):
                async with session.post(url, data=payload, headers={"X-Amz-Invocation-Type": "Event"}) as answer:
                    await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            self.summary.unanswered += 1
            await anyio.sleep(PAUSE_WITHOUT_A_DAEMON_IN_SECONDS)
            return
        if answer.status == 202:
            self.summary.accepted += 1
            self._has_accepted.set()
            sent = Sent(number, fails, life, kind)
            self._by_id[answer.headers["x-amzn-RequestId"]] = sent
            self._by_number[number] = sent
        else:
            self.summary.refused += 1

    async def _live_until_killed(self, group: TaskGroup) -> None:
        async with self._daemon() as daemon:
            await self._random_moment(daemon)
            daemon.signal(signal.SIGKILL)
            assert await daemon.ended() == -signal.SIGKILL
            self._events.end_timeouts(anyio.current_time())  # else each daemon would wait for a minute
            group.start_soon(until_gone, left_behind(self._world.folder, life=self._life))

    def _daemon(self) -> Any:
        self._life += 1
        self._has_accepted = anyio.Event()
        self._world.environment = environment(KEYS, LIFE=str(self._life), FOLDER=str(self._world.folder))
        return self._world.daemon(self._settings)

    async def _random_moment(self, daemon: Daemon) -> None:
        if self._randomness.random() < STARTING_RATE:
            await anyio.sleep(self._randomness.uniform(0, LONGEST_START_IN_SECONDS))
            return
        await daemon.until_logged("daemon_started")
        if self._randomness.random() < ACCEPTING_RATE:  # on a slow machine, a daemon may die before its first answer
            with anyio.move_on_after(LONGEST_CATCHING_UP_IN_SECONDS):
                await self._has_accepted.wait()
        await anyio.sleep(self._randomness.uniform(0, LONGEST_LIFE_IN_SECONDS))

    async def _live_to_the_end(self) -> None:
        async with self._daemon() as daemon:
            await daemon.until_logged("daemon_started")
            while not self._is_all_done() and await self._is_anything_done():
                pass
            assert await daemon.stop() == 0

    def _is_all_done(self) -> bool:
        self._catch_up()
        return not self._missing()

    async def _is_anything_done(self) -> bool:
        """Wait until another message arrives. Return False if none does."""
        before = self._arrived()
        with suppress(AssertionError):
            await self._world.watch.until(lambda: self._arrived() > before, within=LONGEST_CATCHING_UP_IN_SECONDS)
        return self._arrived() > before

    def _arrived(self) -> int:
        self._catch_up()
        return sum(received.seen for received in (self._succeeded, self._failed, self._dead))

    def _catch_up(self) -> None:
        for received in (self._succeeded, self._failed, self._dead):
            received.catch_up()

    def _missing(self) -> list[str]:
        """Return what accepted events still lack."""
        records = {number: id_ for id_, number in self._numbers()}
        missing = []
        for number, sent in self._by_number.items():
            id_ = records.get(number)
            place = self._failed if sent.fails else self._succeeded
            if id_ is None or id_ not in place.bodies:
                missing.append(f"the record of event {sent}")
            elif sent.fails and id_ not in self._dead.bodies:
                missing.append(f"the dead letter of event {sent}")
        return missing

    def _numbers(self) -> Iterator[tuple[str, int]]:
        for place in (self._succeeded, self._failed):
            for id_, bodies in place.bodies.items():
                yield id_, bodies[0]["requestPayload"]["number"]

    def _check(self) -> None:
        self._catch_up()
        missing = self._missing()
        assert not missing, f"{len(missing)} are missing, such as {missing[:5]}; {self.summary}"
        began = Counter(map(tuple, map(json.loads, self._ledger.read_text().splitlines())))
        ids = dict(self._numbers())
        assert set(ids.values()) <= self._possible, "an event that nobody sent has ended"
        for id_, sent in self._by_id.items():
            assert ids[id_] == sent.number, "the 202 has another request id than the record"
        for place, condition in ((self._succeeded, "Success"), (self._failed, "RetriesExhausted")):
            for id_, bodies in place.bodies.items():
                self._check_records(id_, bodies, condition)
        for id_, bodies in self._dead.bodies.items():
            self.summary.repeated_dead_letters += len(bodies) - 1
            assert ids.get(id_) == bodies[0]["number"] or id_ not in ids
        for (id_, life), count in began.items():
            known = self._by_number.get(ids[id_]) if id_ in ids else None
            if known is not None:
                messages = 1 if known.function == "embedded" else 1 + life - known.life
                most = messages * (ATTEMPTS if known.fails else 1)
                assert count <= most, f"{known} began {count} times in life {life}"
        left = depths(self._world.folder / "poller-events.db", now=0.0)
        assert all(not (depth.waiting or depth.in_flight or depth.stuck) for depth in left.values()), left

    def _check_records(self, id_: str, bodies: list[Any], condition: str) -> None:
        number = bodies[0]["requestPayload"]["number"]
        sent = self._by_number.get(number)
        accepted = 1 if sent is None else sent.life
        assert len(bodies) <= 1 + self._life - accepted, f"{id_} has {len(bodies)} records"
        for body in bodies:
            context = body["requestContext"]
            assert context["condition"] == condition, body
            assert body["requestPayload"]["fails"] == (condition != "Success")
            if condition == "RetriesExhausted":
                assert context["approximateInvokeCount"] == ATTEMPTS
        self.summary.repeated_records += len(bodies) - 1
        if condition == "Success":
            self.summary.succeeded += 1
        else:
            self.summary.failed += 1
