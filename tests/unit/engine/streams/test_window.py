from __future__ import annotations

from typing import NamedTuple

from poller.core.streams.tumbling import MAXIMUM_STATE_BYTES
from poller.engine.streams.window import LaneWindow
from poller.model.arn import Arn
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import StreamMapping
from poller.model.stream import Latest, ShardId, Window

OUTGROWN = b'"' + b"x" * MAXIMUM_STATE_BYTES + b'"'


class Arrived(NamedTuple):
    arrived_at: float


def window_of(*, length: int | None, stored: Window | None = None) -> LaneWindow:
    mapping = StreamMapping(
        name=MappingName("m"),
        event_source_arn=Arn.parse("arn:aws:kinesis:eu-west-1:123456789012:stream/s"),
        function_name=FunctionName("f"),
        starting_position=Latest(),
        tumbling_window_in_seconds=length,
        region="eu-west-1",
        uuid="u",
    )
    return LaneWindow(mapping, ShardId("shardId-000000000000"), stored)


def test_a_window_whose_state_has_outgrown_its_limit_admits_nothing_before_its_last_call() -> None:
    window = window_of(length=10, stored=Window(0, 10, OUTGROWN))
    assert not window.admits(Arrived(5.0))
    assert window.is_over(next_record=Arrived(5.0), caught_up_at=None, is_shard_end=False)
    call = window.call([])
    assert call is not None
    assert call.is_terminated_early
    window.discarded([])
    assert window.open == Window(0, 10, b"{}")
    assert window.admits(Arrived(5.0))


def test_without_windows_every_record_is_admitted_and_no_window_ends() -> None:
    window = window_of(length=None)
    assert window.admits(Arrived(5.0))
    assert window.admits(Arrived(5000.0))
    assert not window.is_over(next_record=None, caught_up_at=1e9, is_shard_end=True)
    assert window.call([]) is None
    assert window.event([]) == b'{"Records":[]}'


def test_a_stored_window_keeps_its_bounds_though_the_mapping_has_another_length_now() -> None:
    window = window_of(length=60, stored=Window(10, 20, b"{}"))
    assert window.admits(Arrived(19.0))
    assert not window.admits(Arrived(20.0))
    window.discarded([])
    assert window.admits(Arrived(20.0))
    assert window.open == Window(0, 60, b"{}")
