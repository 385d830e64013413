"""Under which names has the state positions of a stream, and how does a mapping with a new name continue at them?"""

from __future__ import annotations

import pytest

from poller.core.streams.former_names import former_names, way_back
from poller.model.ids import MappingName
from poller.model.lease import Row, RowKey
from poller.model.stream import Checkpoint, TrimHorizon

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"


def row(key: str, *, is_reset: bool = False) -> Row:
    return Row(key=RowKey(key), checkpoint=None if is_reset else Checkpoint(TrimHorizon()))


@pytest.mark.parametrize(
    ("row", "names"),
    [
        (row(f"clicks/{STREAM}/shard-1"), ["clicks"]),
        (row(f"views/{STREAM}/shard-1"), []),
        (row(f"clicks/{STREAM}/shard-1", is_reset=True), []),
    ],
    ids=["former", "in use", "reset"],
)
def test_a_former_name_has_positions_of_the_stream_and_no_mapping(row: Row, names: list[str]) -> None:
    assert former_names([row, row], names=[MappingName("views")]) == names


def test_positions_in_memory_cannot_be_renamed() -> None:
    former, now = MappingName("clicks"), MappingName("views")
    assert way_back(former, now, state="memory:") == "name the mapping clicks again, and reload"
    assert "`poller state rename clicks views`" in way_back(former, now, state="sqlite:///poller.db")
