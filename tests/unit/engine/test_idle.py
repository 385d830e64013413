"""What does a mapping do whose function has reserved_concurrency = 0?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from poller.composition.mappings import compose
from poller.engine.idle import IdleRunner
from poller.engine.stop import Stop
from poller.facts import MappingWaiting
from poller.settings.loading import load
from poller.settings.values import Settings
from tests.fakes.recorded import Recorded

pytestmark = pytest.mark.anyio

REASON = "function store has reserved_concurrency = 0, so it is not invoked"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def settings_of(directory: Path) -> Settings:
    """A queue and a stream of a service that is not there, for one function."""
    file = directory / "poller.toml"
    file.write_text(
        """
        [daemon]
        endpoint_url = "http://127.0.0.1:9"
        [functions.store]
        handler = "f:handler"
        [mappings.orders]
        function_name = "store"
        event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:orders"
        [mappings.clicks]
        function_name = "store"
        event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
        starting_position = "LATEST"
        """
    )
    return load(file, {})


@pytest.mark.parametrize("name", ["orders", "clicks"])
async def test_it_reads_nothing_until_its_stop_and_says_why(tmp_path: Path, name: str) -> None:
    settings, emit, stop = settings_of(tmp_path), Recorded(), Stop()
    (mapping,) = [one for one in settings.mappings if one.name == name]
    async with compose(settings, emit=emit, descriptor_limit=1024) as composition:
        function = replace(settings.functions[mapping.function_name], reserved_concurrency=0)
        async with composition.open(mapping, function, stop) as runner:
            assert isinstance(runner, IdleRunner)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(runner.run)
                await emit.first(MappingWaiting)
                status = runner.status()
                stop.begin()
        assert (len(composition.functions._functions), len(composition._aws)) == (0, 0)
    assert emit.facts == [MappingWaiting(mapping.name, mapping.function_name, REASON)]
    assert (status.state, status.reason, status.polls_in_flight) == ("waiting", REASON, 0)
    assert status.since is not None
    assert (status.stream is None) == (name == "orders")
