"""When may a client's call of a function run? At once if a slot of the function's gate is free; else this decides:

    reserved_concurrency is set    the call is refused, as on AWS
    it is not set                  the call waits in the gate's line, at most for the function's timeout; the line has
                                   a limit for calls, and batches of mappings stand in it, too

A call that gets no slot is answered with Throttled, and its reason is AWS's.
"""

from __future__ import annotations

import anyio

from poller.functions.opened import Contents, OpenFunction
from poller.model.invocation import Invocation, Response, Throttled, Unreachable

LONGEST_LINE = 1000
"""How many calls of one function may wait. The number is ours; each call holds its payload."""

RESERVED_LIMIT = Throttled(reason="ReservedFunctionConcurrentInvocationLimitExceeded")
LIMIT = Throttled(reason="ConcurrentInvocationLimitExceeded")
STOPPING = Unreachable(reason="the daemon stops")


async def call(function: OpenFunction, invocation: Invocation, *, unless: anyio.Event) -> Response:
    """Call the function once it has a slot, and return its response. Once `unless` is set, no call gets a slot.

    Setting `unless` does not end the waits; `gate.send_home` does.
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
    """Wait for a slot. Return None with a slot, else the response to the call."""
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
