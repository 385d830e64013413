"""Does the watermark agree with an obvious model, a list of all records with a mark for each that is done?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from poller.core.positions import rank
from poller.core.streams.watermark import Watermark
from poller.model.stream import AfterSequence, Position, SequenceNumber, ShardEnd, TrimHorizon

STEPS = st.lists(st.lists(st.booleans(), max_size=5) | st.integers(0, 30), max_size=60)
"""A list adds records, some of which the filter accepts; a number finishes the record in hand with this index."""


def expected(records: list[tuple[int, bool]], *, has_ended: bool) -> Position:
    position: Position = TrimHorizon()
    for value, is_done in records:
        if not is_done:
            return position
        position = AfterSequence(SequenceNumber(str(value)))
    return ShardEnd() if has_ended else position


@given(STEPS, st.integers(0, 60))
def test_the_watermark_is_the_end_of_the_finished_prefix(steps: list[list[bool] | int], end_at: int) -> None:
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
            values = [7 + 21 * index + 4 * at for at in range(len(step))]  # from one digit to four, with gaps
            records += [(value, not is_kept) for value, is_kept in zip(values, step, strict=True)]
            numbers = [SequenceNumber(str(value)) for value in values]
            watermark.hand_out(numbers, **({} if all(step) else {"kept": step}))
        if index == end_at:
            has_ended = True
            watermark.end()
        assert watermark.position == expected(records, has_ended=has_ended)
        assert watermark.in_hand == len([1 for _, is_done in records if not is_done])
        assert rank(before) <= rank(watermark.position)
