"""How many files and connections may the daemon have open, and how many does it need?

A shell and systemd give a process 1,024 descriptors unless it asks for more, and the default concurrency of a single
Lambda function takes 1,000.  So the daemon raises its own limit at the start, up to what the system allows.
Its children get the limit that the daemon was started with: select(2) fails beyond 1,024, and some programs close every
descriptor up to their limit.
"""

from __future__ import annotations

import resource
from typing import NamedTuple, assert_never

from poller.model.function import ChildProcess, Function, HttpService, LambdaApi
from poller.model.mapping import QueueMapping
from poller.settings.values import Settings

MOST = 65_536
"""A higher limit has no use, and some systems reserve memory for each descriptor."""

OF_THE_PROCESS = 100
"""For pipes, the state file and its locks, the log, the event loop, and the admin server with all its connections."""

OF_A_CHILD = 5
"""For two pipes of its output, a handle of the process, and its Runtime API with a connection."""

OF_A_STREAM = 128
"""For the reads that one mapping may have at once (engine/streams/shard.py)."""


class Limits(NamedTuple):
    """`original` is what the daemon was started with, `own` what it has now; -1 is no limit."""

    original: int
    own: int


def raise_limit() -> Limits:
    """Raise the soft limit of this process as far as its hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard)
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return Limits(soft, soft)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return Limits(soft, wanted)


def needed(settings: Settings) -> int:
    """How many descriptors the daemon needs when every mapping and function is as busy as it may be; at most `MOST`."""
    queues = [mapping for mapping in settings.queue_mappings if mapping.is_enabled]
    streams = [mapping for mapping in settings.stream_mappings if mapping.is_enabled]
    functions = {mapping.function_name for mapping in queues} | {mapping.function_name for mapping in streams}
    busiest = (
        OF_THE_PROCESS
        + sum(_of_function(settings.functions[name]) for name in functions)
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


def _of_queue(mapping: QueueMapping, function: Function) -> int:
    """Connections to the queue, which stay open for a while in addition to those to the function."""
    return min(mapping.maximum_concurrency or function.reserved_concurrency, function.reserved_concurrency)
