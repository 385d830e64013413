"""Where is the state, and how is it opened? The state has the leases of shards with their positions, and the pauses.

    memory:             a dict, which ends with the process
    sqlite://PATH       a file, which the workers of one host share
    dynamodb://TABLE    a table, which workers on several hosts share; it is created if it does not exist

The address of a table may name the region, the endpoint and the role of the table. What is missing in
the address is the same as for all other services.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

from poller.aws.clients import Aws, AwsSettings
from poller.errors import CannotStore, Rejected, ServiceError, SettingsError
from poller.facts import Emit, StateOpened
from poller.model.lease import Row, TableAddress
from poller.ports import LeaseStore, PauseStore
from poller.settings.state import table_address
from poller.stores.dynamodb_items import Items
from poller.stores.dynamodb_leases import DynamoDbLeaseStore
from poller.stores.dynamodb_table import exists, made_ready
from poller.stores.lease_by_hand import EditableStore, Hand
from poller.stores.lease_pauses import LeasePauses
from poller.stores.memory_leases import MemoryLeaseStore
from poller.stores.schema import STATE
from poller.stores.sqlite_leases import SqliteLeaseStore


class OpenState(NamedTuple):
    """The stores of the state. Both are the same file or table."""

    leases: EditableStore
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
        async with open_aws(aws_of_table(address, aws)) as clients:
            store = await _store_in(address, clients, randomness, creates=True)
            assert store is not None, "the table was created"
            emit(StateOpened(state=state, positions=_count(await _scanned(address, store))))
            yield _both(store)
    elif (path := path_of(state)) is not None:
        async with SqliteLeaseStore(path) as file:
            kept_copy = None if file.kept_copy is None else str(file.kept_copy)
            emit(StateOpened(state=state, positions=_count(await file.scan()), kept_copy=kept_copy))
            yield _both(file)
    else:
        raise AssertionError(f"{state} is not an address of a state")


@asynccontextmanager
async def open_by_hand(
    state: str, aws: AwsSettings, *, tell: Callable[[str], None], creates: bool = False
) -> AsyncIterator[Hand | None]:
    """Open the state for a person who changes it. `Hand` explains `tell`.

    If there is no state yet, creates it if `creates` is true, and otherwise yields None.
    If no daemon uses the file now, no daemon can open it until the block ends. Raises the errors of `open_state`.
    """
    async with open_editable(state, aws, creates=creates) as store:
        if store is None:
            yield None
            return
        rows = await (_scanned(table_address(state), store) if state.startswith("dynamodb://") else store.scan())
        yield Hand(store, rows, tell=tell)


@asynccontextmanager
async def open_editable(state: str, aws: AwsSettings, *, creates: bool = False) -> AsyncIterator[EditableStore | None]:
    """Open the store of the state for a person, as `open_by_hand` does."""
    if state.startswith("dynamodb://"):
        async with _table(state, aws, creates=creates) as store:
            yield store
        return
    path = path_of(state)
    assert path is not None, f"{state} is not an address of a stored state"
    if not (creates or STATE.is_there(path)):
        yield None
        return
    async with SqliteLeaseStore(path, stays_alone=True) as file:
        yield file


async def rows_of_table(state: str, aws: AwsSettings) -> list[Row] | None:
    """Return all rows of the state in a table, also while daemons use it. Return None if there is no table yet."""
    async with _table(state, aws) as store:
        return None if store is None else await _scanned(table_address(state), store)


@asynccontextmanager
async def _table(state: str, aws: AwsSettings, *, creates: bool = False) -> AsyncIterator[DynamoDbLeaseStore | None]:
    address = table_address(state)
    async with Aws(aws_of_table(address, aws)) as clients:
        yield await _store_in(address, clients, random.Random(), creates=creates)


async def _store_in(
    address: TableAddress, aws: Aws, randomness: random.Random, *, creates: bool
) -> DynamoDbLeaseStore | None:
    """Return the store in a table. If the table does not exist, create it or return None."""
    client = await aws.json_client("dynamodb", region=address.region, role_arn=address.role_arn)
    with named_faults("daemon.state", address.table):
        if creates:
            await made_ready(client, address.table, option="daemon.state")
        elif not await exists(client, address.table, option="daemon.state"):
            return None
    return DynamoDbLeaseStore(Items(client, table=address.table, randomness=randomness))


async def _scanned(address: TableAddress, store: LeaseStore) -> list[Row]:
    with named_faults("daemon.state", address.table):
        return await store.scan()


@contextmanager
def named_faults(option: str, table: str) -> Iterator[None]:
    """Turn an error of the service into one that names the option and the table."""
    try:
        yield
    except Rejected as error:
        raise SettingsError([f"{option}: the table {table} cannot be used: {error}"]) from error
    except ServiceError as error:
        raise CannotStore(f"{option}: the table {table} cannot be used now: {error}") from error


def aws_of_table(address: TableAddress, aws: AwsSettings) -> AwsSettings:
    """Return the settings of a client that reaches the table where its address says."""
    if address.endpoint_url is None:
        return aws
    return dataclasses.replace(aws, endpoints={**aws.endpoints, "dynamodb": address.endpoint_url})


def path_of(state: str) -> Path | None:
    """Return the path of the file that has the state, or None if there is no file."""
    return Path(state.removeprefix("sqlite://")) if state.startswith("sqlite://") else None


def _count(rows: Iterable[Row]) -> int:
    return sum(row.checkpoint is not None for row in rows)


def _both(store: EditableStore) -> OpenState:
    return OpenState(store, LeasePauses(store))
