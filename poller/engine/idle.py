"""What does a mapping do whose function has reserved_concurrency = 0? Nothing: it receives and reads nothing.

The messages stay in the queue, and the positions in a stream stay where they are. The status says why the mapping
waits.
If a stream has no stored position yet, its starting position is stored only after reserved_concurrency is raised.
Source: AWS Lambda Developer Guide, "Configuring reserved concurrency for a function": zero stops all invocations.
"""

from __future__ import annotations

from poller.engine.stop import Stop
from poller.facts import Emit, MappingWaiting
from poller.model.mapping import QueueMapping, StreamMapping
from poller.model.status import MappingStatus, QueueStatus, StreamStatus
from poller.ports import Clock


class IdleRunner:
    """One run of a mapping that does nothing until its stop; see `engine/supervisor.py`."""

    def __init__(self, mapping: QueueMapping | StreamMapping, *, stop: Stop, clock: Clock, emit: Emit) -> None:
        self._mapping = mapping
        self._stop = stop
        self._since = clock.now()
        self._emit = emit
        self._reason = f"function {mapping.function_name} has reserved_concurrency = 0, so it is not invoked"

    def status(self) -> MappingStatus:
        return MappingStatus(
            mapping=self._mapping.name,
            function=self._mapping.function_name,
            source=str(self._mapping.event_source_arn),
            state="waiting",
            reason=self._reason,
            polls_in_flight=0,
            batches_in_flight=0,
            messages_held=0,
            concurrency_limit=0,
            queue=QueueStatus() if isinstance(self._mapping, QueueMapping) else None,
            stream=StreamStatus() if isinstance(self._mapping, StreamMapping) else None,
            since=self._since,
        )

    def held(self) -> tuple[str, ...]:
        return ()

    async def run(self) -> None:
        self._emit(MappingWaiting(self._mapping.name, self._mapping.function_name, self._reason))
        await self._stop.draining.wait()
