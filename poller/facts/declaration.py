"""How does a fact declare its log lines and its metrics?

    @declare(
        Line("warning", once_per=("mapping",)),
        Counter("poller_receipts_expired_total", "Messages that were …", of="queue").by("records"),
    )
    class ReceiptsExpired(NamedTuple):
        '''Messages were dropped …'''

        mapping: MappingName
        records: int

The log event is named after the class (`receipts_expired`), and its fields are the fields of the class.
The first paragraph of the docstring is its meaning, which `poller reference log` shows.
A metric that several facts count is a constant, which each of them names.

The levels of a log line:

    error     a human should look: a mapping crashed, a source is missing or forbidden, something was lost
    warning   a batch failed or waits, a shard is blocked, a message will come again, a child process died
    info      started, ready, recovered, stopping; and what child processes print
    debug     all that went well, and what follows by rule from a failure that was logged

A line that may come thousands of times a second has `once_per`: it is written at once, and then at most once in
`pause_in_seconds` for each key; the next one has the number of lines that were left out in `suppressed`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, NamedTuple, TypeVar

Level = Literal["debug", "info", "warning", "error"]
Owner = Literal["mapping", "queue", "stream", "function"]
"""What a series belongs to: any mapping, a mapping whose source is a queue or a stream, or a function."""

PAUSE_IN_SECONDS = 10.0


Fact = NamedTuple
"""Any class that `declare` decorates: NamedTuples, because these are the fastest to make."""

Emit = Callable[[Fact], None]
"""How a part reports a fact: a plain call that never fails and never waits."""

F = TypeVar("F", bound=type[Fact])
Condition = Callable[[Any], bool]
"""Whether a line or a count applies to this fact."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label of a metric, read from the field or property `field` of the fact; by default that has the label's name.

    `known` are the values that have a series at zero from the start.
    An open label takes its values from outside, such as error codes: a few others than the known ones are admitted,
    and the rest becomes "other".
    """

    name: str
    known: tuple[str, ...] = ()
    _: KW_ONLY
    field: str = ""
    is_open: bool = False

    @property
    def source(self) -> str:
        return self.field or self.name


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric whose series belong to mappings or functions.

    `labels` are those after the first one, which is `mapping` or `function`.
    """

    name: str
    meaning: str
    _: KW_ONLY
    of: Owner
    labels: tuple[Label, ...] = ()

    @property
    def label_names(self) -> tuple[str, ...]:
        return ("function" if self.of == "function" else "mapping", *(label.name for label in self.labels))

    def by(self, amount: str | int, *, when: Condition | None = None) -> Count:
        """Count this number, or the value of this field or property of the fact."""
        return Count(self, amount, when)


@dataclass(frozen=True, slots=True)
class Counter(Metric):
    """A number that only grows."""


@dataclass(frozen=True, slots=True)
class Gauge(Metric):
    """A number that goes up and down."""


@dataclass(frozen=True, slots=True)
class Histogram(Metric):
    """How many values were at most as large as each of the buckets; it has no label of its own."""

    _: KW_ONLY
    buckets: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """What a fact adds to a metric."""

    metric: Metric
    amount: str | int
    when: Condition | None


@dataclass(frozen=True, slots=True)
class Line:
    """A log line of a fact. Of several lines, the first whose condition holds is written.

    `event` and `meaning` are only given where they differ from the name and the docstring of the fact.
    """

    level: Level
    event: str = ""
    _: KW_ONLY
    when: Condition | None = None
    once_per: tuple[str | Label, ...] = ()
    pause_in_seconds: float = PAUSE_IN_SECONDS
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    fact: type[Fact]
    lines: tuple[Line, ...]
    counts: tuple[Count, ...]

    @property
    def event(self) -> str:
        """`BatchInvoked` is logged as `batch_invoked`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.fact.__name__).lower()

    @property
    def meaning(self) -> str:
        """The first paragraph of the docstring, as one line."""
        return " ".join((self.fact.__doc__ or "").partition("\n\n")[0].split())


DECLARATIONS: dict[type[Fact], Declaration] = {}
"""Every fact, in the order of the files and of the classes in them."""


def declare(*parts: Line | Count) -> Callable[[F], F]:
    """Declare the log lines and the metrics of the class that follows."""

    def declared(fact: F) -> F:
        DECLARATIONS[fact] = Declaration(
            fact=fact,
            lines=tuple(part for part in parts if isinstance(part, Line)),
            counts=tuple(part for part in parts if isinstance(part, Count)),
        )
        return fact

    return declared


def metrics() -> tuple[Metric, ...]:
    """Every metric that a fact counts, each once."""
    counted = (count.metric for declaration in DECLARATIONS.values() for count in declaration.counts)
    return tuple(dict.fromkeys(counted))
