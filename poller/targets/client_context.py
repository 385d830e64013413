"""What does a function learn about its invocation? The client context of the call tells it:

    a batch of a queue         the mapping, the request id and the attempt, under `custom`
    a batch of a stream        the same and the shard's id, and the fencing token if the shard is read under a lease
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
from poller.model.stream import ShardId

MAPPING_NAME_LENGTH = 200
"""How many characters of a mapping's name are sent. AWS limits the whole client context to 3,583 bytes."""


def client_context(invocation: Invocation) -> str:
    """Return the client context as JSON in one line of ASCII, as a header needs it, or "" if there is none."""
    if invocation.mapping is None:
        return invocation.client_context.decode("ascii")
    start = _start(invocation.mapping, invocation.shard_id)
    token = "" if invocation.fencing_token is None else f', "fencing_token": "{invocation.fencing_token}"'
    return f'{start}, "request_id": "{invocation.request_id}", "attempt": "{invocation.attempt}"{token}}}}}'


@lru_cache(maxsize=16_384)
def _start(mapping: MappingName, shard_id: ShardId | None) -> str:
    """Return the part of the context that is the same for all invocations of a mapping and a shard.

    The mapping's name and the shard's id may have any characters.
    """
    shard = "" if shard_id is None else f', "shard_id": {json.dumps(shard_id)}'
    return f'{{"custom": {{"mapping": {json.dumps(mapping[:MAPPING_NAME_LENGTH])}{shard}'
