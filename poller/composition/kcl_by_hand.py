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
from poller.composition.state import named_faults, open_editable
from poller.model.lease import Row, prefix_of
from poller.model.mapping import StreamMapping
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
