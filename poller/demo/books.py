"""What does each part of the tour do, and how does it report what happened to its records?

A part sets up its sources, adds its tables to the settings file, and puts records into the sources.
Then it looks at the records again and again. Each look returns books. A book counts what has happened to the records of
one source.
A book has faults as long as the numbers do not add up. The part is settled when none of its books has a fault.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import NamedTuple, Protocol

from poller.demo.metrics import Metrics


class Book(ABC):
    """A count of what has happened to some records. It is frozen. If nothing has changed, it equals the last book.

    `done` of `total` records need no more work. `news` says in words what has happened to them.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str: ...

    @property
    @abstractmethod
    def done(self) -> int: ...

    @property
    @abstractmethod
    def total(self) -> int: ...

    @property
    @abstractmethod
    def news(self) -> str: ...

    @abstractmethod
    def faults(self) -> Iterator[str]:
        """Yield a sentence for each number that does not add up."""

    @property
    def is_settled(self) -> bool:
        """Return whether every number adds up."""
        return not self.discrepancies()

    def discrepancies(self) -> list[str]:
        """Return the faults, each with the name of the book."""
        return [f"{self.name}: {fault}" for fault in self.faults()]


class Line(NamedTuple):
    """A line of a table: what is counted, the numbers, and where they were seen."""

    what: str
    numbers: Sequence[object]
    where: str


class Table(NamedTuple):
    """A table for a person. `columns` has the name of the first column, and of each column of numbers."""

    title: str
    columns: Sequence[str]
    lines: Sequence[Line]


class Part(Protocol):
    """A part of the tour: its own sources, records, functions and mappings."""

    async def build(self) -> Sequence[str]:
        """Set up the sources and destinations. Return lines that tell the user what was set up."""

    def settings(self) -> str:
        """Return the tables [functions.*] and [mappings.*] as TOML. Call `build` first."""

    def intention(self) -> str:
        """Return a sentence that says which records `send` puts into the sources."""

    def send(self) -> AsyncIterator[None]:
        """Put all records into the sources. Each step of the iterator is one call."""

    async def look(self, metrics: Metrics) -> Sequence[Book]:
        """Return the books at this moment."""

    def tables(self, books: Sequence[Book]) -> Sequence[Table]:
        """Return tables that show what happened. `books` are those of this part."""

    def story(self, books: Sequence[Book]) -> Sequence[str]:
        """Return sentences on what a table cannot show."""

    def invitation(self) -> Sequence[str]:
        """Return command lines that the user can try, with `poller demo --keep`."""


def differ(what: str, actual: int, wanted: int) -> Iterator[str]:
    """Yield a fault if the two numbers differ."""
    if actual != wanted:
        yield f"{what}: {actual}, should be {wanted}"


def unequal(what: str, actual: frozenset[str], wanted: frozenset[str]) -> Iterator[str]:
    """Yield a fault for the wanted names that are missing, and a fault for the names that are not wanted."""
    for side, names in (("missing", wanted - actual), ("too many", actual - wanted)):
        if names:
            yield f"{what} {side}: {', '.join(sorted(names)[:NAMES_SHOWN])}{' …' if len(names) > NAMES_SHOWN else ''}"


NAMES_SHOWN = 5
