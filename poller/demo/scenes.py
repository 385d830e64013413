"""Which emulators and which parts has a tour?

    whole        one emulator; the parts sign-ups and clicks
    sharing      one emulator; only the part clicks, whose stream several workers share
    resharding   an emulator whose Kinesis can split and merge shards, and one for SQS; only the part clicks

A scene is a context manager: its emulators run until the block ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from poller.demo.books import Part
from poller.demo.clicks.part import Clicks
from poller.demo.clients import clients
from poller.demo.daemon import reserved_address
from poller.demo.emulator import Emulator, emulator
from poller.demo.processes import must_run
from poller.demo.resharding.kinesis_local import kinesis_local
from poller.demo.resharding.part import Resharding
from poller.demo.signups.part import Signups

Say = Callable[[str], None]


class Scene(NamedTuple):
    """The running emulators and the parts of one tour.

    `endpoints` has the urls of some services by name; every other service is at `endpoint_url`.
    `api` is the address of the daemon's Invoke API.
    """

    api: str
    endpoint_url: str
    endpoints: Mapping[str, str]
    emulators: Sequence[Emulator]
    parts: Sequence[Part]

    def must_run(self) -> None:
        """Raise DemoError, with the end of the log, if an emulator has ended."""
        for one in self.emulators:
            must_run(one.process, "the emulator", one.log)


@asynccontextmanager
async def whole(folder: Path, say: Say) -> AsyncIterator[Scene]:
    with reserved_address() as api:
        async with emulator(folder) as aws, clients(aws.url, {}, api=api) as hands:
            say(f"An emulator of S3, SQS, DynamoDB and Kinesis runs at {aws.url}")
            yield Scene(api, aws.url, {}, [aws], [Signups(hands, folder, api=api), Clicks(hands, folder)])


@asynccontextmanager
async def sharing(folder: Path, say: Say) -> AsyncIterator[Scene]:
    with reserved_address() as api:
        async with emulator(folder) as aws, clients(aws.url, {}, api=api) as hands:
            say(f"An emulator of Kinesis and SQS runs at {aws.url}")
            yield Scene(api, aws.url, {}, [aws], [Clicks(hands, folder)])


@asynccontextmanager
async def resharding(folder: Path, say: Say) -> AsyncIterator[Scene]:
    async with kinesis_local(folder, say) as kinesis, emulator(folder) as aws:
        endpoints = {"kinesis": kinesis.url}
        with reserved_address() as api:
            async with clients(aws.url, endpoints, api=api) as hands:
                say(f"An emulator of Kinesis runs at {kinesis.url}, and one of SQS at {aws.url}")
                yield Scene(api, aws.url, endpoints, [kinesis, aws], [Resharding(hands, folder)])
