"""Does each change that a client asks for reach what it should change, and only in the daemon of the same file?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from poller.admin import answers
from poller.errors import CannotChange
from poller.model.move import MoveOrder
from poller.model.order import ShardOrder
from poller.model.stream import SequenceNumber, ShardId
from tests.unit.test_reloading import queue, scene, stream

pytestmark = pytest.mark.anyio


async def test_a_pause_and_a_resume_reach_the_mapping_of_the_same_file_only(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        with pytest.raises(CannotChange, match=r"not /etc/other\.toml"):
            await made.changes.pause("orders", settings="/etc/other.toml")
        assert made.running.paused == []
        answer = {"mapping": "orders", "survives_restart": False}
        assert await made.changes.pause("orders") == answer | {"was_paused": False}
        assert made.running.paused == ["orders"]
        with pytest.raises(CannotChange, match=r"not /etc/other\.toml"):
            await made.changes.resume("orders", settings="/etc/other.toml")
        assert await made.changes.resume("orders") == answer | {"was_paused": True}
        assert made.running.paused == []


async def test_a_pause_survives_a_restart_if_the_state_is_a_file(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        daemon = replace(made.reloader.in_use.daemon, state=f"sqlite://{tmp_path}/poller.db")
        made.reloader.in_use = replace(made.reloader.in_use, daemon=daemon)
        assert (await made.changes.pause("orders"))["survives_restart"]


async def test_positions_are_listed_and_moved_as_the_description_of_the_api_says(tmp_path: Path) -> None:
    order = MoveOrder("7", is_after=True)
    async with scene(tmp_path, stream("clicks")) as made:
        report = answers.Positions.model_validate(await made.changes.positions("clicks"))
        assert [shard.saved_at for shard in report.shards] == ["2026-01-31T12:00:00Z", None]
        with pytest.raises(CannotChange, match=r"other.toml"):
            await made.changes.move("clicks", order, settings="/etc/other.toml")
        assert made.running.moves == []
        moved = answers.PositionMoved.model_validate(await made.changes.move("clicks", order))
        assert (moved.shard, moved.before, moved.position, moved.is_made) == ("shard", "shard after 5", "after 7", True)
        shown = await made.changes.move("clicks", order._replace(only_shows=True))
        assert shown["is_made"] is False


async def test_stuck_events_need_a_file_that_the_settings_name(tmp_path: Path) -> None:
    async with scene(tmp_path, stream("clicks")) as made:
        with pytest.raises(CannotChange, match="no event is stored"):
            await made.changes.stuck_events("audit")
        with pytest.raises(CannotChange, match=r"other.toml"):
            await made.changes.change_events("audit", "drop", None, settings="/etc/other.toml")
        with pytest.raises(CannotChange, match="no event is stored"):
            await made.changes.change_events("audit", "drop", None)


async def test_an_order_about_a_shard_is_answered_with_what_blocked_it_before(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        order = ShardOrder("discard", ShardId("shard"), SequenceNumber("1"), SequenceNumber("2"))
        with pytest.raises(CannotChange, match=r"not /etc/other\.toml"):
            await made.changes.order("orders", order, settings="/etc/other.toml")
        assert made.running.orders == []
        assert await made.changes.order("orders", order) == {
            "mapping": "orders",
            "shard": "shard",
            "action": "discard",
            "records": 2,
            "reason": "KeyError",
            "blocked_since": "2026-01-31T12:00:00Z",
        }
        assert made.running.orders == [("orders", order)]


async def test_a_request_for_another_file_is_refused(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        link = tmp_path / "link.toml"
        link.symlink_to(made.file)
        await made.changes.reload(settings=str(link))
        with pytest.raises(CannotChange, match=rf"this daemon runs {made.file}, not /etc/other\.toml"):
            await made.changes.reload(settings="/etc/other.toml")
        with pytest.raises(CannotChange, match="this daemon runs"):
            await made.changes.restart_function("store", settings="/etc/other.toml")
        assert (made.reads, made.running.restarted) == (1, [])


@pytest.mark.parametrize("path", ["no\0path", "x" * 5000], ids=["NUL", "too long"])
async def test_a_request_for_an_impossible_file_is_refused(tmp_path: Path, path: str) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        with pytest.raises(CannotChange, match="this daemon runs"):
            await made.changes.reload(settings=path)
        assert made.reads == 0
