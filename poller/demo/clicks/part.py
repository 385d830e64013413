"""What does the part `clicks` do? It puts clicks into a stream; a function writes down each click that it sees."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from poller.demo.books import Book, Table
from poller.demo.clicks import story, tables
from poller.demo.clicks.accounting import ClickBook, CountedClicks
from poller.demo.clicks.stage import Stage
from poller.demo.clicks.story import FAILURES, SHARDS, STREAM, Click, rounds
from poller.demo.clicks.trace import Sighting, read_trace
from poller.demo.clients import AWS_SQS, Clients
from poller.demo.metrics import Metrics

SAMPLE = Click("user-99", 1)
"""The click of the command lines that a user can try."""


class Clicks:
    """A `books.Part`. The function writes to a file in `folder`."""

    def __init__(self, clients: Clients, folder: Path) -> None:
        self.stage = Stage(clients)
        self._trace = folder / "clicks.txt"
        self._put: list[Sighting] = []

    async def build(self, shards: int = SHARDS) -> Sequence[str]:
        await self.stage.build(shards)
        return [
            f"Stream {STREAM} of {shards} shards, and a queue {FAILURES} for reports about discarded records",
        ]

    def settings(self) -> str:
        return Template(files(__package__).joinpath("settings.toml").read_text(encoding="utf-8")).substitute(
            file=self._trace.name,
            stream_arn=self.stage.arns[STREAM],
            failures_arn=self.stage.arns[FAILURES],
            batch_size=story.BATCH_SIZE,
            lanes=story.LANES,
            maximum_retry_attempts=story.MAXIMUM_RETRY_ATTEMPTS,
        )

    def intention(self) -> str:
        clicks = sum(map(len, rounds()))
        return (
            f"{clicks} clicks of {len(story.USERS)} users go into the stream; one of them is cut short and is not JSON"
        )

    async def send(self) -> AsyncIterator[None]:
        """Put the clicks into the stream. Each step puts one click of each user."""
        for clicks in rounds():
            await self.put(clicks)
            yield

    async def put(self, clicks: Sequence[Click]) -> None:
        self._put += await self.stage.put(clicks)

    async def look(self, metrics: Metrics) -> Sequence[Book]:
        return [await self.book(metrics)]

    async def book(self, metrics: Metrics) -> ClickBook:
        return ClickBook(
            put=tuple(self._put),
            seen=read_trace(self._trace),
            reported=await self.stage.reported(),
            counted=CountedClicks.of(metrics),
        )

    def tables(self, books: Sequence[Book]) -> Sequence[Table]:
        return [tables.clicks(book) for book in books if isinstance(book, ClickBook)]

    def story(self, books: Sequence[Book]) -> Sequence[str]:
        return [line for book in books if isinstance(book, ClickBook) for line in tables.failures(book)]

    def invitation(self) -> Sequence[str]:
        """Return command lines: put a click, wait until it is seen, put one that is not JSON, wait for its report."""
        return [
            _put(SAMPLE.data),
            f"until grep {SAMPLE.user} {shlex.quote(str(self._trace))}; do sleep 1; done",
            _put(SAMPLE.data[:9]),
            f"{AWS_SQS} receive-message --queue-url {self.stage.failures_url} --wait-time-seconds 20",
        ]


def _put(data: bytes) -> str:
    return (
        f"echo {shlex.quote(data.decode())} | aws kinesis put-record --stream-name {STREAM} "
        f"--partition-key {SAMPLE.user} --data fileb:///dev/stdin"
    )
