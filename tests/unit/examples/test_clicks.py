"""Does the example handler write the clicks in order, and raise at a click that is not JSON?"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from poller.examples.clicks.functions import count_clicks


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "clicks.txt"
    monkeypatch.setenv("CLICKS_FILE", str(path))
    return path


def record(data: str, place: int) -> dict[str, Any]:
    return {"eventID": f"shardId-0:{place}", "kinesis": {"data": base64.b64encode(data.encode()).decode()}}


def test_every_click_is_a_line_and_later_ones_come_after_it(file: Path) -> None:
    count_clicks(
        {"Records": [record('{"user": "ada", "number": 1}', 5), record('{"user": "bea", "number": 4}', 6)]}, None
    )
    count_clicks({"Records": [record('{"user": "ada", "number": 2}', 7)]}, None)
    assert file.read_text(encoding="utf-8") == "ada 1 shardId-0:5\nbea 4 shardId-0:6\nada 2 shardId-0:7\n"


def test_a_malformed_click_raises_after_the_earlier_ones_were_handled(file: Path) -> None:
    records = [record('{"user": "ada", "number": 1}', 5), record('{"user": "a', 6), record("{}", 7)]
    with pytest.raises(ValueError, match="Unterminated"):
        count_clicks({"Records": records}, None)
    assert file.read_text(encoding="utf-8") == "ada 1 shardId-0:5\n"
