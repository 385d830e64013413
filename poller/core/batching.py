"""When is a batch full?

A batch is sent when the first of three things happens:

    count     batch_size records are gathered
    bytes     one more record would make the encoded event longer than 6 MB, or longer than the function
              takes (`event_limit.py`); that record begins the next batch
    window    maximum_batching_window_in_seconds have passed since the batch's first record

With a window of 0 the batch is due as soon as it has a record, so it holds the records of one receive or read.
A record that is larger than the limit forms a batch of its own; the function's service then refuses the event.

`BatchBuilder` only counts records and bytes, and the engine keeps the records. So it serves queues and streams.

Source: AWS Lambda Developer Guide, "Batching behavior" of event source mappings.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, takewhile

from poller.core.envelope import event

MAXIMUM_EVENT_BYTES = 6_291_455
"""The largest encoded event, in bytes. Lambda's error says that a request "must be smaller than 6291456 bytes".

The limit of an answer is 100 bytes more than 6291456 (`targets/failures.py`).
"""

EMPTY_EVENT_BYTES = len(event([]))
"""The bytes of an event without records."""


class BatchBuilder:
    """The size of one batch while records are added. `size_in_bytes` is the size of its encoded event.

    `deadline` is when the batching window ends, on the clock of `now`; None while the batch is empty.
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
        """Add an encoded record of this size. Return False, without adding it, if it does not fit.

        The batch must then be sent, and the record begins the next one. The first record always fits.
        """
        if self.count == 0:
            self.deadline = now + self._window_in_seconds
            grown = self.size_in_bytes + record_bytes
        else:
            grown = self.size_in_bytes + 1 + record_bytes  # the comma before the record
            if self.count >= self._batch_size or grown > self._limit_in_bytes:
                return False
        self.count += 1
        self.size_in_bytes = grown
        return True

    def fill(self, sizes: Iterable[int], *, now: float) -> int:
        """Add encoded records of these sizes in bytes, in order, until one does not fit. Return how many were added."""
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
        """Return how many more records `batch_size` allows."""
        return self._batch_size - self.count

    @property
    def is_full(self) -> bool:
        """Return whether the batch has no room for any further record, not even for the smallest one."""
        return self.count >= self._batch_size or (self.count > 0 and self.size_in_bytes >= self._limit_in_bytes)

    def is_due(self, now: float) -> bool:
        """Return whether the batch must be sent now: it has records, and is full or its batching window is over."""
        return self.is_full or (self.deadline is not None and now >= self.deadline)
