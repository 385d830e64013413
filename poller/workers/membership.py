"""What does a worker know of its parent, and what do the two say to each other?

The parent starts a worker with its own command line and one more option, which has the membership as JSON. The worker
reads its first settings from stdin (starting.py).

    parent                             worker
      │ <── report ──────────────────────┤   when it has started, and then at least once a second
      │ ── report NUMBER ──> report ─────┤   when a client asks the parent for a page
      │ ── stop, hurry ─────────────────>│   as the first and the second SIGTERM
      │ ── died OWNER ──────────────────>│   when another worker has ended: its leases are free at once
      │ <── last report ─────────────────┤   after all mappings have ended, so that no count is lost

A worker obeys its own SIGTERM, too: it stops alone, and the parent starts another one.
If the parent dies, its workers end at once, as if they were one process. On Linux the system kills them
(PR_SET_PDEATHSIG of prctl(2)); elsewhere a worker ends itself when its channel ends. Their child processes end, too.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, Self

import anyio
import orjson

from poller.model.lease import Owner
from poller.workers.channel import Channel, EndOfChannel
from poller.workers.report import Report, encoded

STOP = b"stop"
HURRY = b"hurry"
REPORT = b"report "
DIED = b"died "

MakeReport = Callable[[int], Report]
"""Returns a report that answers the question with this number."""


class Obeying(Protocol):
    """The actions of a worker that its parent can order."""

    def begin_stop(self) -> None: ...

    def hurry(self) -> None: ...

    def died(self, owner: Owner) -> None:
        """Take over from another worker of this daemon whose process has ended."""
        ...


LONGEST_PAUSE_IN_SECONDS = 1.0
"""The longest time between two reports. The counts since the last report are lost if the worker is killed."""

PART_OF_TIME = 0.01
"""The largest part of the time that a worker uses for reports that nobody has asked for."""

LAST_REPORT_IN_SECONDS = 5.0
"""How long a worker waits for a parent that does not read the last report."""

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The facts that a worker gets from its parent when it starts. `number` is the worker's number, from 1 to `of`.

    `folder` has the worker's socket and the copy of the file. `channel` and `api_listeners` are file descriptors.
    `has_colors` says whether the log is written to a terminal.
    """

    number: int
    of: int
    folder: str
    channel: int
    api_listeners: tuple[int, ...] = ()
    has_colors: bool = False

    @classmethod
    def parsed(cls, text: str) -> Self:
        values = orjson.loads(text)
        return cls(**values | {"api_listeners": tuple(values["api_listeners"])})

    def __str__(self) -> str:
        return orjson.dumps(asdict(self)).decode()

    @property
    def socket_path(self) -> Path:
        """Return where the worker answers the requests of its parent and of the other workers."""
        return socket_path(Path(self.folder), self.number)

    @property
    def settings_copy(self) -> Path:
        """Return the copy of the settings file that all workers read when they reload."""
        return Path(self.folder, SETTINGS_COPY)

    def sockets(self) -> Sequence[socket.socket]:
        """Return the sockets where the worker serves Lambda's API. Call it once."""
        listeners = [socket.socket(fileno=descriptor) for descriptor in self.api_listeners]
        for listener in listeners:
            listener.setblocking(False)
        return listeners


SETTINGS_COPY = "settings.toml"


def socket_path(folder: Path, number: int) -> Path:
    return folder / str(number)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Parent:
    """The worker's link to its parent.

    `pause_in_seconds` is the time between two reports if the parent asks for none.
    """

    def __init__(
        self, membership: Membership, *, die: Callable[[], None] = _die, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`die` is called when the parent has ended, and ends this process."""
        self._channel = Channel(socket.socket(fileno=membership.channel))
        self._die = die
        self._now = now
        self._answers = 0
        self.pause_in_seconds = 0.0

    async def attend(self, obeying: Obeying, make: MakeReport) -> None:
        """Send reports and obey the parent, until cancelled."""
        try:
            await self._report(make)
            while True:
                message = None
                with anyio.move_on_after(self.pause_in_seconds):
                    message = await self._channel.receive()
                if message == STOP:
                    obeying.begin_stop()
                elif message == HURRY:
                    obeying.hurry()
                elif message is not None and message.startswith(DIED):
                    obeying.died(Owner(message.removeprefix(DIED).decode()))
                else:
                    if message is not None:
                        self._answers = int(message.removeprefix(REPORT))
                    await self._report(make)
        except EndOfChannel:
            self._die()

    async def say_last(self, make: MakeReport) -> None:
        """Send the last report."""
        with anyio.move_on_after(LAST_REPORT_IN_SECONDS, shield=True):
            try:
                await self._channel.send(encoded(make(self._answers)))
            except EndOfChannel:
                self._die()

    async def _report(self, make: MakeReport) -> None:
        begun_at = self._now()
        message = encoded(make(self._answers))
        taken = self._now() - begun_at
        self.pause_in_seconds = max(LONGEST_PAUSE_IN_SECONDS, taken / PART_OF_TIME)
        with anyio.CancelScope(shield=True):  # a part of the message may be sent, and no other message can follow it
            await self._channel.send(message)


def end_with_parent() -> None:
    """Ask the system to kill this process when its parent ends. Only Linux can do this."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
