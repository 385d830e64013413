"""Which clicks go into the stream, and which of them is the poison?

Each user clicks several times. A click has a number, from 1 for each user.
The user is the partition key, so all clicks of a user are in one shard and in one lane, in order.
The data of one click, the poison, is cut short, so it is not JSON: every attempt fails.
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
"""The number of lanes in each shard: the mapping's `parallelization_factor`."""

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
        """Return the data of the click's record: JSON. The data of the poison are only the first half of the JSON."""
        page = PAGES[self.number % len(PAGES)]
        whole = json.dumps({"user": self.user, "number": self.number, "page": page}).encode()
        return whole[: len(whole) // 2] if self == POISON else whole


POISON = Click("user-07", 9)


def rounds() -> Sequence[Sequence[Click]]:
    """Return the clicks of each call.

    A call has one click of each user, because a call does not keep the order of its records.
    """
    return [[Click(user, number) for user in USERS] for number in range(1, CLICKS_OF_EACH + 1)]
