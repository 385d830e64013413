"""A correct account of the sign-ups, which tests change."""

from __future__ import annotations

from poller.demo.signups.accounting import Account, Counted, Held, StoredRow
from poller.demo.signups.story import Expected

EXPECTED = Expected(
    filtered_out=frozenset({1}), poisoned=frozenset({2}), stored=frozenset({3, 4, 5}), delayed=frozenset({3})
)

STORED = (
    StoredRow(number=3, email="c@acme.example", company="acme", place=1, times_stored=1),
    StoredRow(number=5, email="e@acme.example", company="acme", place=2, times_stored=1),
    StoredRow(number=4, email="d@birch.example", company="birch", place=1, times_stored=1),
)

HELD = Held(left_over=0, dead_letter_count=1, dead_letters=(2,), stored=STORED)

COUNTED = Counted(
    polled=8,
    filtered_out=1,
    invoked=7,
    failed=4,
    deleted=4,
    invocations={"succeeded": 1, "partly_failed": 3, "failed": 0},
)

GOOD = Account(queue="rows.fifo", is_fifo=True, sent=5, expected=EXPECTED, held=HELD, counted=COUNTED)
