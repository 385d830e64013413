"""Which numbers does the daemon keep for one mapping or function?

A Subject has the counters and histograms of the mapping or function, the values from outside that its labels have, and
the time when each of its log lines may be written again.
All numbers of a mapping or function are in its Subject, so nothing is left when the Subject is removed.

If the values of a label are known, its series exist at zero from the start, so that a dashboard finds them and shows
the first increase.
The series are plain numbers and not counters of prometheus_client. Only one thread counts, so the numbers need no lock,
and a fact takes 0.6 of the CPU time that it took with those counters.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import product
from operator import attrgetter
from typing import Any, Literal

from poller.facts.declaration import Count, Fact, Histogram, Label, Metric, Owner, metrics
from poller.telemetry.labels import OTHER, BoundedValues
from poller.telemetry.repetitions import Repetitions

Kind = Literal["queue", "stream", "function", "daemon"]
Values = tuple[str, ...]
"""The values of a metric's labels, without the first label."""

OWNERS: dict[Kind, tuple[Owner, ...]] = {
    "queue": ("mapping", "queue"),
    "stream": ("mapping", "stream"),
    "function": ("function",),
    "daemon": ("daemon",),
}
"""The owners of the metrics that a subject of each kind has."""


class Distribution:
    """The numbers of a histogram: how many values are in each bucket, and their sum.

    A value counts only in its smallest bucket.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Subject:
    """The numbers of a mapping, a function or the daemon.

    `function` is the function itself, or the one that the mapping invokes.

    All three dicts have names of metrics as keys. `counts` has the counters without further labels, `labelled` the
    counters with further labels, and `distributions` the histograms.
    """

    __slots__ = ("_admitted", "counts", "distributions", "function", "kind", "labelled", "name", "repetitions")

    def __init__(self, name: str, kind: Kind, function: str, *, now: Callable[[], float]) -> None:
        self.name = name
        self.kind = kind
        self.function = function
        self.counts: defaultdict[str, float] = defaultdict(float)
        self.labelled: defaultdict[str, defaultdict[Values, float]] = defaultdict(partial(defaultdict, float))
        self.distributions: dict[str, Distribution] = {}
        self.repetitions = Repetitions(now)
        self._admitted: dict[Label, BoundedValues] = {}
        for metric in metrics():
            if metric.of in OWNERS[kind]:
                self._begin(metric)

    def _begin(self, metric: Metric) -> None:
        if isinstance(metric, Histogram):
            self.distributions[metric.name] = Distribution(metric.buckets)
        elif not metric.labels:
            self.counts[metric.name] = 0.0
        else:
            known = [_known(label, self.function) for label in metric.labels]
            self.labelled[metric.name].update(dict.fromkeys(product(*known), 0.0))

    def admit(self, label: Label, value: str) -> str:
        """Return the value that the label gets: `value`, or "other" if the label may not have it."""
        if not label.is_open:
            return value
        if label not in self._admitted:
            self._admitted[label] = BoundedValues(label.known)
        return self._admitted[label].admit(value)


def _known(label: Label, function: str) -> tuple[str, ...]:
    """Return the values that this label has from the start."""
    if label.name == "function":
        return (function,)
    return (*label.known, OTHER) if label.is_open else label.known


Add = Callable[[Subject, Any], None]


def adder(count: Count) -> Add:
    """Return a function that adds the amount of a fact to the subject's numbers."""
    add = _adder(count.metric, _amount(count.amount))
    when = count.when
    if when is None:
        return add

    def add_when(subject: Subject, fact: Fact) -> None:
        if when(fact):
            add(subject, fact)

    return add_when


def _amount(amount: str | int) -> Callable[[Any], float]:
    return attrgetter(amount) if isinstance(amount, str) else lambda _fact: amount


def _adder(metric: Metric, amount: Callable[[Any], float]) -> Add:
    name = metric.name
    if isinstance(metric, Histogram):

        def observe(subject: Subject, fact: Fact) -> None:
            subject.distributions[name].add(amount(fact))

        return observe
    if not metric.labels:

        def add(subject: Subject, fact: Fact) -> None:
            subject.counts[name] += amount(fact)

        return add
    labels = [(label, attrgetter(label.source)) for label in metric.labels]

    def add_labelled(subject: Subject, fact: Fact) -> None:
        values = tuple([subject.admit(label, value(fact)) for label, value in labels])
        subject.labelled[name][values] += amount(fact)

    return add_labelled
