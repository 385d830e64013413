"""Does the table of leases work? The worker knows this from its own calls, for all mappings together.

    working ── a kind of work fails ──> troubled ── the same kind of work succeeds ──> working

The kinds of work fail separately: on a full disk, for example, the worker can still read the table.
Failures of a mapping's source are counted by the mapping.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Literal

from poller.core.backoff import Backoff
from poller.engine.troubles import Troubles, in_words
from poller.errors import LASTING, ServiceError
from poller.facts import Emit, LeaseTableFailed, LeaseTableRecovered
from poller.model.status import Health
from poller.ports import MonotonicClock

PAUSE = Backoff(initial=0.25, maximum=2.0)
"""The pause after a failed call. It is short, because a lease that is not renewed is lost after seconds."""

Work = Literal["create leases", "delete leases", "exchange messages", "read leases", "renew leases", "take leases"]


class TableHealth:
    """The health of the table, as one worker knows it."""

    def __init__(self, clock: MonotonicClock, *, randomness: random.Random, emit: Emit) -> None:
        self._clock = clock
        self._randomness = randomness
        self._emit = emit
        self._failures: Counter[Work] = Counter()
        self._troubles = Troubles()
        self._recovered_at: float | None = None

    def failed(self, work: Work, error: ServiceError) -> float:
        """Report a failure, and return for how many seconds to wait before the next try."""
        self._failures[work] += 1
        delay = PAUSE.delay(self._failures[work], self._randomness)
        self._troubles.failed(work, work, in_words(error), now=self._clock.now(), retry_in=delay)
        self._emit(LeaseTableFailed(work, error.code, str(error), delay, isinstance(error, LASTING)))
        return delay

    def succeeded(self, work: Work) -> None:
        if self._troubles.end(work):
            del self._failures[work]
            if not self._troubles:
                self._recovered_at = self._clock.now()
                self._emit(LeaseTableRecovered())

    def together_with(self, source: Health, *, now: float) -> Health:
        """Return one health for a source and the table. If both fail, it has the times of the source's trouble.

        `now` is in epoch seconds, as the times of a health are.
        """
        ahead = now - self._clock.now()
        if not self._troubles:
            since = None if self._recovered_at is None else self._recovered_at + ahead
            return source if since is None else source._replace(since=max(source.since or 0.0, since))
        reason = f"the state fails: {self._troubles.reason}"
        if source.attempt is not None:
            return source._replace(reason=f"{source.reason}; {reason}")
        health = self._troubles.health("troubled" if source.state == "ready" else source.state, reason)
        assert health.since is not None
        assert health.next_try is not None
        return health._replace(since=health.since + ahead, next_try=health.next_try + ahead)
