"""When may a client's call of a function run? At once if the function's concurrency is not used up. Otherwise:

    with reserved_concurrency      the call is throttled, as on AWS
    without reserved_concurrency   the call waits, at most for the function's timeout, in the same line as the batches
                                   of mappings (gate.py); at most LONGEST_LINE calls of a function wait

An invocation runs while it has a slot. The function's gate has as many slots as its concurrency.
The response to a call without a slot is Throttled, with one of AWS's reasons. During a stop, it is Unreachable.
Another worker may make a call that this one has refused (`may_begin_elsewhere`).
"""

from __future__ import annotations

import anyio

from poller.functions.opened import Contents, OpenFunction
from poller.functions.units import NO_UNIT
from poller.model.invocation import Invocation, Response, Throttled, Unreachable

LONGEST_LINE = 1000
"""How many calls of one function may wait. We chose the number; each waiting call keeps its payload in memory."""

RESERVED_LIMIT = Throttled(reason="ReservedFunctionConcurrentInvocationLimitExceeded")
LIMIT = Throttled(reason="ConcurrentInvocationLimitExceeded")
STOPPING = Unreachable(reason="the daemon stops")


async def call(function: OpenFunction, invocation: Invocation, *, unless: anyio.Event) -> Response:
    """Wait for a slot of the function's gate, call the function, and return its response.

    After `unless` is set, no call gets a slot. `gate.send_home` must end the calls that wait already.
    """
    gate = function.gate
    response = None if gate.enter(unless) else await _wait(function, unless)
    if response is not None:
        return response
    try:
        return (await function.invoke(invocation, Contents(), began_at=anyio.current_time())).response
    finally:
        gate.leave()


async def _wait(function: OpenFunction, unless: anyio.Event) -> Response | None:
    """Wait for a slot. Return None if the call now has a slot. Otherwise, return the response for the client."""
    if unless.is_set():
        return STOPPING
    if function.definition.is_concurrency_reserved:
        return RESERVED_LIMIT
    if function.calls_waiting >= LONGEST_LINE:
        return LIMIT
    function.calls_waiting += 1
    has_slot = False
    try:
        with anyio.move_on_after(function.definition.timeout_in_seconds):
            has_slot = await function.gate.wait_in_line(unless)
    finally:
        function.calls_waiting -= 1
    if has_slot:
        return None
    return STOPPING if unless.is_set() else LIMIT


def may_begin_elsewhere(response: Response) -> bool:
    """Return whether this worker has refused the call, so that another worker may make it.

    The function's service may have refused the call with the same reason. Then the answer is false.
    """
    return any(response is one for one in (RESERVED_LIMIT, NO_UNIT, STOPPING))
