"""Which files are uploaded, which rows go into the queues, and what should happen to each?

The rows of the example's `users.csv` are uploaded in two files. One file has the rows of one company; a client names
this file in a call of process_csv. The other file has all other rows; S3 sends a notification about it to process_csv.
A third file is broken.
process_csv sends every row into both queues as a JSON body. The message group of a row is its company.

    kind is not "signup"     filtered out: the function never sees it
    email without an "@"     poisoned: every attempt fails, and the row ends in the dead-letter queue
    email with "@grey."      delayed: the first attempt fails, and the next one stores the row
    any other row            stored

From the FIFO queue, the rows of a company are stored in the order of the CSV, and the delayed rows too.
So a user is stored twice, once from each queue. Only a row from the FIFO queue causes a mail.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from poller.model.ids import FunctionName, MappingName

VISIBILITY_TIMEOUT_IN_SECONDS = 3
"""The visibility timeout of the queues.

It is so short that a poisoned row uses up its attempts (MAX_RECEIVES) in about ten seconds.
"""

FUNCTION_TIMEOUT_IN_SECONDS = 2
BATCHING_WINDOW_IN_SECONDS = 1
"""The function's timeout and the batching window together must fit into the visibility timeout."""

WELCOME = MappingName("welcome")
"""The mapping that reads the table's stream."""

PROCESS_CSV = FunctionName("process_csv")
"""The function that reads uploaded files."""

RETRY_WAITS_IN_SECONDS = (0.5, 1)
"""The waits before the retries of an event. AWS waits for one and for two minutes."""

ATTEMPTS = 1 + len(RETRY_WAITS_IN_SECONDS)

CALLED_COMPANY = "tundra"
"""The company whose rows are in the file that a client names in its call."""

MAX_RECEIVES = 3
"""The redrive policies' `maxReceiveCount`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the CSV; `number` counts from 1."""

    number: int
    kind: str
    name: str
    email: str
    company: str

    @property
    def is_filtered_out(self) -> bool:
        return self.kind != "signup"

    @property
    def is_poisoned(self) -> bool:
        return not self.is_filtered_out and "@" not in self.email

    @property
    def is_delayed(self) -> bool:
        return not self.is_filtered_out and "@grey." in self.email

    @property
    def fields(self) -> dict[str, object]:
        """Return the columns of an uploaded file."""
        return {
            "row": self.number,
            "kind": self.kind,
            "name": self.name,
            "email": self.email,
            "company": self.company,
        }

    def body(self) -> str:
        """Return the body of the row's message, as process_csv makes it."""
        return json.dumps(self.fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue of the demo, with the mapping that reads it."""

    name: str
    mapping: MappingName

    @property
    def is_fifo(self) -> bool:
        return self.name.endswith(".fifo")

    @property
    def dead_letter_queue(self) -> str:
        return "failed-rows.fifo" if self.is_fifo else "failed-rows"


FIFO = Queue(name="buffer-queue.fifo", mapping=MappingName("in_order"))
STANDARD = Queue(name="buffer-queue", mapping=MappingName("side_by_side"))
QUEUES = (FIFO, STANDARD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The places where each row should be at the end.

    Each set has the numbers of rows, and `stored` includes `delayed`.
    """

    filtered_out: frozenset[int]
    poisoned: frozenset[int]
    stored: frozenset[int]
    delayed: frozenset[int]

    @property
    def rows(self) -> int:
        return len(self.filtered_out) + len(self.poisoned) + len(self.stored)


def read_rows() -> list[Row]:
    """Return the rows of `users.csv`, in the order of the file."""
    text = files("poller.examples.signup").joinpath("users.csv").read_text(encoding="utf-8")
    return [Row(number=number, **row) for number, row in enumerate(csv.DictReader(text.splitlines()), start=1)]


def expected(rows: Sequence[Row]) -> Expected:
    filtered_out = frozenset(row.number for row in rows if row.is_filtered_out)
    poisoned = frozenset(row.number for row in rows if row.is_poisoned)
    stored = frozenset(row.number for row in rows) - filtered_out - poisoned
    delayed = frozenset(row.number for row in rows if row.is_delayed)
    return Expected(filtered_out=filtered_out, poisoned=poisoned, stored=stored, delayed=delayed)


def csv_of(rows: Sequence[Row], *, without: str | None = None) -> str:
    """Return the rows as the text of a CSV. `without` is a column to leave out."""
    columns = [column for column in rows[0].fields if column != without]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.fields for row in rows)
    return text.getvalue()
