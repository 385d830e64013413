"""How many files and connections may the daemon have open, and how many does it need?

A shell or systemd usually limits a process to 1,024 descriptors, and one busy function alone may need 1,000.
So the daemon raises its own limit at the start, as far as the system allows.
Child processes get the limit that the daemon was started with, because a high limit harms some programs: select(2)
fails beyond 1,024, and some programs close every descriptor up to their limit.
"""

from __future__ import annotations

import resource
from typing import NamedTuple, assert_never

from poller.model.function import ChildProcess, Function, HttpService, LambdaApi
from poller.model.mapping import QueueMapping
from poller.settings.values import Settings

MOST = 65_536
"""The highest limit that the daemon asks for. More is useless, and some systems reserve memory for each descriptor."""

OF_THE_PROCESS = 100
"""Descriptors for the state file and its locks, pipes, the log, the event loop, the admin server and its clients."""

OF_THE_API = 256
"""Descriptors for the clients of Lambda's API (lambda_api/server.py)."""

OF_A_CHILD = 5
"""Descriptors for one child process: two output pipes, a process handle, its Runtime API's socket and connection."""

OF_A_STREAM = 128
"""Descriptors for the calls that one stream mapping may make at once (engine/streams/shard.py)."""


class Limits(NamedTuple):
    """Soft limits of open files; -1 means no limit.

    `original` is the limit that the daemon was started with; child processes get it. `own` is the daemon's limit now.
    """

    original: int
    own: int


def raise_limit() -> Limits:
    """Raise the soft limit of this process to `MOST`, or as far as its hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard)
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return Limits(soft, soft)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return Limits(soft, wanted)


def needed(settings: Settings) -> int:
    """Return how many descriptors the daemon needs when all mappings and functions are busy; at most `MOST`."""
    queues = [mapping for mapping in settings.queue_mappings if mapping.is_enabled]
    streams = [mapping for mapping in settings.stream_mappings if mapping.is_enabled]
    busiest = (
        OF_THE_PROCESS
        + (OF_THE_API if settings.daemon.api_listen is not None else 0)
        + sum(_of_function(function) + _of_events(function) for function in settings.functions.values())
        + sum(_of_queue(mapping, settings.functions[mapping.function_name]) for mapping in queues)
        + OF_A_STREAM * len(streams)
    )
    return min(MOST, busiest)


def is_enough(limits: Limits, wanted: int) -> bool:
    return limits.own == resource.RLIM_INFINITY or wanted <= limits.own


def _of_function(function: Function) -> int:
    match function.kind:
        case ChildProcess():
            return OF_A_CHILD * function.reserved_concurrency
        case HttpService() | LambdaApi():
            return function.reserved_concurrency
        case _:
            assert_never(function.kind)


def _of_events(function: Function) -> int:
    """Return the number of connections to the SQS queue with the function's events, if there is such a queue."""
    return 0 if function.event_invoke_config.event_queue_arn is None else function.reserved_concurrency


def _of_queue(mapping: QueueMapping, function: Function) -> int:
    """Return the number of connections to the queue. The connections to the function are open at the same time."""
    return min(mapping.maximum_concurrency or function.reserved_concurrency, function.reserved_concurrency)
