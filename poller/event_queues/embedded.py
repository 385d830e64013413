"""How are events stored without an AWS service? In one SQLite file, which several processes of one host may share.

    put, take, extend, put_back, remove ──> one thread, many jobs in one transaction (`jobs.py`) ──> the file
    a take that finds no event          ──> waits until it may find one (`waking.py`)

A put returns when the events are on the disk, so they survive `kill -9` and a loss of power.
A claim has a deadline, so other processes can take the events of a dead process. The claim names its process by 128
random bits.
If a take is cancelled while the thread claims events for it, these claims end at once.
All processes use the clock of the host. If a person sets the clock forward, claims end early, and a function may be
invoked twice with an event. If a person sets the clock back, events wait longer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from functools import partial
from itertools import count as counter
from math import inf
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

import anyio
from anyio import CancelScope, to_thread

from poller.errors import QueueFull, Rejected, Unreachable
from poller.event_queues import remembered, rows
from poller.event_queues.jobs import RETRY_AFTER_IN_SECONDS, Change, Job, Look, Put, Remove, Room, perform
from poller.event_queues.notation import rest_of
from poller.event_queues.rows import Claimed
from poller.event_queues.schema import shared
from poller.event_queues.waking import Waking
from poller.model.event import CLAIM_IN_SECONDS, Event, EventQueueDepth, RememberedQueue, TakenEvent
from poller.model.ids import FunctionName
from poller.ports import Clock
from poller.sqlite.kind import translated, watched
from poller.sqlite.writer import Writer

OVERHEAD_IN_BYTES = 500
"""About how many bytes of the file an event needs in addition to its payload."""

LARGE_REST_IN_BYTES = 4096
"""An event that is put back with a longer `rest` than this has grown: it contains an answer for its destinations."""


class EmbeddedEventQueue:
    """Implements `ports.EventQueue` in a file. The file is open inside an `async with` block.

    Entering the block raises SettingsError if the file is not usable, and CannotStore if it cannot be used now.
    `kept_copy` is the path of the copy if opening has migrated the file, None otherwise.
    """

    def __init__(
        self, path: Path, *, clock: Clock, maximum_bytes: int, claim_in_seconds: float = CLAIM_IN_SECONDS
    ) -> None:
        self._path = path
        self._clock = clock
        self._maximum_bytes = maximum_bytes
        self._claim_in_seconds = claim_in_seconds
        self._owner = token_hex(16)
        self._takes = counter(1)
        self._waking = Waking(self._next_free, clock)
        self.kept_copy: Path | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            opened = ExitStack()
            stack.push_async_callback(_close, opened)
            file = await to_thread.run_sync(opened.enter_context, shared(self._path, self._has_migrated))
            self._room = Room(self._path, maximum_bytes=self._maximum_bytes)
            self._writer: Writer[Job] = Writer(file, partial(perform, room=self._room), watched(self._path))
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(self._writer.run)
            stack.callback(self._writer.close)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(self._waking.run)
            stack.callback(tasks.cancel_scope.cancel)
            self._stack = stack.pop_all()
        return self

    def _has_migrated(self, kept_copy: Path) -> None:
        self.kept_copy = kept_copy

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the queue, with or without an error in the block."""
        await self._stack.aclose()

    async def put(self, events: Sequence[Event]) -> None:
        """Store all events or none, and return once they are on the disk."""
        if any(len(event.payload) > self._maximum_bytes for event in events):
            text = f"an event has more bytes than {self._path} may have"
            raise Rejected(text, code="EventTooLarge")
        size_in_bytes = sum(OVERHEAD_IN_BYTES + len(event.payload) for event in events)
        try:
            await self._do(Put(size_in_bytes=size_in_bytes, events=events))
        except Rejected as error:
            if not error.code.startswith(("SQLITE_FULL", "SQLITE_IOERR")):  # the file is at fault, not the event
                raise Unreachable(str(error), code=error.code, was_sent=False) from error
            raise QueueFull(str(error), code=error.code, retry_after=RETRY_AFTER_IN_SECONDS) from error
        for event in events:
            self._waking.stored(event.function, free_at=event.due_at)

    async def take(self, function: FunctionName, *, count: int, wait_in_seconds: float) -> list[TakenEvent]:
        """Claim up to `count` due events. If none is due, wait for the first one, at most `wait_in_seconds`."""
        assert count > 0
        until = anyio.current_time() + wait_in_seconds
        while True:
            with self._waking.waiting(function) as woken:
                taken, next_free_at = await self._take(function, count)
                if taken or anyio.current_time() >= until:
                    return taken
                self._waking.stored(function, free_at=next_free_at)
                with anyio.move_on_after(until - anyio.current_time()) as waited:
                    await woken.wait()
                if waited.cancelled_caught:
                    return []

    async def extend(self, taken: TakenEvent, *, by_seconds: float) -> TakenEvent | None:
        """Extend the claim: it ends `by_seconds` from now. Return None if the claim is lost."""
        claimed, until = Claimed.of(taken), self._clock.now() + by_seconds

        def extend(file: sqlite3.Connection) -> bool:
            return rows.extend(file, claimed, until=until)

        is_ours = await self._do(Change(size_in_bytes=OVERHEAD_IN_BYTES, work=extend, is_durable=False))
        return replace(taken, claimed_until=until) if is_ours else None

    async def put_back(self, taken: TakenEvent, event: Event) -> None:
        """Store the changed event, and end the claim. Raises QueueFull if the event has grown and the disk is full."""
        assert (event.request_id, event.function) == (taken.event.request_id, taken.event.function)
        rest = rest_of(event)

        def put_back(file: sqlite3.Connection) -> None:
            if len(rest) > LARGE_REST_IN_BYTES:
                self._room.check_disk()
            rows.put_back(file, Claimed.of(taken), event, rest)

        await self._do(Change(size_in_bytes=OVERHEAD_IN_BYTES + len(rest), work=put_back, is_durable=True))
        self._waking.stored(event.function, free_at=event.due_at)

    async def remove(self, taken: TakenEvent) -> None:
        """Remove the event durably. Do nothing if the claim is lost."""
        await self._do(Remove(size_in_bytes=OVERHEAD_IN_BYTES, claimed=Claimed.of(taken)))

    async def depth(self, function: FunctionName) -> EventQueueDepth:
        """Return how many events of the function are in the file."""
        depth: EventQueueDepth = await self._do(
            Look(size_in_bytes=None, work=partial(rows.depth, function=function, now=self._clock.now()))
        )
        return depth

    async def functions(self) -> frozenset[FunctionName]:
        """Return the functions that have events in the file. Some may not be in the settings any more."""
        functions: frozenset[FunctionName] = await self._do(Look(size_in_bytes=None, work=rows.functions))
        return functions

    async def remember(self, queue: RememberedQueue) -> None:
        """Store durably that this SQS queue has the events of its function."""
        await self._do(_durable(partial(remembered.remember, queue=queue)))

    async def remembered(self) -> list[RememberedQueue]:
        """Return the SQS queues that are not forgotten."""
        queues: list[RememberedQueue] = await self._do(Look(size_in_bytes=None, work=remembered.remembered))
        return queues

    async def forget(self, queue: RememberedQueue) -> None:
        """Forget this SQS queue durably."""
        await self._do(_durable(partial(remembered.forget, arn=queue.arn, function=queue.function)))

    async def _take(self, function: FunctionName, count: int) -> tuple[list[TakenEvent], float]:
        """Return the taken events, and the time when the next event may be taken if none was taken."""
        now, claim = self._clock.now(), f"{self._owner}-{next(self._takes)}"

        def take(file: sqlite3.Connection) -> tuple[list[TakenEvent], float]:
            until = now + self._claim_in_seconds
            taken = rows.take(file, function, claim=claim, count=count, now=now, until=until)
            return taken, now if taken else rows.next_free(file, [function]).get(function, inf)

        job = Change(size_in_bytes=OVERHEAD_IN_BYTES, work=take, is_durable=False)
        try:
            answer: tuple[list[TakenEvent], float] = await self._do(job)
        except anyio.get_cancelled_exc_class():
            if job.is_begun:
                await self._release(function, job)
            raise
        return answer

    async def _release(self, function: FunctionName, take: Change) -> None:
        """End the claims of a take that was cancelled."""
        with CancelScope(shield=True):
            await take.is_done.wait()
            taken = [] if take.fault else take.answer[0]
            if taken:
                release = partial(rows.release, taken=taken)
                await self._do(Change(size_in_bytes=OVERHEAD_IN_BYTES, work=release, is_durable=False))
                self._waking.stored(function, free_at=self._clock.now())

    async def _next_free(self, functions: Collection[FunctionName]) -> Mapping[FunctionName, float]:
        found: Mapping[FunctionName, float] = await self._do(
            Look(size_in_bytes=None, work=partial(rows.next_free, functions=functions))
        )
        return found

    async def _do(self, job: Job) -> Any:
        with translated(self._path):
            return await self._writer.wait_for(job)


def _durable(work: Callable[[sqlite3.Connection], Any]) -> Change:
    return Change(size_in_bytes=OVERHEAD_IN_BYTES, work=work, is_durable=True)


async def _close(file: ExitStack) -> None:
    with CancelScope(shield=True):
        await to_thread.run_sync(file.close)
