"""May a mapping begin with the positions that the state has, and what does its first start write?"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from poller.boot_clock import BootClock
from poller.engine.leases.worker import Worker
from poller.engine.streams.rows import Marks, ShardRows
from poller.errors import Rejected
from poller.model.arn import Arn
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Owner, begun_key, shard_key
from poller.model.mapping import StreamMapping
from poller.model.stream import Shard, ShardEnd, ShardId, TrimHorizon
from poller.stores.routed_leases import RoutedLeaseStore
from poller.stores.sqlite_leases import SqliteLeaseStore
from tests.fakes.disk import transactions

MAPPING = StreamMapping(
    name=MappingName("clicks"),
    event_source_arn=Arn.parse("arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"),
    function_name=FunctionName("f"),
    starting_position=TrimHorizon(),
    region="eu-west-1",
    uuid="u",
)
WITH_TABLE = replace(MAPPING, kcl_table="my-application")


@pytest.mark.parametrize(
    ("mapping", "noted"), [(MAPPING, None), (WITH_TABLE, None), (WITH_TABLE, "my-application"), (WITH_TABLE, "earlier")]
)
def test_a_mapping_begins_if_it_uses_the_table_of_kcl_or_has_never_used_one(
    mapping: StreamMapping, noted: str | None
) -> None:
    Marks(has_begun=True, by_hand=None, kcl_table=noted).refuse_old_positions(mapping)


def test_a_mapping_that_no_longer_uses_its_table_of_kcl_does_not_begin_at_older_positions() -> None:
    marks = Marks(has_begun=True, by_hand=None, kcl_table="my-application")
    with pytest.raises(Rejected, match="poller state copy kcl://my-application --mapping clicks"):
        marks.refuse_old_positions(MAPPING)


@pytest.mark.anyio
async def test_a_first_start_needs_one_transaction_of_the_state_file(tmp_path: Path) -> None:
    parent, child, state = ShardId("parent"), ShardId("child"), MAPPING.state_key
    async with SqliteLeaseStore(tmp_path / "poller.db") as store:
        worker = Worker(
            Owner(f"blue-1/{'0' * 32}"),
            store=RoutedLeaseStore(store),
            clock=BootClock(anyio.current_time),
            randomness=random.Random(0),
            emit=lambda _: None,
        )
        rows, before = ShardRows(worker, state, address="memory:"), transactions(tmp_path / "poller.db")
        shards = [Shard(child, (parent,), True), Shard(parent, (), False)]
        assert (await rows.begin(shards, {parent: ShardEnd(), child: TrimHorizon()}, at=0.0)).keys() == {parent, child}
        assert transactions(tmp_path / "poller.db") - before == 1
        assert (await rows.marks()).has_begun
        stored = {row.key for row in await store.scan()}
    assert stored == {shard_key(state, parent), shard_key(state, child), begun_key(state)}
