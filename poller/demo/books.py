"""What must a part of the demo keep books on? What it did, what became of it, and whether that adds up.

A part sets up its sources, says what it wants in the settings file, puts records into the sources, and looks.
Each look ends in books, one for each mapping; when none of them has a fault any more, the part is settled.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import NamedTuple, Protocol

from poller.demo.metrics import Metrics


class Book(ABC):
    """One mapping's books: a frozen value, equal to the last one when nothing has moved.

    `done` of `total` records have met their fate; `news` says which.
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
        """Everything that does not add up, a sentence each."""

    @property
    def is_settled(self) -> bool:
        """Nothing is wrong, and nothing is left that could still go wrong."""
        return not self.discrepancies()

    def discrepancies(self) -> list[str]:
        """The faults, each with the name of the book; empty when everything adds up."""
        return [f"{self.name}: {fault}" for fault in self.faults()]


class Line(NamedTuple):
    """A line of a table: what is counted, the numbers, and where they were seen."""

    what: str
    numbers: Sequence[object]
    where: str


class Table(NamedTuple):
    """`columns` are the names of the first column and of the columns of numbers."""

    title: str
    columns: Sequence[str]
    lines: Sequence[Line]


class Part(Protocol):
    """A part of the demo."""

    async def build(self) -> Sequence[str]:
        """Set up its sources and destinations; returns what to say of it, line by line."""

    def settings(self) -> str:
        """Its functions and mappings; asked for after `build`."""

    def intention(self) -> str:
        """What is about to be put into the sources."""

    def send(self) -> AsyncIterator[None]:
        """Put everything into the sources, a call at a time."""

    async def look(self, metrics: Metrics) -> Sequence[Book]:
        """The books now."""

    def tables(self, books: Sequence[Book]) -> Sequence[Table]:
        """What happened, for the eye; `books` are this part's own."""

    def story(self, books: Sequence[Book]) -> Sequence[str]:
        """What happened, in words: what a table cannot show."""

    def invitation(self) -> Sequence[str]:
        """Command lines to try while everything is left running."""


def differ(what: str, actual: int, wanted: int) -> Iterator[str]:
    """A fault, if the two differ."""
    if actual != wanted:
        yield f"{what}: {actual}, should be {wanted}"


def unequal(what: str, actual: frozenset[str], wanted: frozenset[str]) -> Iterator[str]:
    """A fault for what is missing, and one for what is too much."""
    for side, names in (("missing", wanted - actual), ("too many", actual - wanted)):
        if names:
            yield f"{what} {side}: {', '.join(sorted(names)[:NAMES_SHOWN])}{' …' if len(names) > NAMES_SHOWN else ''}"


NAMES_SHOWN = 5
