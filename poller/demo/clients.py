"""How does the tour itself call the emulators? With plain AWS calls, through the general client of `aws/`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from poller.aws.clients import Aws, AwsSettings
from poller.demo.processes import REGION

AWS_SQS = "aws sqs --endpoint-url $AWS_ENDPOINT_URL"
"""The AWS CLI for SQS at the emulator. For SQS alone, version 1 of the CLI ignores the variable by itself."""


class Clients(NamedTuple):
    sqs: Any
    dynamodb: Any
    kinesis: Any


@asynccontextmanager
async def clients(endpoint_url: str, endpoints: Mapping[str, str]) -> AsyncIterator[Clients]:
    """Open clients of the emulator at `endpoint_url`. `endpoints` are the urls of services that are elsewhere."""
    async with (
        Aws(AwsSettings(region=REGION, endpoint_url=endpoint_url, endpoints=endpoints)) as aws,
        aws.client("sqs") as sqs,
        aws.client("dynamodb") as dynamodb,
        aws.client("kinesis") as kinesis,
    ):
        yield Clients(sqs, dynamodb, kinesis)
