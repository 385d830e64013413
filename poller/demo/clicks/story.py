"""Which clicks go in, and which of them is poison?

Every user clicks, and again, and again; a click carries its number among the user's.
The user is the partition key: the clicks of one lie in one shard and in one lane, in order.
One click is cut short, so that it is no JSON: it fails however often it is tried.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from poller.model.ids import MappingName

STREAM = "clicks"
FAILURES = "failures"
MAPPING = MappingName("clicks")

SHARDS = 4
LANES = 2
"""In each shard: the mapping's `parallelization_factor`."""

BATCH_SIZE = 20
MAXIMUM_RETRY_ATTEMPTS = 2

USERS = tuple(f"user-{number:02}" for number in range(1, 25))
CLICKS_OF_EACH = 20
PAGES = ("/", "/prices", "/docs", "/docs/streams", "/sign-up")


class Click(NamedTuple):
    user: str
    number: int

    @property
    def data(self) -> bytes:
        """The record's data."""
        page = PAGES[self.number % len(PAGES)]
        whole = json.dumps({"user": self.user, "number": self.number, "page": page}).encode()
        return whole[: len(whole) // 2] if self == POISON else whole


POISON = Click("user-07", 9)


def rounds() -> Sequence[Sequence[Click]]:
    """The clicks as they are put: one of each user at a time, because one call promises no order among its records."""
    return [[Click(user, number) for user in USERS] for number in range(1, CLICKS_OF_EACH + 1)]
