"""Which ARN do events of Kinesis have as `invokeIdentityArn`? The ARN of the identity that reads the stream.

    the mapping's role_arn
      └─ without one: the role of the function, if the function is on Lambda
           └─ if Lambda does not answer: the daemon's own identity
                └─ if STS does not answer (some emulators have no STS): the root of the account that owns the stream

AWS uses the function's role. The daemon reads with its own identity, but handlers expect the ARN that AWS would send.
Lambda and STS are asked only once, at the first read of a stream, because nothing but the events needs the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio

from poller.model.arn import Arn
from poller.model.function import FunctionKind, LambdaApi
from poller.model.mapping import StreamMapping


class Identities(Protocol):
    """The calls that find identities; aws/ implements them. Each returns None if AWS refuses or does not answer."""

    async def identity_arn(self, region: str | None = None) -> str | None:
        """Return the ARN of the daemon's own identity."""

    async def execution_role(self, name: str, *, qualifier: str | None = None, region: str | None = None) -> str | None:
        """Return the ARN of the role of a Lambda function."""


class AskedOnce:
    """An ARN for which AWS is asked only once, even if many shards begin at the same time.

    There is one object for each function, and one for the daemon's own identity.
    """

    def __init__(self) -> None:
        self._arn: str | None = None
        self._was_asked = False
        self._asking = anyio.Lock()

    async def arn(self, ask: Callable[[], Awaitable[str | None]]) -> str | None:
        """Return the ARN, or None if AWS does not tell it. Only the first call awaits `ask`."""
        async with self._asking:
            if not self._was_asked:
                self._arn = await ask()
                self._was_asked = True
        return self._arn


async def reader_arn(
    mapping: StreamMapping, kind: FunctionKind, aws: Identities, *, role_of_function: AskedOnce, own_identity: AskedOnce
) -> str:
    """Return the ARN for the events of this mapping. `kind` is the kind of its function."""
    arn = mapping.role_arn
    if arn is None and isinstance(kind, LambdaApi):
        arn = await role_of_function.arn(
            lambda: aws.execution_role(kind.name, qualifier=kind.qualifier, region=kind.region)
        )
    if arn is None:
        arn = await own_identity.arn(lambda: aws.identity_arn(mapping.region))
    return arn or _root_of(mapping.event_source_arn)


def _root_of(source: Arn) -> str:
    return str(Arn(partition=source.partition, service="iam", region="", account=source.account, resource="root"))
