"""How many bytes may the events in hand have? Each run of a function's events has a limit, and so has the process.

An event in hand has its payload and, after its end, the answer for its destinations: about 7 MiB at most.
While a limit is reached, no take begins. A take gets at most MOST_BYTES_TAKEN, and the size of an answer is known only
after the invocation. So a limit may be exceeded by one take and by the answers of the running invocations.
A run with no event in hand may always take one event, so that the events of other functions cannot block it.
"""

from __future__ import annotations

from collections.abc import Callable

BYTES_OF_A_RUN = 128 * 2**20
BYTES_OF_THE_PROCESS = 512 * 2**20
"""We chose both limits: a hundred of the largest payloads run at once, and three slow functions do not slow others."""


class BytesInHand:
    """The bytes of the events in hand, of the process or of one run.

    The `parent` of a run has the bytes of the process.
    """

    def __init__(self, limit_in_bytes: int, parent: BytesInHand | None = None) -> None:
        self.used = 0
        self._limit_in_bytes = limit_in_bytes
        self._parent = parent
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` each time when the limit of the process is no longer reached. The listener must not wait."""
        self._of_the_process._listeners.append(listener)

    def stop_listening(self, listener: Callable[[], None]) -> None:
        self._of_the_process._listeners.remove(listener)

    @property
    def is_full(self) -> bool:
        return self.used >= self._limit_in_bytes or (self._parent is not None and self._parent.is_full)

    def charge(self, count: int) -> None:
        self.used += count
        if self._parent is not None:
            self._parent.charge(count)

    def give_back(self, count: int) -> None:
        assert count <= self.used, "more is given back than was charged"
        was_full = self.is_full
        self.used -= count
        if self._parent is not None:
            self._parent.give_back(count)
        elif was_full and not self.is_full:
            for listener in self._listeners:
                listener()

    @property
    def _of_the_process(self) -> BytesInHand:
        return self if self._parent is None else self._parent
