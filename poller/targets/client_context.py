"""What may a function know of its invocation? The mapping, the request id and the attempt.

Lambda's runtimes show a function the client context of the call; what a client puts there of its own stands in
`custom`, all as text, because Go's and Java's runtimes take nothing else.
"""

from __future__ import annotations

import json
from functools import lru_cache

from poller.model.ids import MappingName
from poller.model.invocation import Invocation

MAPPING_NAME_LENGTH = 200
"""Characters of the mapping's name in the client context, which AWS limits to 3,583 bytes in all."""


def client_context(invocation: Invocation) -> str:
    """The client context as JSON of ASCII characters alone, as a header must be."""
    start = _start(invocation.mapping)
    return f'{start}, "request_id": "{invocation.request_id}", "attempt": "{invocation.attempt}"}}}}'


@lru_cache(maxsize=1024)
def _start(mapping: MappingName) -> str:
    """What is the same for all invocations of a mapping; its name may have any characters, a request id is a UUID."""
    return f'{{"custom": {{"mapping": {json.dumps(mapping[:MAPPING_NAME_LENGTH])}'
