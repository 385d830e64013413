"""Which identity do events of Kinesis name as their reader?"""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from poller.model.arn import Arn
from poller.model.function import FunctionKind, LambdaApi
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import StreamMapping
from poller.model.stream import TrimHorizon
from poller.sources.reader_identity import AskedOnce, reader_arn
from tests.fakes.functions import http_kind

pytestmark = pytest.mark.anyio

OWN = "arn:aws:iam::123456789012:user/daemon"
ROLE = "arn:aws:iam::123456789012:role/bill"
ON_LAMBDA = LambdaApi(name="bill", qualifier="live", region="eu-west-1")
ELSEWHERE = http_kind("http://127.0.0.1:9/")


class FakeIdentities:
    """AWS with one identity and one function. `asked` are the calls; an answer takes a while."""

    def __init__(self, *, own: str | None = OWN, role: str | None = ROLE) -> None:
        self.asked: list[tuple[str | None, ...]] = []
        self._own = own
        self._role = role

    async def identity_arn(self, region: str | None = None) -> str | None:
        self.asked.append((region,))
        await anyio.lowlevel.checkpoint()
        return self._own

    async def execution_role(self, name: str, *, qualifier: str | None = None, region: str | None = None) -> str | None:
        self.asked.append((name, qualifier, region))
        await anyio.lowlevel.checkpoint()
        return self._role


class Reading:
    """One function of this kind, whose mappings read streams."""

    def __init__(self, kind: FunctionKind, aws: FakeIdentities) -> None:
        self._kind = kind
        self._aws = aws
        self._role, self._own = AskedOnce(), AskedOnce()

    async def arn(self, mapping: StreamMapping) -> str:
        return await reader_arn(mapping, self._kind, self._aws, role_of_function=self._role, own_identity=self._own)


MAPPING = StreamMapping(
    name=MappingName("clicks"),
    event_source_arn=Arn.parse("arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"),
    function_name=FunctionName("bill"),
    starting_position=TrimHorizon(),
    region="eu-west-1",
    uuid="u",
)
OF_ANOTHER_ACCOUNT = replace(
    MAPPING, event_source_arn=Arn.parse("arn:aws-cn:kinesis:cn-north-1:999999999999:stream/clicks")
)


async def test_the_role_of_a_mapping_is_the_reader_and_aws_is_not_asked() -> None:
    aws = FakeIdentities()
    mapping = replace(MAPPING, role_arn="arn:aws:iam::123456789012:role/reader")
    assert await Reading(ON_LAMBDA, aws).arn(mapping) == "arn:aws:iam::123456789012:role/reader"
    assert not aws.asked


async def test_without_a_role_of_the_mapping_the_role_of_a_function_on_lambda_is_the_reader() -> None:
    aws = FakeIdentities()
    assert await Reading(ON_LAMBDA, aws).arn(MAPPING) == ROLE
    assert aws.asked == [("bill", "live", "eu-west-1")]


@pytest.mark.parametrize(
    ("kind", "role"), [(ELSEWHERE, ROLE), (ON_LAMBDA, None)], ids=["not on Lambda", "Lambda does not answer"]
)
async def test_without_a_role_the_identity_of_the_daemon_is_the_reader(kind: FunctionKind, role: str | None) -> None:
    aws = FakeIdentities(role=role)
    assert await Reading(kind, aws).arn(MAPPING) == OWN
    assert aws.asked[-1] == ("eu-west-1",)


@pytest.mark.parametrize("kind", [ELSEWHERE, ON_LAMBDA])
async def test_without_sts_each_mapping_reads_as_the_account_of_its_own_stream(kind: FunctionKind) -> None:
    reading = Reading(kind, FakeIdentities(own=None, role=None))
    assert await reading.arn(MAPPING) == "arn:aws:iam::123456789012:root"
    assert await reading.arn(OF_ANOTHER_ACCOUNT) == "arn:aws-cn:iam::999999999999:root"


async def test_aws_is_asked_once_when_many_shards_begin_at_the_same_time_and_later() -> None:
    for aws in (FakeIdentities(), FakeIdentities(own=None, role=None)):
        reading = Reading(ON_LAMBDA, aws)
        async with anyio.create_task_group() as shards:
            for _ in range(3):
                shards.start_soon(reading.arn, MAPPING)
        await reading.arn(MAPPING)
        assert len(aws.asked) == len(set(aws.asked)), "each question is asked once"
