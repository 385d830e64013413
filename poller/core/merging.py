"""What is the status of a mapping that several workers, or several runs, have? One status, made of all of them.

    state, reason, since, tries    those of the worker with the worst state, if possible one with a reason
    numbers of work in hand        their sum: polls, batches, records, bytes, shards that are read
    ages                           the highest one that a worker knows
    the last error                 the newest one
    what every worker knows        counted once: drained shards, and the events of a shared event queue
    blocked shards                 those of all workers, the longest blocked first
    shards that are shown          those of all workers, in the same order (streams/trouble_first.py)

The mappings keep the order of the first worker.
During a reload, a worker has several runs of a mapping. Their work in hand, ages and shards are merged in the same way;
the newest run tells the rest.
A worker that has been silent for so long that it has lost its leases reads no shards: another worker may read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from poller.core.streams.trouble_first import first_shown
from poller.model.function_status import FunctionStatus, first_of, last_of
from poller.model.ids import FunctionName, MappingName
from poller.model.sharing import SharingStatus
from poller.model.status import EventsStatus, MappingState, MappingStatus, QueueStatus, StreamStatus

WORST_FIRST: tuple[MappingState, ...] = ("troubled", "waiting", "starting", "stopping", "paused", "ready", "disabled")


def merged(workers: Iterable[Sequence[MappingStatus]]) -> list[MappingStatus]:
    """Return one status for each mapping. Each sequence has the statuses of one worker."""
    of_mapping: dict[MappingName, list[MappingStatus]] = {}
    for statuses in workers:
        for status in statuses:
            of_mapping.setdefault(status.mapping, []).append(status)
    return [_merged(statuses) for statuses in of_mapping.values()]


def with_older_runs(status: MappingStatus, older: Sequence[MappingStatus]) -> MappingStatus:
    """Return the status of a mapping's newest run, with what its older runs in the same process have in hand."""
    every = [status, *older]
    streams = [_without_actions(one.stream) for one in older if one.stream is not None]
    queues = [one.queue for one in every if one.queue is not None]
    return status._replace(
        batches_in_flight=sum(one.batches_in_flight for one in every),
        messages_held=sum(one.messages_held for one in every),
        stream=_streams([status.stream, *streams]) if status.stream is not None else None,
        queue=_queues(queues) if status.queue is not None else None,
    )


def _without_actions(stream: StreamStatus) -> StreamStatus:
    """Return the status without the actions for blocked shards, because only the newest run executes orders."""
    return stream._replace(blocked=tuple(blocked._replace(actions=()) for blocked in stream.blocked))


def without_shards(statuses: Iterable[MappingStatus]) -> list[MappingStatus]:
    """Return the statuses of a worker that reads no shards any more, because it has lost its leases."""
    return [
        status if status.stream is None else status._replace(stream=_reading_nothing(status.stream))
        for status in statuses
    ]


def _reading_nothing(stream: StreamStatus) -> StreamStatus:
    return StreamStatus(shards_waiting=stream.shards_waiting, shards_drained=stream.shards_drained)


def merged_sharing(statuses: Iterable[SharingStatus]) -> SharingStatus | None:
    """Return one status for the workers of one host, made of their statuses. Return None if there are no statuses.

    The numbers of leases are added, and each time is the longest one of all workers. Everything else, such as the list
    of live workers, comes from the worker to which the table has answered last.
    """
    every = list(statuses)
    if not every:
        return None
    return min(every, key=lambda status: status.table_silence_in_seconds)._replace(
        shards=sum(status.shards for status in every),
        units=sum(status.units for status in every),
        table_silence_in_seconds=max(status.table_silence_in_seconds for status in every),
        heartbeat_age_in_seconds=max(status.heartbeat_age_in_seconds for status in every),
        unread_in_seconds=max(status.unread_in_seconds for status in every),
    )


def merged_functions(workers: Iterable[Sequence[FunctionStatus]]) -> list[FunctionStatus]:
    """Return one status for each function. Each sequence has the statuses of one worker."""
    of_name: dict[FunctionName, list[FunctionStatus]] = {}
    for statuses in workers:
        for status in statuses:
            of_name.setdefault(status.function, []).append(status)
    return [_merged_function(name, statuses) for name, statuses in of_name.items()]


def _merged_function(name: FunctionName, statuses: Sequence[FunctionStatus]) -> FunctionStatus:
    return FunctionStatus(
        name,
        running=sum(status.running for status in statuses),
        waiting=sum(status.waiting for status in statuses),
        limit=sum(status.limit for status in statuses),
        children=sum(status.children for status in statuses),
        busy=sum(status.busy for status in statuses),
        first_children=first_of([child for status in statuses for child in status.first_children]),
        log=last_of([line for status in statuses for line in status.log]),
    )


def _merged(statuses: Sequence[MappingStatus]) -> MappingStatus:
    worst = min(statuses, key=_badness)
    streams = [status.stream for status in statuses if status.stream is not None]
    events = [status.events for status in statuses if status.events is not None]
    queues = [status.queue for status in statuses if status.queue is not None]
    return worst._replace(
        polls_in_flight=sum(status.polls_in_flight for status in statuses),
        batches_in_flight=sum(status.batches_in_flight for status in statuses),
        messages_held=sum(status.messages_held for status in statuses),
        concurrency_limit=sum(status.concurrency_limit for status in statuses),
        stream=_streams(streams) if streams else None,
        events=_events(events) if events else None,
        queue=_queues(queues) if queues else None,
        last_error=max((one.last_error for one in statuses if one.last_error is not None), default=None),
        was_found=all(status.was_found for status in statuses),
    )


def _badness(status: MappingStatus) -> tuple[int, bool, float]:
    """Return a sort key that puts the worst status first.

    Of equal states, one with a reason is worse, and then the one that has lasted longest.
    """
    since = float("inf") if status.since is None else status.since
    return WORST_FIRST.index(status.state), status.reason is None, since


def _streams(streams: Sequence[StreamStatus]) -> StreamStatus:
    blocked = sorted((shard for stream in streams for shard in stream.blocked), key=lambda shard: shard.since)
    return StreamStatus(
        iterator_age_in_seconds=_highest(stream.iterator_age_in_seconds for stream in streams),
        unblocked_age_in_seconds=max(stream.unblocked_age_in_seconds for stream in streams),
        checkpoint_age_in_seconds=max(stream.checkpoint_age_in_seconds for stream in streams),
        shards_reading=sum(stream.shards_reading for stream in streams),
        shards_waiting=max(stream.shards_waiting for stream in streams),
        shards_drained=max(stream.shards_drained for stream in streams),
        shards_blocked=sum(stream.shards_blocked for stream in streams),
        bytes_buffered=sum(stream.bytes_buffered for stream in streams),
        blocked=tuple(blocked),
        shards=first_shown(shard for stream in streams for shard in stream.shards),
    )


def _queues(queues: Sequence[QueueStatus]) -> QueueStatus:
    return QueueStatus(_highest(queue.oldest_age_in_seconds for queue in queues))


def _highest(ages: Iterable[float | None]) -> float | None:
    """Return the highest age that a worker knows, or None if no worker knows one."""
    return max((age for age in ages if age is not None), default=None)


def _events(events: Sequence[EventsStatus]) -> EventsStatus:
    """Return the highest numbers. They are not added, because each worker counts the events of all workers."""
    return EventsStatus(
        waiting=max(one.waiting for one in events),
        in_flight=max(one.in_flight for one in events),
        stuck=max(one.stuck for one in events),
        oldest_age_in_seconds=max(one.oldest_age_in_seconds for one in events),
        is_in_use=any(one.is_in_use for one in events),
    )
