"""Is the function's file read correctly while it is written?"""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from poller.demo.clicks.story import Click
from poller.demo.clicks.trace import Sighting, read_trace
from poller.examples.clicks.functions import count_clicks


def test_before_the_first_invocation_the_trace_is_empty(tmp_path: Path) -> None:
    assert read_trace(tmp_path / "clicks.txt") == []


def test_the_lines_of_the_function_are_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "clicks.txt"
    monkeypatch.setenv("CLICKS_FILE", str(file))
    clicks = [Click("user-02", 7), Click("user-01", 1)]
    records = [
        {"eventID": f"shardId-0:{place}", "kinesis": {"data": base64.b64encode(click.data).decode()}}
        for place, click in enumerate(clicks)
    ]
    count_clicks({"Records": records}, None)
    count_clicks({"Records": records[:1]}, None)
    first, second = Sighting(clicks[0], "shardId-0", "0"), Sighting(clicks[1], "shardId-0", "1")
    assert read_trace(file) == [first, second, first]


def test_a_half_written_line_is_read_when_it_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "clicks.txt"
    file.write_text("user-01 1 shardId-0:1\nuser-01 2 sha", encoding="utf-8")
    assert read_trace(file) == [Sighting(Click("user-01", 1), "shardId-0", "1")]
