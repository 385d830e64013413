"""How do several workers count together? Each one reports its numbers, and the totals are their sums.

    Subject ── numbers_of ──> Numbers ── from process to process ──> Totals ── summed ──> Subjects with the sums

A counter never goes down: if a worker ends, the numbers of its last report are kept.
If no worker shows a mapping or function any more, all its numbers are forgotten, also those of ended workers.
If a mapping gets another function or another kind of source, its counters begin again at zero, as in one process. As
long as the workers differ in this, the first worker decides which numbers are shown.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from poller.telemetry.subject import Kind, Subject, Values

Identity = tuple[Kind, str, str]
"""The kind, the name and the function of a subject."""


class Numbers(NamedTuple):
    """The numbers of one subject (`Subject` explains them). Those that are zero are left out.

    `distributions` has the counts and the sum of each histogram.
    """

    kind: Kind
    name: str
    function: str
    counts: dict[str, float]
    labelled: dict[str, list[tuple[Values, float]]]
    distributions: dict[str, tuple[list[int], float]]

    @property
    def identity(self) -> Identity:
        return self.kind, self.name, self.function


def numbers_of(subject: Subject) -> Numbers:
    """Return the present numbers. Call it in the thread that counts."""
    return Numbers(
        kind=subject.kind,
        name=subject.name,
        function=subject.function,
        counts={name: value for name, value in subject.counts.items() if value},
        labelled={
            name: [(values, value) for values, value in series.items() if value]
            for name, series in subject.labelled.items()
            if any(series.values())
        },
        distributions={
            name: (list(distribution.counts), distribution.sum)
            for name, distribution in subject.distributions.items()
            if any(distribution.counts)
        },
    )


class Totals:
    """Has the numbers of all workers. A worker may end, and begin again at zero under the same name."""

    def __init__(self) -> None:
        self._present: dict[str, Sequence[Numbers]] = {}
        self._kept: dict[Identity, Subject] = {}

    def report(self, worker: str, numbers: Sequence[Numbers]) -> None:
        """Replace the numbers that this worker has reported before."""
        self._present[worker] = numbers
        shown = {one.identity for present in self._present.values() for one in present}
        self._kept = {identity: subject for identity, subject in self._kept.items() if identity in shown}

    def keep(self, worker: str) -> None:
        """Keep the last numbers of a worker that has ended."""
        for numbers in self._present.pop(worker, ()):
            _add(numbers, self._kept)

    def numbers(self) -> list[Numbers]:
        """Return all numbers, those of the first worker first."""
        present = [one for worker in sorted(self._present) for one in self._present[worker]]
        return [*present, *map(numbers_of, self._kept.values())]


def summed(numbers: Iterable[Numbers]) -> list[Subject]:
    """Return a new Subject for each mapping, function and the daemon, whose numbers are the sums over all workers.

    If workers know a mapping with different functions or kinds of source, only the numbers of the first worker count.
    """
    sums: dict[Identity, Subject] = {}
    for one in numbers:
        _add(one, sums)
    shown: dict[tuple[bool, str], Subject] = {}
    for subject in sums.values():
        shown.setdefault((subject.kind == "function", subject.name), subject)
    return list(shown.values())


def _add(numbers: Numbers, sums: dict[Identity, Subject]) -> None:
    if numbers.identity not in sums:
        sums[numbers.identity] = Subject(numbers.name, numbers.kind, numbers.function, now=time.monotonic)
    subject = sums[numbers.identity]
    for name, value in numbers.counts.items():
        subject.counts[name] += value
    for name, series in numbers.labelled.items():
        for values, value in series:
            subject.labelled[name][values] += value
    for name, (counts, total) in numbers.distributions.items():
        distribution = subject.distributions[name]
        distribution.counts = [have + more for have, more in zip(distribution.counts, counts, strict=True)]
        distribution.sum += total
