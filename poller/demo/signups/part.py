"""What does the part `signups` do? It sends a CSV of users through two queues into a table, and from there a mail."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from poller.demo.books import Book, Table
from poller.demo.clients import AWS_SQS, Clients
from poller.demo.metrics import Metrics
from poller.demo.signups import story, tables
from poller.demo.signups.accounting import Account, Counted
from poller.demo.signups.mails import CountedMails, MailBook, read_mails
from poller.demo.signups.stage import COMPANIES, MESSAGES_PER_CALL, USERS, Stage
from poller.demo.signups.story import FIFO, QUEUES, STANDARD, Row, expected, read_rows

SAMPLE = Row(number=1001, kind="signup", name="Ada King", email="ada.king@acme.example", company="acme")
"""The row of the command lines that a user can try."""


class Signups:
    """A `books.Part`. The mails go to a folder in `place`."""

    def __init__(self, clients: Clients, place: Path) -> None:
        self.stage = Stage(clients)
        self._mails = place / "mails"
        self._rows = read_rows()
        self._expected = expected(self._rows)
        self._invited = frozenset(row.email for row in self._rows if row.number in self._expected.stored)
        self._sent = {queue.name: 0 for queue in QUEUES}

    async def build(self) -> Sequence[str]:
        self._mails.mkdir()
        await self.stage.build()
        return [
            *(f"Queue {queue.name}, with the dead-letter queue {queue.dead_letter_queue}" for queue in QUEUES),
            f"Table {USERS}, with a stream of its changes",
        ]

    def settings(self) -> str:
        return Template(files(__package__).joinpath("settings.toml").read_text(encoding="utf-8")).substitute(
            timeout=story.FUNCTION_TIMEOUT_IN_SECONDS,
            window=story.BATCHING_WINDOW_IN_SECONDS,
            max_receives=story.MAX_RECEIVES,
            users=USERS,
            companies=COMPANIES,
            mails=self._mails.name,
            fifo=FIFO.name,
            fifo_arn=self.stage.arns[FIFO.name],
            standard_arn=self.stage.arns[STANDARD.name],
            stream_arn=self.stage.arns[USERS],
        )

    def intention(self) -> str:
        fates = self._expected
        return (
            f"The {len(self._rows)} rows of users.csv go into each queue:\n  {len(fates.filtered_out)} for the filter "
            f"to drop, {len(fates.poisoned)} that always fail, {len(fates.delayed)} that fail once"
        )

    async def send(self) -> AsyncIterator[None]:
        """Send all rows to both queues. Each step sends ten rows to one queue."""
        for start in range(0, len(self._rows), MESSAGES_PER_CALL):
            for queue in QUEUES:
                rows = self._rows[start : start + MESSAGES_PER_CALL]
                self._sent[queue.name] += await self.stage.send(queue, rows)
                yield

    async def look(self, metrics: Metrics) -> Sequence[Book]:
        accounts = [
            Account(
                queue=queue.name,
                is_fifo=queue.is_fifo,
                sent=self._sent[queue.name],
                expected=self._expected,
                held=await self.stage.held(queue),
                counted=Counted.of(metrics, queue),
            )
            for queue in QUEUES
        ]
        mails = MailBook(
            invited=self._invited,
            stored=[row for account in accounts for row in account.held.stored],
            mails=read_mails(self._mails),
            counted=CountedMails.of(metrics),
        )
        return [*accounts, mails]

    def tables(self, books: Sequence[Book]) -> Sequence[Table]:
        accounts = [book for book in books if isinstance(book, Account)]
        return [tables.queues(accounts), *(tables.mails(book) for book in books if isinstance(book, MailBook))]

    def story(self, books: Sequence[Book]) -> Sequence[str]:
        return []

    def invitation(self) -> Sequence[str]:
        urls = self.stage.urls
        send = f"--message-body {shlex.quote(SAMPLE.body())}"
        row = shlex.quote(f'{{":row": {{"N": "{SAMPLE.number}"}}}}')
        return [
            f"{AWS_SQS} send-message --queue-url {urls[STANDARD.name]} {send}",
            f"{AWS_SQS} send-message --queue-url {urls[FIFO.name]} --message-group-id {SAMPLE.company} "
            f"--message-deduplication-id {SAMPLE.number} {send}",
            f"aws dynamodb scan --table-name {USERS} --filter-expression 'csv_row = :row' "
            f"--expression-attribute-values {row}",
            f"until cat {shlex.quote(str(self._mails))}/{SAMPLE.email}.eml; do sleep 1; done",
            f"{AWS_SQS} receive-message --queue-url {urls[STANDARD.dead_letter_queue]} --max-number-of-messages 10",
        ]
