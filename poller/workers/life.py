"""How does one process of a worker live, as its parent sees it?

    start ── the first report ──> at work, with a report each second ── its exit ──> over
      └── it exits before its first report, for example because the state file is damaged

Each process has a session of its own. So a terminal's Ctrl-C reaches only the parent, and the parent passes it on once.
A process that reports nothing for a long time is killed, because its event loop does not turn any more.
The process cannot log this itself, so `killed_because` says why the parent has killed it.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import IO

import anyio
from anyio.abc import Process

from poller.model.lease import Owner
from poller.telemetry.whole_writes import write_whole
from poller.workers.channel import Channel, EndOfChannel
from poller.workers.lines import write_lines
from poller.workers.membership import DIED, HURRY, REPORT, STOP, Membership
from poller.workers.report import Report, decoded

LONGEST_SILENCE_IN_SECONDS = 60.0
"""How long a worker may report nothing before it is killed. A host that swaps may delay a report for seconds."""

SECOND_LOOK_IN_SECONDS = 5.0
"""How much longer the parent waits after that silence, before it kills the worker.

The parent itself may have been stopped, and reports may wait to be read.
"""

LAST_WORDS_IN_SECONDS = 2.0
"""How long the log and the last report are read after the exit."""

OpenChannel = Callable[[int], Membership]
"""Returns the membership of the process whose end of the channel has this descriptor."""


class Life:
    """One process of a worker. `report` is its last report, or None before the first one.

    `reported_at` is the time of this report on anyio's clock.
    `killed_because` is why the parent has killed the process, or empty if the parent has not.
    """

    def __init__(self) -> None:
        self.killed_because = ""
        self.report: Report | None = None
        self.pid: int | None = None
        self.started = anyio.Event()
        self.over = anyio.Event()
        self.reported_at = 0.0
        self._must_stop = False
        self._answered = anyio.Event()
        self._questions = 0
        self._channel: Channel | None = None
        self._process: Process | None = None

    async def run(
        self,
        command: Sequence[str],
        member: OpenChannel,
        settings: bytes,
        listeners: Sequence[socket.socket],
        log: IO[bytes],
    ) -> int:
        """Start the process, and return its exit status when it has ended. Raises OSError if it cannot be started.

        The process reads `settings` from its stdin. If this is cancelled, the process is killed.
        """
        try:
            ours, theirs = socket.socketpair()
            self._channel = Channel(ours)
            with theirs:
                descriptors = [theirs.fileno(), *(listener.fileno() for listener in listeners)]
                process = await anyio.open_process(
                    [*command, "--as-worker", str(member(theirs.fileno()))],
                    stdin=subprocess.PIPE,
                    stdout=None,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                    pass_fds=descriptors,
                )
            async with process:
                self._process, self.pid = process, process.pid
                if self._must_stop:
                    self.stop()
                return await self._attended(process, settings, log)
        finally:
            if self._channel is not None:
                self._channel.close()
                self._channel = None
            self.over.set()
            self._answered.set()

    def ask(self) -> int:
        """Ask for a report, and return the number of the question."""
        self._questions += 1
        self._tell(REPORT + b"%d" % self._questions)
        return self._questions

    async def until_answered(self, question: int) -> None:
        """Wait for the report that answers this question, or for the end of the process."""
        while not self.over.is_set() and (self.report is None or self.report.answers < question):
            await self._answered.wait()

    def stop(self) -> None:
        """Tell the process to stop. If the process does not exist yet, tell it when it starts."""
        self._must_stop = True
        self._tell(STOP)
        if not self.started.is_set():
            self._signal(signal.SIGTERM)  # it does not read the channel yet

    def hurry(self) -> None:
        self._tell(HURRY)

    def tell_death(self, owner: Owner) -> None:
        """Tell the process that another worker has ended. `owner` is that worker's name in the table of leases."""
        self._tell(DIED + owner.encode())

    def kill(self, why: str) -> None:
        """Kill the process. Only the first reason is kept."""
        self.killed_because = self.killed_because or why
        self._signal(signal.SIGKILL)

    def _tell(self, message: bytes) -> None:
        """Send a short message. A process that has ended, or that does not read, misses it."""
        if self._channel is not None:
            with suppress(EndOfChannel):
                self._channel.send_nowait(message)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _attended(self, process: Process, settings: bytes, log: IO[bytes]) -> int:
        assert process.stderr is not None, "it is a pipe"
        assert self._channel is not None, "it is open"

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            tasks.start_soon(_hand, process, settings)
            async with anyio.create_task_group() as readers:
                readers.start_soon(write_lines, process.stderr, partial(write_whole, log))
                readers.start_soon(self._read, self._channel)
                status = await process.wait()
                readers.cancel_scope.deadline = anyio.current_time() + LAST_WORDS_IN_SECONDS
            tasks.cancel_scope.cancel()
        return status

    async def _read(self, channel: Channel) -> None:
        with suppress(EndOfChannel):
            while True:
                self.report = decoded(await channel.receive())
                self.reported_at = anyio.current_time()
                self.started.set()
                self._answered.set()
                self._answered = anyio.Event()

    async def _watch(self) -> None:
        """Kill the process if it is silent for too long."""
        await self.started.wait()
        while True:
            if not await self._reports_within(LONGEST_SILENCE_IN_SECONDS) and not await self._reports_within(
                SECOND_LOOK_IN_SECONDS
            ):
                silence = LONGEST_SILENCE_IN_SECONDS + SECOND_LOOK_IN_SECONDS
                self.kill(f"it did not report for {silence:g} s")

    async def _reports_within(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds) as waiting:
            await self._answered.wait()
        return not waiting.cancelled_caught


async def _hand(process: Process, settings: bytes) -> None:
    """Send the settings, and close the pipe. If the process ends before it has read them, its exit status says why."""
    assert process.stdin is not None, "it is a pipe"
    with suppress(anyio.BrokenResourceError, OSError):
        await process.stdin.send(settings)
    await process.stdin.aclose()


def command_line() -> list[str]:
    """Return the command line of this process. The parent starts its workers with the same command line."""
    return [sys.executable, *sys.orig_argv[1:]]
