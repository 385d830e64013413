"""What stands in for DynamoDB if a client calls it over HTTP? The fake in memory, behind signed requests, and STS.

async with dynamodb_over_http() as service:
    service.url            the address of both services
    service.tables         the fake
    service.clients()      who has called DynamoDB, for which region
"""

from __future__ import annotations

import datetime
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from poller.aws.signing import Credentials
from poller.errors import ServiceError
from tests.fakes.aws_over_http import LONGEST_CALL_IN_SECONDS, refused
from tests.fakes.aws_service import AwsService
from tests.fakes.dynamodb import FakeDynamoDb
from tests.fakes.http_server import Drop, Reply, Request, http_server

OWN = Credentials("AKIDOWN", "own-secret", None)
OF_THE_ROLE = Credentials("ASIAROLE", "role-secret", "role-token")
ASSUMED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken>
<Expiration>{}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""


class DynamoDbOverHttp:
    """DynamoDB and STS at one address. STS lets everybody assume any role."""

    url: str

    def __init__(self) -> None:
        self.tables = FakeDynamoDb()
        self.checked = AwsService(self._reply)
        self.checked.knows(OWN, OF_THE_ROLE)

    def clients(self) -> set[str]:
        """Return the key and the region of each request to DynamoDB."""
        signatures = [r.headers["authorization"] for r in self.checked.accepted if "x-amz-target" in r.headers]
        scopes = [each.partition("Credential=")[2].split("/") for each in signatures]
        return {f"{key} in {region}" for key, _, region, *_ in scopes}

    async def _reply(self, request: Request) -> Reply | Drop:
        service, _, operation = request.headers.get("x-amz-target", "").partition(".")
        if service == "DynamoDB_20120810":
            try:
                answer = await self.tables.call(operation, request.body, timeout_in_seconds=LONGEST_CALL_IN_SECONDS)
            except ServiceError as error:
                return refused(error)
            return Reply(body=orjson.dumps(answer))
        assert b"AssumeRole" in request.body
        expiration = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        return Reply(body=ASSUMED.format(*OF_THE_ROLE, expiration.strftime("%Y-%m-%dT%H:%M:%SZ")).encode())


@asynccontextmanager
async def dynamodb_over_http() -> AsyncIterator[DynamoDbOverHttp]:
    service = DynamoDbOverHttp()
    async with http_server(service.checked) as server:
        service.url = server.url
        yield service


def use_own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clients of this process have the credentials OWN, and no AWS setting of the machine."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWN.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWN.secret_access_key)
