"""What happens, step by step?

    emulator ── queues and tables ── settings file ── daemon ── rows into both queues ── watch ── table, verdict ── end

It ends by itself when every row has met its fate and the numbers add up, or when nothing moves any more.
Each step is a block that ends what it began, so a signal at any time takes the same way out: the daemon first (with
its functions), then the emulator, then the files.

    exit code   0            the numbers add up
                1            they do not, or something failed
                128 + signal cut short; with `keep`, a signal after the verdict is the usual end
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio

from poller.demo.accounting import Account, discrepancies
from poller.demo.daemon import Daemon, daemon, free_address, settings
from poller.demo.emulator import Emulator, emulator
from poller.demo.processes import DemoError, environment_of_the_demo, must_run, tail
from poller.demo.screen import Screen
from poller.demo.stage import Stage, stage
from poller.demo.story import QUEUES, expected, read_rows
from poller.demo.watch import Watch
from poller.errors import ServiceError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(*, keep: bool) -> int:
    """Give the tour; returns the exit code. `keep` leaves everything running after it, until a signal."""
    return anyio.run(_until_signal, keep)


async def _until_signal(keep: bool) -> int:
    screen = Screen()
    with (
        environment_of_the_demo(),
        folder(keep=keep) as place,
        anyio.open_signal_receiver(*SIGNALS) as signals,
    ):
        tour = Tour(screen, place, keep=keep)
        async with anyio.create_task_group() as group:
            group.start_soon(tour.give, group.cancel_scope)
            cut_short_by = await anext(signals)
            group.cancel_scope.cancel()
    if tour.exit_code is not None:
        return tour.exit_code
    screen.failed(f"Cut short by {cut_short_by.name}; everything was stopped.")
    return 128 + cut_short_by


@contextmanager
def folder(*, keep: bool) -> Iterator[Path]:
    """A folder for the demo's files, which stay if `keep`."""
    place = Path(tempfile.mkdtemp(prefix="poller-demo-"))
    try:
        yield place
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)


class Tour:
    """One tour. `exit_code` is None until the verdict."""

    def __init__(self, screen: Screen, place: Path, *, keep: bool) -> None:
        self.exit_code: int | None = None
        self._screen = screen
        self._place = place
        self._keep = keep
        self._began = time.monotonic()

    async def give(self, scope: anyio.CancelScope) -> None:
        """From the first step to the last; then cancels the scope."""
        try:
            await self._steps()
        except (DemoError, ServiceError) as error:
            self._screen.failed(str(error))
            self.exit_code = 1
        scope.cancel()

    async def _steps(self) -> None:
        screen, place = self._screen, self._place
        async with emulator(place) as aws, stage(aws.url) as built:
            screen.step(f"An emulator of SQS and DynamoDB runs at {aws.url}")
            for queue in QUEUES:
                screen.step(f"Queue {queue.name}, with the dead-letter queue {queue.dead_letter_queue}")
            file = place / "poller.toml"
            address = free_address()
            file.write_text(settings(aws.url, address), encoding="utf-8")
            screen.settings(file, file.read_text(encoding="utf-8"))
            async with daemon(file, address) as running:
                await running.ready()
                screen.step(f"The daemon reads both queues; its log is {running.log}")
                accounts = await self._send_and_watch(built, running, aws)
                self._tell(accounts, running)
                if self._keep:
                    screen.invitation(aws.url, address, built.urls, place)
                    await running.process.wait()
                    must_run(running.process, "the daemon", running.log)

    async def _send_and_watch(self, built: Stage, running: Daemon, aws: Emulator) -> list[Account]:
        rows = read_rows()
        fates = expected(rows)
        self._screen.step(
            f"The {len(rows)} rows of users.csv go into each queue: {len(fates.filtered_out)} for the filter to drop, "
            f"{len(fates.poisoned)} that always fail, {len(fates.delayed)} that fail once"
        )
        with self._screen.progress() as progress:
            return await Watch(built, running, aws, rows, progress).until_settled()

    def _tell(self, accounts: Sequence[Account], running: Daemon) -> None:
        faults = [fault for account in accounts for fault in discrepancies(account)]
        if faults:
            self._screen.step(f"The end of the daemon's log:\n{tail(running.log)}")
        self._screen.table(accounts)
        self._screen.verdict(faults, time.monotonic() - self._began)
        self.exit_code = 1 if faults else 0
