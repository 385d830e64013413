"""What does the part `signups` do? A CSV of users goes through a bucket, a function and two queues into a table.

From the table's stream, each user gets a mail."""

from __future__ import annotations

import json
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
from poller.demo.signups.stage import BUCKET, COMPANIES, CSV_EVENTS, DONE, FAILED, INCOMING, USERS, Stage
from poller.demo.signups.story import FIFO, PROCESS_CSV, QUEUES, STANDARD, Row, csv_of, expected, read_rows
from poller.demo.signups.uploads import CountedEvents, UploadBook, records_of, shortened

SAMPLE = Row(number=1001, kind="signup", name="Ada King", email="ada.king@acme.example", company="acme")
"""The row of the command lines that a user can try."""

CALLED_KEY = f"by-hand/{story.CALLED_COMPANY}.csv"


class Signups:
    """A `books.Part`. The mails go to a folder in `folder`."""

    def __init__(self, clients: Clients, folder: Path, *, api: str) -> None:
        """`api` is the address of the daemon's Invoke API."""
        self._api = api
        self.stage = Stage(clients)
        self._mails = folder / "mails"
        self._rows = read_rows()
        self._expected = expected(self._rows)
        self._invited = frozenset(row.email for row in self._rows if row.number in self._expected.stored)
        self._called = [row for row in self._rows if row.company == story.CALLED_COMPANY]
        self._incoming = [row for row in self._rows if row.company != story.CALLED_COMPANY]
        self._answered: int | None = None

    async def build(self) -> Sequence[str]:
        self._mails.mkdir()
        await self.stage.build()
        return [
            f"Bucket {BUCKET}; S3 sends a notification to the queue {CSV_EVENTS} for each file under {INCOMING}",
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
            queue_urls=" ".join(self.stage.urls[queue.name] for queue in QUEUES),
            events_arn=self.stage.arns[CSV_EVENTS],
            done_arn=self.stage.arns[DONE],
            failed_arn=self.stage.arns[FAILED],
            retry_waits=list(story.RETRY_WAITS_IN_SECONDS),
        )

    def intention(self) -> str:
        fates = self._expected
        return (
            f"Two files are uploaded, and one of them is broken; a client calls {PROCESS_CSV} for a third file.\n"
            f"  Their {len(self._rows)} rows go into each queue: {len(fates.filtered_out)} that the filter leaves out, "
            f"{len(fates.poisoned)} that always fail, {len(fates.delayed)} that fail once"
        )

    async def send(self) -> AsyncIterator[None]:
        """Upload the files. Then call process_csv for the file about which S3 sends no notification."""
        await self.stage.upload(f"{INCOMING}users.csv", csv_of(self._incoming))
        yield
        await self.stage.upload(f"{INCOMING}broken.csv", csv_of(self._incoming, without="email"))
        yield
        await self.stage.upload(CALLED_KEY, csv_of(self._called))
        self._answered = await self.stage.call(CALLED_KEY)
        yield

    async def look(self, metrics: Metrics) -> Sequence[Book]:
        uploads = UploadBook(
            rows_by_event=len(self._incoming),
            rows_by_call=len(self._called),
            answered=self._answered,
            done_records=records_of(await self.stage.bodies(DONE)),
            failed_records=records_of(await self.stage.bodies(FAILED)),
            counted=CountedEvents.of(metrics),
        )
        accounts = [
            Account(
                queue=queue.name,
                is_fifo=queue.is_fifo,
                sent=uploads.rows_sent,
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
        return [uploads, *accounts, mails]

    def tables(self, books: Sequence[Book]) -> Sequence[Table]:
        accounts = [book for book in books if isinstance(book, Account)]
        return [
            *(tables.uploads(book) for book in books if isinstance(book, UploadBook)),
            tables.queues(accounts),
            *(tables.mails(book) for book in books if isinstance(book, MailBook)),
        ]

    def story(self, books: Sequence[Book]) -> Sequence[str]:
        return [
            f"The queue {FAILED} holds the invocation record of broken.csv; without the event and the stack trace, it "
            f"says:\n{json.dumps(shortened(record), indent=2)}"
            for book in books
            if isinstance(book, UploadBook)
            for record in book.failed_records
        ]

    def invitation(self) -> Sequence[str]:
        urls = self.stage.urls
        send = f"--message-body {shlex.quote(SAMPLE.body())}"
        row = shlex.quote(f'{{":row": {{"N": "{SAMPLE.number}"}}}}')
        event = json.dumps({"Records": [{"s3": {"bucket": {"name": BUCKET}, "object": {"key": CALLED_KEY}}}]})
        return [
            f"echo {shlex.quote(event)} | aws lambda invoke --endpoint-url http://{self._api} "
            f"--function-name {PROCESS_CSV} --log-type Tail --payload fileb:///dev/stdin /dev/stdout",
            f"{AWS_SQS} send-message --queue-url {urls[STANDARD.name]} {send}",
            f"{AWS_SQS} send-message --queue-url {urls[FIFO.name]} --message-group-id {SAMPLE.company} "
            f"--message-deduplication-id {SAMPLE.number} {send}",
            f"aws dynamodb scan --table-name {USERS} --filter-expression 'csv_row = :row' "
            f"--expression-attribute-values {row}",
            f"until cat {shlex.quote(str(self._mails))}/{SAMPLE.email}.eml; do sleep 1; done",
            f"{AWS_SQS} receive-message --queue-url {urls[STANDARD.dead_letter_queue]} --max-number-of-messages 10",
        ]
