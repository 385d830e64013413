"""Which tumbling window is open in a lane, and how does it change an invocation?

`core/streams/tumbling.py` has the rules. This module stores the open window, and changes it at each of these steps:

    admits       the first record opens a window; a record of a later window must wait
    settled      after records, the window has the state that the function returned;
                 after the last invocation, no window is open, or the same window with the state {} after an early end
    discarded    after records, the state stays as it was; after the last invocation, as above

An invocation without records is the last one of its window.
A window ends early only if its state is larger than the limit. This can be seen from the state alone, so a stored
window can continue after a restart.
If the mapping has no tumbling windows, every record is admitted, and an event has nothing but records.

Source: AWS Lambda Developer Guide, "Configuring Kinesis Data Streams for stateful processing" (tumbling windows).
"""

from __future__ import annotations

from collections.abc import Sequence

from poller.core import envelope
from poller.core.batching import EMPTY_EVENT_BYTES, MAXIMUM_EVENT_BYTES
from poller.core.invocation_record import WindowCall
from poller.core.streams import tumbling
from poller.core.streams.retry import Deliverable
from poller.model.invocation import Response
from poller.model.mapping import StreamMapping
from poller.model.outcome import Outcome
from poller.model.stream import ShardId, Window


class LaneWindow:
    """The windows of one lane, one after another. `open` is the open window, or None."""

    def __init__(self, mapping: StreamMapping, shard_id: ShardId, stored: Window | None) -> None:
        self._length = mapping.tumbling_window_in_seconds
        self._shard_id = shard_id
        self._arn = str(mapping.event_source_arn)
        self._room_without_state = MAXIMUM_EVENT_BYTES - EMPTY_EVENT_BYTES
        self.open = stored
        if self._length is not None:
            self._room_without_state = tumbling.room_in_bytes(shard_id, self._arn, state_bytes=0)

    @property
    def is_on(self) -> bool:
        """Return whether the mapping has tumbling windows."""
        return self._length is not None

    def batch_limit_in_bytes(self, event_limit_in_bytes: int) -> int:
        """Return the size limit of a batch, measured as the size of its event without window and state.

        Lambda's limit must also have room for the largest possible state. `event_limit_in_bytes`, which may be smaller
        than the largest state, must have room for the present state.
        """
        largest_state = 0 if self._length is None else tumbling.MAXIMUM_STATE_BYTES
        room = self.room_in_bytes - (MAXIMUM_EVENT_BYTES - event_limit_in_bytes)
        return EMPTY_EVENT_BYTES + min(self._room_without_state - largest_state, room)

    @property
    def room_in_bytes(self) -> int:
        """Return how many bytes of records fit into an event with the present state."""
        return self._room_without_state - (0 if self.open is None else len(self.open.state))

    @property
    def empty_event_bytes(self) -> int:
        """Return the length of an event that has the present state and no records."""
        return MAXIMUM_EVENT_BYTES - self.room_in_bytes

    @property
    def must_end_early(self) -> bool:
        return self.open is not None and tumbling.must_end_early(self.open)

    def admits(self, record: tumbling.Arrived) -> bool:
        """Return whether the next batch may have this record: it belongs to the open window, or there are no windows.

        If no window is open, open the window of this record.
        """
        if self._length is None:
            return True
        if self.open is None:
            self.open = tumbling.opened(record.arrived_at, self._length)
        return not self.must_end_early and tumbling.within(self.open, (record,)) == 1

    def is_over(self, *, next_record: tumbling.Arrived | None, caught_up_at: float | None, is_shard_end: bool) -> bool:
        """Return whether the window's last invocation is due.

        Call this only when all records before `next_record` are done.
        """
        if self.open is None:
            return False
        next_arrived_at = next_record.arrived_at if next_record is not None else None
        return self.must_end_early or None is not tumbling.closing(
            self.open, next_arrived_at=next_arrived_at, caught_up_at=caught_up_at, is_shard_end=is_shard_end
        )

    def call(self, records: Sequence[Deliverable]) -> WindowCall | None:
        """Return what an invocation with these records tells about the open window, or None if no window is open."""
        if self.open is None:
            return None
        is_final = not records
        return WindowCall(window=self.open, is_final=is_final, is_terminated_early=is_final and self.must_end_early)

    def event(self, records: Sequence[Deliverable]) -> bytes:
        encoded = [record.encoded for record in records]
        call = self.call(records)
        if call is None:
            return envelope.event(encoded)
        return envelope.window_event(
            encoded,
            shard_id=self._shard_id,
            arn=self._arn,
            window=call.window,
            is_final=call.is_final,
            is_terminated_early=call.is_terminated_early,
        )

    def interpret(self, outcome: Outcome, response: Response, records: Sequence[Deliverable]) -> Outcome:
        if self.open is None:
            return outcome
        return tumbling.interpret(outcome, response, is_final=not records)

    def settled(self, records: Sequence[Deliverable], response: Response) -> None:
        if self.open is None:
            return
        self.open = tumbling.settled(self.open, response) if records else self._after(self.open)

    def discarded(self, records: Sequence[Deliverable]) -> None:
        if self.open is not None and not records:
            self.open = self._after(self.open)

    def _after(self, window: Window) -> Window | None:
        """Return the window that is open after the last invocation of `window`, or None."""
        return tumbling.continued(window) if self.must_end_early else None
