"""A watermark beside an obvious model: the list of all records, each with a tick."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from poller.core.positions import place
from poller.core.watermark import Watermark
from poller.model.stream import AfterSequence, Position, SequenceNumber, ShardEnd, TrimHorizon

STEPS = st.lists(st.sampled_from(["hand out", "pass over"]) | st.integers(0, 30), max_size=80)
"""A number finishes that record of those in hand."""


def expected(records: list[tuple[int, bool]], *, has_ended: bool) -> Position:
    position: Position = TrimHorizon()
    for value, is_done in records:
        if not is_done:
            return position
        position = AfterSequence(SequenceNumber(str(value)))
    return ShardEnd() if has_ended else position


@given(STEPS, st.integers(0, 80))
def test_the_watermark_is_the_end_of_the_finished_prefix(steps: list[str | int], end_at: int) -> None:
    watermark = Watermark(TrimHorizon())
    records: list[tuple[int, bool]] = []
    has_ended = False
    for index, step in enumerate(steps):
        before = watermark.position
        in_hand = [at for at, (_, is_done) in enumerate(records) if not is_done]
        if isinstance(step, int):
            if in_hand:
                at = in_hand[step % len(in_hand)]
                watermark.finish([SequenceNumber(str(records[at][0]))])
                records[at] = (records[at][0], True)
        elif not has_ended:
            value = 7 + 3 * index  # from one digit to three, with gaps
            record = SequenceNumber(str(value))
            records.append((value, step == "pass over"))
            (watermark.pass_over if step == "pass over" else watermark.hand_out)(record)
        if index == end_at:
            has_ended = True
            watermark.end()
        assert watermark.position == expected(records, has_ended=has_ended)
        assert watermark.in_hand == len([1 for _, is_done in records if not is_done])
        assert place(before) <= place(watermark.position)
