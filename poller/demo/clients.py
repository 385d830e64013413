"""How does the tour itself call the emulators and the daemon? With plain AWS calls, by the general client of `aws/`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from poller.aws.clients import Aws, AwsSettings
from poller.demo.processes import REGION

AWS_SQS = "aws sqs --endpoint-url $AWS_ENDPOINT_URL"
"""The AWS CLI for SQS at the emulator. For SQS alone, version 1 of the CLI ignores the variable by itself."""


CALL_TIMEOUT_IN_SECONDS = 60.0


class Clients(NamedTuple):
    """Clients of the emulators and of the daemon.

    `process_csv` calls the function process_csv by the daemon's Invoke API.
    """

    s3: Any
    process_csv: Any
    sqs: Any
    dynamodb: Any
    kinesis: Any


@asynccontextmanager
async def clients(endpoint_url: str, endpoints: Mapping[str, str], *, api: str) -> AsyncIterator[Clients]:
    """Open clients of the emulator at `endpoint_url`. `endpoints` has the urls of services at other addresses.

    `api` is the address of the daemon's Invoke API.
    """
    endpoints = {**endpoints, "lambda": f"http://{api}"}
    async with (
        Aws(AwsSettings(region=REGION, endpoint_url=endpoint_url, endpoints=endpoints)) as aws,
        aws.client("s3") as s3,
        aws.client("sqs") as sqs,
        aws.client("dynamodb") as dynamodb,
        aws.client("kinesis") as kinesis,
    ):
        process_csv = await aws.invoker(
            "process_csv", qualifier=None, region=REGION, role_arn=None, timeout_in_seconds=CALL_TIMEOUT_IN_SECONDS
        )
        yield Clients(s3, process_csv, sqs, dynamodb, kinesis)
