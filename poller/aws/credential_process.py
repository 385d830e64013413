"""What happens to the credential process of a profile if the search for credentials is cancelled? It is killed.

A profile may name a program that prints credentials (`credential_process`). The program may hang, for example if it
waits for a person or for a network. Then the search for credentials is cancelled at its deadline, and the next search
starts the program again. aiobotocore does not end the old process, so each search would leave one more process.

Only the process itself is killed. It stays in the daemon's process group, so that it can ask a person at the terminal.
Source: AWS SDKs and Tools Reference Guide, "Process credential provider".
"""

from __future__ import annotations

from typing import Any

import anyio
from aiobotocore.credentials import AioAssumeRoleProvider, AioProcessProvider, AioProfileProviderBuilder
from anyio.abc import ByteReceiveStream


class ProfileProviders(AioProfileProviderBuilder):  # type: ignore[misc]  # aiobotocore is not typed
    """Makes the credential providers of a profile. A provider's process is killed if its search is cancelled."""

    def _create_process_provider(self, profile_name: str) -> AioProcessProvider:
        return end_process_with_search(super()._create_process_provider(profile_name))


def end_processes_with_searches(providers: list[Any], builder: ProfileProviders) -> None:
    """Change these providers of aiobotocore's chain, so that a process is killed if its search is cancelled.

    `builder` makes the providers of a role's source profile.
    """
    for provider in providers:
        if isinstance(provider, AioProcessProvider):
            end_process_with_search(provider)
        elif isinstance(provider, AioAssumeRoleProvider):
            provider._profile_provider_builder = builder


def end_process_with_search(provider: AioProcessProvider) -> AioProcessProvider:
    provider._popen = run
    return provider


async def run(*command: str, stdout: int, stderr: int) -> Ended:
    """Run the program to its end, and return its output. If the task is cancelled by anyio, kill the process."""
    with anyio.CancelScope(shield=True):  # asyncio does not wait for the end of a process whose start is cancelled
        process = await anyio.open_process(command, stdin=None, stdout=stdout, stderr=stderr)
    outputs = [bytearray(), bytearray()]

    async def read(stream: ByteReceiveStream, output: bytearray) -> None:
        async for chunk in stream:
            output += chunk

    async with process, anyio.create_task_group() as reading:
        for stream, output in zip((process.stdout, process.stderr), outputs, strict=True):
            if stream is not None:
                reading.start_soon(read, stream, output)
        returncode = await process.wait()
    return Ended(returncode, bytes(outputs[0]), bytes(outputs[1]))


class Ended:
    """A process that has ended, with the part of asyncio's interface that AioProcessProvider uses."""

    def __init__(self, returncode: int, output: bytes, errors: bytes) -> None:
        self.returncode = returncode
        self._output = (output, errors)

    async def communicate(self) -> tuple[bytes, bytes]:
        return self._output
