"""Where is the state, and how is it opened? The state has the leases of shards with their positions, and the pauses.

    memory:             a dict, which ends with the process
    sqlite://PATH       a file, which the workers of one host share
    dynamodb://TABLE    a table, which workers on several hosts share; it is created if it does not exist

The address of a table may name the region, the endpoint and the role of the table. What it does not name is the same
as for all other services.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from poller.aws.clients import Aws, AwsSettings
from poller.errors import CannotStore, NotFound, Rejected, ServiceError, SettingsError
from poller.facts import Emit, StateOpened
from poller.model.lease import Row, TableAddress
from poller.ports import LeaseStore, PauseStore
from poller.settings.state import table_address
from poller.stores.dynamodb_items import Items
from poller.stores.dynamodb_leases import DynamoDbLeaseStore
from poller.stores.dynamodb_table import made_ready
from poller.stores.lease_by_hand import Hand
from poller.stores.lease_pauses import LeasePauses
from poller.stores.memory_leases import MemoryLeaseStore
from poller.stores.schema import STATE
from poller.stores.sqlite_leases import SqliteLeaseStore


class OpenState(NamedTuple):
    """The stores of the state. Both are the same file or table."""

    leases: LeaseStore
    pauses: PauseStore


@asynccontextmanager
async def open_state(
    state: str,
    aws: AwsSettings,
    *,
    open_aws: Callable[[AwsSettings], AbstractAsyncContextManager[Aws]],
    randomness: random.Random,
    emit: Emit,
) -> AsyncIterator[OpenState]:
    """Open the state at the address `state`, which is `daemon.state` of the settings. Emits StateOpened.

    Raises SettingsError if the state cannot be used at all, and InUse or CannotStore if it cannot be used now.
    """
    if state == "memory:":
        yield _both(MemoryLeaseStore())
    elif state.startswith("dynamodb://"):
        address = table_address(state)
        async with open_aws(_at(address, aws)) as clients:
            store, positions = await _ready_table(address, clients, randomness)
            emit(StateOpened(state=state, positions=positions))
            yield _both(store)
    else:
        async with SqliteLeaseStore(_path(state)) as file:
            kept_copy = None if file.kept_copy is None else str(file.kept_copy)
            emit(StateOpened(state=state, positions=_count(await file.scan()), kept_copy=kept_copy))
            yield _both(file)


@asynccontextmanager
async def open_by_hand(state: str, aws: AwsSettings, *, tell: Callable[[str], None]) -> AsyncIterator[Hand | None]:
    """Open the state for a person who changes it; `tell` is that of `Hand`. Yields None if there is no state yet.

    A file that no daemon uses is kept from all daemons until the block ends. Raises the errors of `open_state`.
    """
    if state.startswith("dynamodb://"):
        async with _existing_table(state, aws) as (store, rows):
            yield None if rows is None else Hand(store, rows, tell=tell)
        return
    path = _path(state)
    if not STATE.is_there(path):
        yield None
        return
    async with SqliteLeaseStore(path, stays_alone=True) as file:
        yield Hand(file, await file.scan(), tell=tell)


async def rows_of_table(state: str, aws: AwsSettings) -> list[Row] | None:
    """Return all rows of the state in a table, also while daemons use it. Return None if there is no table yet."""
    async with _existing_table(state, aws) as (_, rows):
        return rows


async def _ready_table(address: TableAddress, aws: Aws, randomness: random.Random) -> tuple[LeaseStore, int]:
    """Return the store in a table that is ready, and how many positions it has."""
    client = await aws.json_client("dynamodb", region=address.region, role_arn=address.role_arn)
    store = DynamoDbLeaseStore(Items(client, table=address.table, rng=randomness))
    with _faults(address):
        await made_ready(client, address.table, option="daemon.state")
        return store, _count(await store.scan())


@asynccontextmanager
async def _existing_table(state: str, aws: AwsSettings) -> AsyncIterator[tuple[DynamoDbLeaseStore, list[Row] | None]]:
    """Yield the store in a table and all of its rows, or None for the rows if the table does not exist."""
    address = table_address(state)
    async with Aws(_at(address, aws)) as clients:
        client = await clients.json_client("dynamodb", region=address.region, role_arn=address.role_arn)
        store, rows = DynamoDbLeaseStore(Items(client, table=address.table, rng=random.Random())), None
        with _faults(address), suppress(NotFound):
            rows = await store.scan()
        yield store, rows


@contextmanager
def _faults(address: TableAddress) -> Iterator[None]:
    try:
        yield
    except Rejected as error:
        raise SettingsError([f"daemon.state: the table {address.table} cannot be used: {error}"]) from error
    except ServiceError as error:
        raise CannotStore(f"daemon.state: the table {address.table} cannot be used now: {error}") from error


def _at(address: TableAddress, aws: AwsSettings) -> AwsSettings:
    """Return the settings of a client that reaches the table where its address says."""
    if address.endpoint_url is None:
        return aws
    return dataclasses.replace(aws, endpoints={**aws.endpoints, "dynamodb": address.endpoint_url})


def _path(state: str) -> Path:
    return Path(state.removeprefix("sqlite://"))


def _count(rows: Iterable[Row]) -> int:
    return sum(row.checkpoint is not None for row in rows)


def _both(store: LeaseStore) -> OpenState:
    return OpenState(store, LeasePauses(store))
