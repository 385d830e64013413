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
If several facts count one metric, the metric is a constant, and each of these facts names it.

The levels of a log line:

    error     a person should look: a mapping crashed, a source is missing or forbidden, something was lost
    warning   a batch failed or waits, a shard is blocked, a message is received again, a child process died
    info      started, ready, recovered, stopping; and what child processes print
    debug     a step succeeded, or something follows from a failure that is in the log already

A line that may come thousands of times a second has `once_per`, the fields that make its key.  The first line of a key
is written at once, and then at most one in `pause_in_seconds`.  The field `suppressed` of a line is the number of lines
that were left out before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, NamedTuple, TypeVar

Level = Literal["debug", "info", "warning", "error"]
Owner = Literal["daemon", "mapping", "queue", "stream", "function"]
"""The owner of a series: the daemon, any mapping, a mapping of a queue, a mapping of a stream, or a function."""

PAUSE_IN_SECONDS = 10.0


Fact = NamedTuple
"""Any class that `declare` decorates. Facts are NamedTuples, because these are the fastest to make."""

Emit = Callable[[Fact], None]
"""Reports a fact, with a plain call that never fails and never waits."""

F = TypeVar("F", bound=type[Fact])
Condition = Callable[[Any], bool]
"""Returns whether a line or a count applies to a fact."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label of a metric. Its value is the fact's field or property named `field`, by default the label's name.

    `known` are the values that have a series at zero from the start.
    The values of an open label come from outside, such as error codes. The label may have a few unknown values. All
    further values become "other".
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
    """A metric whose series belong to mappings, to functions or to the daemon.

    The first label is `mapping` or `function`, and `labels` are the further labels. A metric of the daemon has only
    further labels.
    """

    name: str
    meaning: str
    _: KW_ONLY
    of: Owner
    labels: tuple[Label, ...] = ()

    @property
    def label_names(self) -> tuple[str, ...]:
        owner = {"daemon": (), "function": ("function",)}.get(self.of, ("mapping",))
        return (*owner, *(label.name for label in self.labels))

    def by(self, amount: str | int, *, when: Condition | None = None) -> Count:
        """Declare what a fact adds to the metric: a number, or the value of the field or property with this name."""
        return Count(self, amount, when)


@dataclass(frozen=True, slots=True)
class Counter(Metric):
    """A number that only grows."""


@dataclass(frozen=True, slots=True)
class Gauge(Metric):
    """A number that goes up and down."""


@dataclass(frozen=True, slots=True)
class Histogram(Metric):
    """How many values were at most as large as each of the buckets. A histogram has no further labels."""

    _: KW_ONLY
    buckets: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """The amount that a fact adds to a metric."""

    metric: Metric
    amount: str | int
    when: Condition | None


@dataclass(frozen=True, slots=True)
class Line:
    """A log line of a fact. If a fact has several lines, only the first one whose condition holds is written.

    `event` and `meaning` are given only if they differ from the fact's name and docstring.
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
        """Return the name of the log event: `BatchInvoked` is logged as `batch_invoked`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.fact.__name__).lower()

    @property
    def meaning(self) -> str:
        """Return the first paragraph of the fact's docstring, as one line."""
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
    """Return every metric that a fact counts, each once."""
    counted = (count.metric for declaration in DECLARATIONS.values() for count in declaration.counts)
    return tuple(dict.fromkeys(counted))
