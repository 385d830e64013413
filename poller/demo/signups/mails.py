"""Did every user get one mail? The table and the folder of mails are compared with what the daemon counted.

    stream      has a record for each time that a row is stored
    filter      accepts a record if its row came from the FIFO queue and was stored for the first time
    mail        there is one for each accepted record

If a mail is written a second time, it replaces the first one, so there is one file for each mail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

from poller.demo.books import Book, differ, unequal
from poller.demo.metrics import Metrics
from poller.demo.signups.accounting import StoredRow
from poller.demo.signups.story import WELCOME


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedMails:
    """The records that the daemon counted for the mapping `welcome`."""

    polled: int = 0
    filtered_out: int = 0
    invoked: int = 0
    failed: int = 0

    @classmethod
    def of(cls, metrics: Metrics) -> CountedMails:
        def records(what: str) -> int:
            return metrics.total(f"poller_records_{what}_total", mapping=WELCOME)

        return cls(
            polled=records("polled"),
            filtered_out=records("filtered_out"),
            invoked=records("invoked"),
            failed=records("failed"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MailBook(Book):
    """`invited` are the addresses that should get a mail, and `mails` is the address of each mail.

    `stored` are the rows of both queues in the table.
    """

    invited: frozenset[str]
    stored: Sequence[StoredRow]
    mails: Sequence[str]
    counted: CountedMails

    @property
    def name(self) -> str:
        return "users table"

    @property
    def done(self) -> int:
        return len(self.mails)

    @property
    def total(self) -> int:
        return len(self.invited)

    @property
    def news(self) -> str:
        return f"{len(self.mails)} welcomed by mail"

    @property
    def changes(self) -> int:
        """Return the number of writes to the table. A row that was stored twice counts twice."""
        return sum(row.times_stored for row in self.stored)

    def faults(self) -> Iterator[str]:
        counted, mails = self.counted, len(self.mails)
        yield from unequal("mails", frozenset(self.mails), self.invited)
        yield from differ("mails to an address that has one", mails - len(set(self.mails)), 0)
        yield from differ("records that the daemon polled", counted.polled, self.changes)
        yield from differ("records that the daemon filtered out", counted.filtered_out, self.changes - mails)
        yield from differ("records that the function took", counted.invoked - counted.failed, mails)


def read_mails(folder: Path) -> list[str]:
    """Return the address of each mail in the folder."""
    return [str(message_from_bytes(file.read_bytes())["To"]) for file in sorted(folder.glob("*.eml"))]
