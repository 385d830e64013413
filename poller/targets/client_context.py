"""What does a function learn about its invocation? The mapping, the request id and the attempt.

They are sent in the client context of the call, under `custom`, and Lambda's runtimes show it to the function.
All values are strings, because the runtimes for Go and Java accept nothing else.
"""

from __future__ import annotations

import json
from functools import lru_cache

from poller.model.ids import MappingName
from poller.model.invocation import Invocation

MAPPING_NAME_LENGTH = 200
"""The characters of a mapping's name that are sent. AWS limits the whole client context to 3,583 bytes."""


def client_context(invocation: Invocation) -> str:
    """Return the client context as JSON in ASCII, because it is sent in a header."""
    start = _start(invocation.mapping)
    return f'{start}, "request_id": "{invocation.request_id}", "attempt": "{invocation.attempt}"}}}}'


@lru_cache(maxsize=1024)
def _start(mapping: MappingName | None) -> str:
    """Return the part that is the same for all invocations of a mapping, whose name may have any characters."""
    if mapping is None:
        return '{"custom": {"mapping": ""'
    return f'{{"custom": {{"mapping": {json.dumps(mapping[:MAPPING_NAME_LENGTH])}'
