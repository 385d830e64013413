"""What does a function learn about its invocation? The client context of the call tells it:

    a batch of a mapping       the mapping, the request id and the attempt, under `custom`
    a call of the Invoke API   the client context that the client sent, unchanged; none if it sent none
    an asynchronous event      none

Lambda's runtimes show the client context to the function.
All values for a mapping are strings, because the runtimes for Go and Java accept nothing else.
"""

from __future__ import annotations

import json
from functools import lru_cache

from poller.model.ids import MappingName
from poller.model.invocation import Invocation

MAPPING_NAME_LENGTH = 200
"""How many characters of a mapping's name are sent. AWS limits the whole client context to 3,583 bytes."""


def client_context(invocation: Invocation) -> str:
    """Return the client context as JSON in one line of ASCII, as a header needs it, or "" if there is none."""
    if invocation.mapping is None:
        return invocation.client_context.decode("ascii")
    start = _start(invocation.mapping)
    return f'{start}, "request_id": "{invocation.request_id}", "attempt": "{invocation.attempt}"}}}}'


@lru_cache(maxsize=1024)
def _start(mapping: MappingName) -> str:
    """Return the part that is the same for all invocations of a mapping, whose name may have any characters."""
    return f'{{"custom": {{"mapping": {json.dumps(mapping[:MAPPING_NAME_LENGTH])}'
