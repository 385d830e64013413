"""Do the pauses that a scan shows reach the one who follows them?"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.engine.pauses_seen import PausesSeen
from poller.model.ids import MappingName
from poller.model.lease import Row, RowKey

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def rows(*keys: str) -> list[Row]:
    return [Row(key=RowKey(key)) for key in keys]


async def test_each_scan_is_followed_and_scans_during_a_call_count_as_one() -> None:
    seen, followed = PausesSeen(), list[tuple[float, Collection[MappingName]]]()

    async def follow(paused: Collection[MappingName]) -> None:
        followed.append((anyio.current_time(), sorted(paused)))
        await anyio.sleep(3)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(seen.run, follow)
        await anyio.sleep(10)
        seen.scanned(rows(":pause/orders", "clicks/stream/shard", ":pause/clicks", ":worker/a/0"))
        await anyio.sleep(1)
        seen.scanned(rows(":pause/orders"))
        seen.scanned(rows())
        await anyio.sleep(10)
        tasks.cancel_scope.cancel()
    assert followed == [(10, ["clicks", "orders"]), (13, [])]
