"""How does the demo itself reach the emulators? By plain AWS calls, through the daemon's own general client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from poller.aws.clients import Aws, AwsSettings
from poller.demo.processes import REGION

AWS_SQS = "aws sqs --endpoint-url $AWS_ENDPOINT_URL"
"""How a user calls SQS there: the AWS CLI's version 1 heeds the variable by itself for every service but this."""


class Clients(NamedTuple):
    sqs: Any
    dynamodb: Any
    kinesis: Any


@asynccontextmanager
async def clients(endpoint_url: str, endpoints: Mapping[str, str]) -> AsyncIterator[Clients]:
    """Clients of the emulator; `endpoints` are those of services that are elsewhere."""
    async with (
        Aws(AwsSettings(region=REGION, endpoint_url=endpoint_url, endpoints=endpoints)) as aws,
        aws.client("sqs") as sqs,
        aws.client("dynamodb") as dynamodb,
        aws.client("kinesis") as kinesis,
    ):
        yield Clients(sqs, dynamodb, kinesis)
