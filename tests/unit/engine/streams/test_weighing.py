"""Does a read ask for as many records as fit, for any knowledge of their weight?"""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.engine.streams.budget import LARGEST_ANSWER, LEAST
from poller.engine.streams.weighing import PATIENCE_IN_SECONDS, RecordWeight

pytestmark = pytest.mark.anyio

KILOBYTE = 1024


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def test_a_read_with_room_for_any_answer_asks_for_all_records() -> None:
    weight = RecordWeight()
    weight.learn(LEAST)
    assert await weight.fitting(LARGEST_ANSWER, LEAST) == 10_000


async def test_the_weight_of_a_shards_own_records_counts_before_that_of_others() -> None:
    weight = RecordWeight()
    weight.learn(100 * KILOBYTE)
    assert await weight.fitting(LEAST, KILOBYTE) == 1024


async def test_the_heaviest_weight_of_the_other_shards_counts() -> None:
    weight = RecordWeight()
    weight.learn(KILOBYTE)
    weight.learn(64 * KILOBYTE)
    weight.learn(2 * KILOBYTE)
    assert await weight.fitting(LEAST, None) == 16


async def test_a_read_with_room_for_less_than_a_record_asks_for_one() -> None:
    weight = RecordWeight()
    assert await weight.fitting(LEAST, 2 * LEAST) == 1
    assert await weight.fitting(LEAST, 1.0) == 10_000


async def test_the_first_read_of_a_mapping_waits_for_no_other() -> None:
    assert await RecordWeight().fitting(LEAST, None) == 1
    assert anyio.current_time() == 0


async def test_the_next_reads_wait_for_the_first_record_and_no_longer() -> None:
    weight = RecordWeight()
    await weight.fitting(LARGEST_ANSWER, None)
    asked: list[int] = []

    async def ask() -> None:
        asked.append(await weight.fitting(LEAST, None))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(ask)
        await anyio.sleep(1.0)
        assert asked == []
        weight.learn(KILOBYTE)
    assert asked == [1024, 1024]
    assert anyio.current_time() == 1.0


async def test_if_no_record_comes_each_read_asks_for_one_and_no_later_read_waits() -> None:
    weight = RecordWeight()
    await weight.fitting(LARGEST_ANSWER, None)
    await anyio.sleep(0.5)
    assert await weight.fitting(LEAST, None) == 1
    assert anyio.current_time() == PATIENCE_IN_SECONDS
    assert await weight.fitting(LEAST, None) == 1
    assert anyio.current_time() == PATIENCE_IN_SECONDS


async def test_once_the_patience_is_over_a_read_of_an_idle_stream_costs_no_turn_of_the_event_loop() -> None:
    weight = RecordWeight()
    await weight.fitting(LARGEST_ANSWER, None)
    await anyio.sleep(PATIENCE_IN_SECONDS)
    read = weight.fitting(LEAST, None)
    with pytest.raises(StopIteration) as ended:
        read.send(None)
    assert ended.value.value == 1
