"""Does each sample event reach a handler as its service sends it, and does the handler find what it should?"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from poller.cli.samples import sample, sample_names
from poller.model.invocation import Answered
from poller.targets.runtime import RuntimeTarget
from tests.fakes.functions import callable_kind, function, invocation
from tests.fakes.recorded import Recorded

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

FOUND: dict[str, Any] = {
    "s3-put": ["ObjectCreated:Put HappyFace.jpg in sourcebucket"],
    "s3-delete": ["ObjectRemoved:Delete HappyFace.jpg in sourcebucket"],
    "dynamodb-update": ["INSERT 101", "MODIFY 101", "REMOVE 101"],
    "sns": ["TestInvoke: Hello from SNS!"],
    "ses-receive": ["Test Subject from Jane Doe <janedoe@example.com>"],
    "cloudwatch-logs": ["[ERROR] First test message", "[ERROR] Second test message"],
    "api-gateway": {"statusCode": 200, "headers": {"Content-Type": "text/plain"}, "body": "Hello me"},
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def target() -> AsyncIterator[RuntimeTarget]:
    kind = callable_kind("poller.examples.events.functions:describe")
    with anyio.fail_after(120):
        async with RuntimeTarget(
            function(kind, timeout_in_seconds=60.0),
            emit=Recorded(),
            region="eu-west-1",
            endpoint_url=None,
            inherited=os.environ,
        ) as opened:
            yield opened


async def test_a_handler_finds_in_each_sample_what_its_service_sends(target: RuntimeTarget) -> None:
    found = {}
    for name in sample_names():
        response = await target.invoke(invocation(sample(name), request_id=name))
        assert isinstance(response, Answered), (name, response)
        found[name] = json.loads(response.payload)
    assert found == FOUND


def test_a_sample_that_does_not_exist_is_refused_with_the_names_of_the_others() -> None:
    with pytest.raises(KeyError, match="there is no sample s3; the samples are api-gateway, "):
        sample("s3")
