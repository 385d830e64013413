"""When is a batch full?

A batch is sent when the first of three things happens:

    count     batch_size records are gathered
    bytes     one more record would make the encoded event longer than 6 MB, or longer than the function
              takes (`event_limit.py`); that record begins the next batch
    window    maximum_batching_window_in_seconds have passed since the batch's first record

With a window of 0 the batch is due as soon as it has a record, so it holds what one receive returned.
A single record that is longer than the limit goes alone: the function's service has to refuse it.

The builder only counts, so that it serves queues and streams alike; the records themselves stay with the engine.

Source: AWS Lambda Developer Guide, "Batching behavior" of event source mappings.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, takewhile

from poller.core.envelope import event

MAXIMUM_EVENT_BYTES = 6_291_455
"""Bytes of the encoded event: a request of Invoke "must be smaller than 6291456 bytes", as Lambda's error says.

An answer may have 100 bytes more than that number (`targets/failures.py`).
"""

EMPTY_EVENT_BYTES = len(event([]))
"""Bytes of an event around its records and the commas between them."""


class BatchBuilder:
    """The size of one batch while it grows. `count` is of records, `size_in_bytes` of the encoded event.

    `deadline` is when the window ends, on the engine's clock; None while the batch is empty.
    """

    __slots__ = ("_batch_size", "_limit_in_bytes", "_window_in_seconds", "count", "deadline", "size_in_bytes")

    def __init__(
        self, *, batch_size: int, window_in_seconds: float = 0.0, limit_in_bytes: int = MAXIMUM_EVENT_BYTES
    ) -> None:
        assert batch_size >= 1
        self._batch_size = batch_size
        self._window_in_seconds = window_in_seconds
        self._limit_in_bytes = limit_in_bytes
        self.count = 0
        self.size_in_bytes = EMPTY_EVENT_BYTES
        self.deadline: float | None = None

    def add(self, record_bytes: int, *, now: float) -> bool:
        """Count one more encoded record in. False when it does not fit: send this batch, begin the next with it."""
        if self.count == 0:
            self.deadline = now + self._window_in_seconds
            grown = self.size_in_bytes + record_bytes
        else:
            grown = self.size_in_bytes + 1 + record_bytes  # the comma
            if self.count >= self._batch_size or grown > self._limit_in_bytes:
                return False
        self.count += 1
        self.size_in_bytes = grown
        return True

    def fill(self, sizes: Iterable[int], *, now: float) -> int:
        """Count in as many encoded records of these sizes in bytes, from the first, as fit; returns how many."""
        candidates = list(islice(sizes, self.room))
        grown = self.size_in_bytes + sum(candidates) + len(candidates) - (self.count == 0)  # a comma before each
        if not candidates:
            return 0
        if grown > self._limit_in_bytes:
            return sum(takewhile(bool, (self.add(size, now=now) for size in candidates)))
        if self.count == 0:
            self.deadline = now + self._window_in_seconds
        self.count += len(candidates)
        self.size_in_bytes = grown
        return len(candidates)

    @property
    def room(self) -> int:
        """How many more records the batch may take by count."""
        return self._batch_size - self.count

    @property
    def is_full(self) -> bool:
        """True when no further record can fit, whatever its size."""
        return self.count >= self._batch_size or (self.count > 0 and self.size_in_bytes >= self._limit_in_bytes)

    def is_due(self, now: float) -> bool:
        """True when the batch has records and must not wait for more."""
        return self.is_full or (self.deadline is not None and now >= self.deadline)
