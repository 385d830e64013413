"""What is in the table of leases? Rows, which several workers share (`core/leases/` has the rules)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, NewType

from poller.model.ids import MappingName
from poller.model.stream import TOO_LATE, Checkpoint, ShardId, StateKey

Owner = NewType("Owner", str)
"""One run of one worker: its label, a slash, and 128 random bits as 32 hexadecimal digits.

Two workers with the same label are different owners, and so are two runs of one worker.
"""

RowKey = NewType("RowKey", str)
"""The key of a row. The part before the first slash is the name of a mapping, or a word that no mapping can have:

    MAPPING/STREAM_ARN/SHARD_ID    the lease of a shard, for one mapping
    :unit/FUNCTION/NUMBER          the lease of one unit of a function's concurrency
    :unit/:mapping/MAPPING/NUMBER  the lease of one unit of a mapping's concurrency
    :worker/OWNER                  the row of a worker
    :pause/MAPPING                 the mapping is paused
    :start/MAPPING/STREAM_ARN      a person has set the starting position of this mapping
    :begun/MAPPING/STREAM_ARN      the mapping has begun: each shard that the stream had then has a row
    :kcl/MAPPING/STREAM_ARN        the leases of the mapping's shards are in a table of KCL, and those here are too old
"""

Detail = str | int | float | bool | None | list["Detail"] | dict[str, "Detail"]
"""A value of JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table. Every accepted write of the row adds one to `counter`; a new row has 1.

    `owner` is the worker that holds the lease, or None. `token` is the counter's value when this owner took it; it is
    0 before the first take, and stays when the lease has no owner.
    `checkpoint` is the checkpoint of a shard; other rows have none. A shard's row has none after a person has reset it
    (`poller state set`): the mapping then begins the shard at its starting position, as at its first start.
    `details` is a small JSON object with everything else, such as a worker's messages; unknown keys are kept.
    """

    key: RowKey
    counter: int = 1
    owner: Owner | None = None
    token: int = 0
    checkpoint: Checkpoint | None = None
    details: Mapping[str, Detail] = field(default_factory=dict)


def time_in(detail: object) -> float | None:
    """Return the time of day that a detail of a row tells, in epoch seconds. Return None if it tells none."""
    return float(detail) if isinstance(detail, int | float) and 0 <= detail < TOO_LATE else None


class TableAddress(NamedTuple):
    """A table of leases in DynamoDB, and how it is reached.

    If a field is None, the daemon's own region, endpoint or identity is used.
    """

    table: str
    region: str | None = None
    endpoint_url: str | None = None
    role_arn: str | None = None


def prefix_of(state: StateKey) -> str:
    """Return the text with which the keys of all shards of a mapping begin."""
    return f"{state.mapping}/{state.stream_arn}/"


def shard_key(state: StateKey, shard_id: ShardId) -> RowKey:
    return RowKey(prefix_of(state) + shard_id)


def shard_of(key: RowKey) -> ShardId:
    """Return the id of the shard to which a lease belongs."""
    return ShardId(key.rpartition("/")[2])


UNLISTED_PARENTS = "unlisted_parents"
"""The detail of a shard's row with those parents that were neither listed nor known when the row was created."""

START, BEGUN = ":start/", ":begun/"


def start_key(state: StateKey) -> RowKey:
    return RowKey(f"{START}{state.mapping}/{state.stream_arn}")


def begun_key(state: StateKey) -> RowKey:
    return RowKey(f"{BEGUN}{state.mapping}/{state.stream_arn}")


PAUSE = ":pause/"


def pause_key(mapping: MappingName) -> RowKey:
    return RowKey(f"{PAUSE}{mapping}")


class Pause(NamedTuple):
    """A pause of a mapping. `since` is in epoch seconds, or None if an older version has stored the pause."""

    since: float | None


def paused_in(keys: Iterable[RowKey]) -> frozenset[MappingName]:
    """Return the mappings whose pauses are among the rows with these keys."""
    return frozenset(MappingName(key.removeprefix(PAUSE)) for key in keys if key.startswith(PAUSE))


def kcl_key(state: StateKey) -> RowKey:
    return RowKey(f":kcl/{state.mapping}/{state.stream_arn}")
