"""When is it over? When every row has met its fate and the numbers add up, or when nothing moves any more."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from poller.demo.accounting import Account
from poller.demo.daemon import Daemon, counted
from poller.demo.emulator import Emulator
from poller.demo.processes import must_run
from poller.demo.screen import Bars, Lines
from poller.demo.stage import MESSAGES_PER_CALL, Stage
from poller.demo.story import QUEUES, Row, expected

LOOK_EVERY_SECONDS = 0.4
NOTHING_MOVES_AFTER_SECONDS = 15.0
"""Several visibility timeouts: whatever would come again has come."""

LONGEST_WATCH_IN_SECONDS = 90.0


class Watch:
    """Sends the rows, and looks on until they have all met their fate."""

    def __init__(
        self, built: Stage, running: Daemon, aws: Emulator, rows: Sequence[Row], progress: Bars | Lines
    ) -> None:
        self._built = built
        self._running = running
        self._aws = aws
        self._rows = rows
        self._expected = expected(rows)
        self._progress = progress
        self._sent = {queue.name: 0 for queue in QUEUES}

    async def until_settled(self) -> list[Account]:
        """The books at the end: they add up, or nothing has moved for a while, or it took too long."""
        await self._send()
        began = moved = anyio.current_time()
        accounts: list[Account] = []
        while True:
            before, accounts = accounts, await self._look()
            now = anyio.current_time()
            if accounts != before:
                moved = now
            is_hopeless = now - moved > NOTHING_MOVES_AFTER_SECONDS or now - began > LONGEST_WATCH_IN_SECONDS
            if is_hopeless or all(account.is_settled for account in accounts):
                return accounts
            await anyio.sleep(LOOK_EVERY_SECONDS)

    async def _send(self) -> None:
        """Ten rows to each queue, again and again; a look now and then, for the eye."""
        looked = anyio.current_time()
        for start in range(0, len(self._rows), MESSAGES_PER_CALL):
            for queue in QUEUES:
                self._sent[queue.name] += await self._built.send(queue, self._rows[start : start + MESSAGES_PER_CALL])
            if anyio.current_time() - looked > LOOK_EVERY_SECONDS:
                await self._look()
                looked = anyio.current_time()

    async def _look(self) -> list[Account]:
        must_run(self._aws.process, "the emulator", self._aws.log)
        held = [await self._built.held(queue) for queue in QUEUES]
        metrics = await self._running.metrics()
        accounts = [
            Account(
                queue=queue.name,
                is_fifo=queue.is_fifo,
                sent=self._sent[queue.name],
                expected=self._expected,
                held=held_now,
                counted=counted(metrics, queue.mapping),
            )
            for queue, held_now in zip(QUEUES, held, strict=True)
        ]
        self._progress.show(accounts)
        return accounts
