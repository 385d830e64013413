"""How does a command of a person reach the table of a KCL application that has the positions of a mapping?

It opens the table for a while. A daemon uses the table through `kcl.py`.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from poller.aws.clients import Aws, AwsSettings
from poller.composition.kcl import option_of, store_of
from poller.composition.sources import SourceComposition
from poller.composition.state import named_faults, open_editable
from poller.core.streams.lineage import drained_ancestors
from poller.engine.streams.rows import unlisted_parents
from poller.model.function import FunctionKind
from poller.model.lease import Detail, Row, prefix_of, shard_key, shard_of
from poller.model.mapping import StreamMapping
from poller.model.stream import Checkpoint, Shard, ShardEnd
from poller.sources.reader_identity import AskedOnce
from poller.stores.kcl_leases import refuse_while_kcl_runs
from poller.stores.lease_by_hand import Hand
from poller.stores.routed_leases import RoutedEditableStore


@asynccontextmanager
async def open_by_hand(
    mapping: StreamMapping, state: str, aws: AwsSettings, *, tell: Callable[[str], None]
) -> AsyncIterator[Hand]:
    """Open the state and the mapping's table of KCL for a person. Raises the errors of `take_over` and `open_state`.

    The state has the pause, the workers, and the starting position that a person sets. It is created if necessary.
    """
    async with Aws(aws) as clients, open_editable(state, aws, creates=True) as opened:
        assert opened is not None, "the state was created"
        store = RoutedEditableStore(opened)
        with named_faults(option_of(mapping), str(mapping.kcl_table)):
            table = await store_of(mapping, clients, now=time.time(), randomness=random.Random())
            store.route(prefix_of(mapping.state_key), table)
            rows = await store.scan()
        yield Hand(store, rows, tell=tell)


async def rows_of_table(
    mapping: StreamMapping,
    aws: AwsSettings,
    *,
    must_have_stopped: bool = False,
    tell: Callable[[int], None] = lambda _: None,
) -> list[Row]:
    """Return the leases in the table of KCL that has the shards of the mapping. Raises the errors of `take_over`.

    It raises InUse while a KCL application uses the table, but only with `must_have_stopped`. `tell` gets the number
    of leases that an application owns, if they must be watched for WATCHED_IN_SECONDS.
    """
    async with Aws(aws) as clients:
        with named_faults(option_of(mapping), str(mapping.kcl_table)):
            store = await store_of(mapping, clients, now=time.time(), randomness=random.Random())
            if must_have_stopped:
                await refuse_while_kcl_runs(store, await store.scan(), option=option_of(mapping), watches=tell)
            return await store.scan()


async def positions_in_table(
    mapping: StreamMapping, kind: FunctionKind, aws: AwsSettings, *, tell: Callable[[int], None]
) -> list[Row]:
    """Return the positions in the table of KCL, for a state that gets them. `kind` is the kind of the function.

    KCL deletes the lease of a drained shard when its children are being read, but the stream still lists the shard. In
    a state, a shard without a row is a new one. So each such shard gets the row of a drained shard.
    Returns nothing if the table has no leases. Raises the errors of `rows_of_table`, and ServiceError if the stream
    cannot be listed.
    """
    rows = await rows_of_table(mapping, aws, must_have_stopped=True, tell=tell)
    async with Aws(aws) as clients:
        source = await SourceComposition(random.Random()).stream(
            mapping, kind, clients, role_of_function=AskedOnce(), own_identity=AskedOnce()
        )
        shards = {shard.shard_id: shard for shard in await source.shards()} if rows else {}
    known, unlisted = {shard_of(row.key) for row in rows}, unlisted_parents(rows)
    drained = drained_ancestors(shards.values(), known, unlisted=unlisted)
    return [*rows, *(_drained_row(mapping, shards[shard_id]) for shard_id in sorted(drained))]


def _drained_row(mapping: StreamMapping, shard: Shard) -> Row:
    details: dict[str, Detail] = {"parents": list(shard.parent_ids), "saved_at": time.time()}
    key = shard_key(mapping.state_key, shard.shard_id)
    return Row(key=key, checkpoint=Checkpoint(ShardEnd()), details=details)


async def copy_into_table(
    mapping: StreamMapping, hand: Hand, aws: AwsSettings, *, tell: Callable[[int], None]
) -> tuple[list[Row], int]:
    """Replace the leases in the mapping's table of KCL by the positions that the state has. `hand` is of the state.

    Return the leases that were replaced, and the number of shards that the table has now.
    Raises the errors of `rows_of_table`. Before a change, raises SettingsError if KCL cannot have one of the positions.
    """
    async with Aws(aws) as clients:
        with named_faults(option_of(mapping), str(mapping.kcl_table)):
            store = await store_of(mapping, clients, now=time.time(), randomness=random.Random())
            before = await store.scan()
            await refuse_while_kcl_runs(store, before, option=option_of(mapping), watches=tell)
            store.refuse_unless_storable(hand.positions(mapping.state_key))
            copied = await hand.copy_into(store, mapping.state_key)
    await hand.use_table(mapping.state_key, table=str(mapping.kcl_table))
    return before, copied
