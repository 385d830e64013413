"""Which endpoint does a client reach, which certificates does it trust, and with which identity?"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from botocore.awsrequest import AWSResponse

from poller import errors
from poller.aws import clients, identity
from poller.aws.clients import Aws, AwsSettings
from poller.aws.signing import Credentials
from tests.fakes.aws_service import AwsService, error
from tests.fakes.certificates import self_signed
from tests.fakes.http_server import Reply, Request, http_server
from tests.unit.aws.conftest import FIRST, SECOND, CredentialsFile

pytestmark = pytest.mark.anyio

ROLE = "arn:aws:iam::123456789012:role/reader"
OF_THE_ROLE = Credentials("ASIAROLE", "role-secret", "role-token")
OPERATIONS = {
    "sqs": ("list_queues", {}),
    "kinesis": ("list_streams", {}),
    "dynamodbstreams": ("list_streams", {}),
    "lambda": ("invoke", {"FunctionName": "f"}),
}


async def empty(_: Request) -> Reply:
    return Reply(body=b"{}")


# Where


async def test_the_region_is_the_requested_one_else_that_of_the_settings_else_that_of_the_aws_chain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(errors.SettingsError, match="region"):
        Aws(AwsSettings()).region()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    assert Aws(AwsSettings()).region() == "eu-west-3"
    assert Aws(AwsSettings(region="eu-west-2")).region() == "eu-west-2"
    assert Aws(AwsSettings(region="eu-west-2")).region("eu-west-1") == "eu-west-1"


async def test_the_endpoint_of_a_service_wins_over_the_common_one_and_both_win_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://environment")
    monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", "http://environment-kinesis")
    assert await endpoint(AwsSettings(), "sqs") == "http://environment/"
    assert await endpoint(AwsSettings(), "kinesis") == "http://environment-kinesis/"
    common = AwsSettings(endpoint_url="http://common", endpoints={"sqs": "http://mine"})
    assert await endpoint(common, "sqs") == "http://mine/"
    assert await endpoint(common, "kinesis") == "http://common/"


async def endpoint(settings: AwsSettings, service: str, *, region: str = "eu-west-1") -> str:
    async with Aws(settings) as aws:
        return (await aws.json_client(service, region=region)).endpoint_url


async def test_a_faulty_aws_configuration_is_a_fault_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:4566")
    with pytest.raises(errors.SettingsError, match="localhost:4566"):
        await endpoint(AwsSettings(), "sqs")
    with pytest.raises(errors.SettingsError, match="not a region"):
        await endpoint(AwsSettings(), "sqs", region="not a region")
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(errors.SettingsError, match="absent"):
        Aws(AwsSettings()).region()
    with pytest.raises(errors.SettingsError, match="absent"):
        await endpoint(AwsSettings(), "sqs")


@pytest.mark.parametrize("service", OPERATIONS)
@pytest.mark.parametrize("variant", ["", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1", "cn-north-1"])
async def test_our_client_calls_the_same_endpoint_as_aiobotocores(
    service: str, variant: str, region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variant:
        monkeypatch.setenv(variant, "true")
    sent: list[str] = []

    def capture(request: Any, **_: Any) -> AWSResponse:
        sent.append(request.url)
        return Unsent(request.url)

    operation, arguments = OPERATIONS[service]
    async with Aws(AwsSettings()) as aws:
        async with aws.client(service, region=region) as client:
            client.meta.events.register(f"before-send.{service}", capture)
            await getattr(client, operation)(**arguments)
        if service == "lambda":
            ours = (await aws.invoker("f", timeout_in_seconds=1, region=region)).url
        else:
            ours = (await aws.json_client(service, region=region)).endpoint_url
    assert [ours] == sent


class Unsent(AWSResponse):  # type: ignore[misc]  # botocore is not typed
    """An empty answer to a request that was not sent."""

    def __init__(self, url: str) -> None:
        super().__init__(url, 200, {}, None)

    @property
    async def content(self) -> bytes:
        return b"{}"


# Whom


async def test_a_ca_bundle_is_trusted_and_without_it_the_server_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = self_signed(tmp_path)
    service = AwsService(empty)
    service.knows(FIRST)
    async with http_server(service, tls=tls) as server:
        settings = AwsSettings(endpoint_url=server.url, region="eu-west-1")
        async with Aws(settings) as aws:
            with pytest.raises(errors.Unreachable) as caught:
                await list_queues(aws)
            assert not caught.value.was_sent
        for name in ("REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
            monkeypatch.setenv(name, str(tmp_path / "certificate.pem"))
            async with Aws(settings) as aws:
                assert await list_queues(aws) == {}
            monkeypatch.delenv(name)


async def test_a_missing_ca_bundle_is_a_fault_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such/bundle.pem")
    with pytest.raises(errors.SettingsError, match=r"/no/such/bundle\.pem"):
        async with Aws(AwsSettings()):
            raise AssertionError("no client must be made")


async def test_a_proxy_of_the_environment_is_used_unless_no_proxy_names_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with http_server(empty) as proxy, http_server(empty) as direct:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//user:secret@"))
        async with Aws(AwsSettings(endpoint_url="http://sqs.invalid", region="eu-west-1")) as aws:
            await list_queues(aws)
        assert [request.target for request in proxy.requests] == ["http://sqs.invalid/"]
        assert proxy.requests[0].headers["proxy-authorization"] == "Basic dXNlcjpzZWNyZXQ="
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with Aws(AwsSettings(endpoint_url=direct.url, region="eu-west-1")) as aws:
            await list_queues(aws)
        assert [request.target for request in direct.requests] == ["/"]


async def list_queues(aws: Aws, *, role_arn: str | None = None) -> Any:
    return await (await aws.json_client("sqs", role_arn=role_arn)).call("ListQueues", b"{}", timeout_in_seconds=60)


# As whom


class Sts:
    """STS and another service at one endpoint. STS issues the credentials of the role."""

    def __init__(self) -> None:
        self.assumed = 0
        self.service = AwsService(self._reply)
        self.service.knows(FIRST, OF_THE_ROLE)
        self.lifetime = datetime.timedelta(hours=1)

    async def __call__(self, request: Request) -> Any:
        answer = await self.service(request)
        if b"AssumeRole" in request.body and isinstance(answer, Reply) and answer.status == 403:
            return Reply(status=403, body=sts_error("ExpiredToken"))
        return answer

    async def _reply(self, request: Request) -> Reply:
        if b"AssumeRole" not in request.body:
            return Reply(body=b"{}")
        self.assumed += 1
        expiration = (datetime.datetime.now(datetime.UTC) + self.lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Reply(body=ASSUMED % (*(part.encode() for part in OF_THE_ROLE if part), expiration.encode()))


ASSUMED = b"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>%b</AccessKeyId><SecretAccessKey>%b</SecretAccessKey><SessionToken>%b</SessionToken>
<Expiration>%b</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""


def sts_error(code: str) -> bytes:
    return b"<ErrorResponse><Error><Code>%b</Code><Message>no</Message></Error></ErrorResponse>" % code.encode()


WEB_IDENTITY = "web_identity_token_file = {token}"
SOURCE_PROFILE = (
    "source_profile = base\n[profile base]\naws_access_key_id = AKIDFIRST\naws_secret_access_key = first-secret"
)


@pytest.mark.parametrize("of_whom", [WEB_IDENTITY, SOURCE_PROFILE], ids=["web identity", "source profile"])
async def test_a_role_of_the_aws_configuration_is_assumed_at_the_settings_endpoint(
    of_whom: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """botocore's credential provider sends the request to STS."""
    token, config = tmp_path / "token", tmp_path / "config"
    token.write_text("a-token")
    config.write_text(f"[profile reader]\nrole_arn = {ROLE}\nregion = eu-west-1\n{of_whom.format(token=token)}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "reader")
    asked: list[bytes] = []

    async def assume(request: Request) -> Reply:
        asked.append(request.body)
        expiration = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = ASSUMED % (*(part.encode() for part in OF_THE_ROLE if part), expiration.encode())
        kind = b"AssumeRoleWithWebIdentity" if b"WithWebIdentity" in request.body else b"AssumeRole"
        return Reply(body=body.replace(b"AssumeRole", kind))

    service = AwsService(always(Reply(body=b"{}")))
    service.knows(OF_THE_ROLE)
    async with http_server(assume) as sts, http_server(service) as sqs:
        settings = AwsSettings(endpoints={"sts": sts.url, "sqs": sqs.url})
        async with Aws(settings) as aws:
            assert await list_queues(aws) == {}
    assert len(asked) == 1
    assert len(service.accepted) == 1


async def test_a_shared_role_is_assumed_once() -> None:
    sts = Sts()
    async with http_server(sts) as server, Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws:
        await asyncio.gather(*[list_queues(aws, role_arn=ROLE) for _ in range(3)])
        await list_queues(aws)
    assert sts.assumed == 1
    tokens = [r.headers["x-amz-security-token"] for r in sts.service.accepted if b"AssumeRole" not in r.body]
    assert tokens == [OF_THE_ROLE.session_token] * 3 + [FIRST.session_token]


async def test_a_role_is_assumed_again_before_its_credentials_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "CREDENTIALS_ARE_TRUSTED_FOR_IN_SECONDS", 0.0)
    sts = Sts()
    sts.lifetime = datetime.timedelta(seconds=30)
    async with http_server(sts) as server, Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws:
        await list_queues(aws, role_arn=ROLE)
        await list_queues(aws, role_arn=ROLE)
    assert sts.assumed == 2


async def test_a_role_is_assumed_with_new_credentials_after_the_old_ones_have_expired(
    credentials_file: CredentialsFile,
) -> None:
    sts = Sts()
    sts.service.knows(SECOND)
    async with http_server(sts) as server, Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws:
        await list_queues(aws)
        sts.service.expired.add(FIRST.session_token or "")
        credentials_file.write(SECOND)
        assert await list_queues(aws, role_arn=ROLE) == {}
    assert sts.assumed == 1


async def test_a_role_cannot_be_assumed_without_credentials(credentials_file: CredentialsFile) -> None:
    credentials_file.remove()
    async with http_server(empty) as server, Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws:
        with pytest.raises(errors.AccessDenied) as caught:
            await list_queues(aws, role_arn=ROLE)
    assert caught.value.code == "NoCredentialsError"
    assert server.requests == []


async def test_a_role_that_may_not_be_assumed_is_access_denied_and_nothing_is_sent() -> None:
    sts = Sts()
    async with http_server(sts) as server, Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws:
        sts.service.expired.add(FIRST.session_token or "")
        with pytest.raises(errors.AccessDenied) as caught:
            await list_queues(aws, role_arn=ROLE)
    assert caught.value.code == "ExpiredToken"
    assert sts.service.accepted == []


@pytest.mark.slow
async def test_a_failing_sts_is_unreachable_and_nothing_is_sent() -> None:
    down = Reply(status=503, body=b"")
    async with (
        http_server(lambda request: asyncio.sleep(0, down)) as server,
        Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws,
    ):
        with pytest.raises(errors.Unreachable) as caught:
            await list_queues(aws, role_arn=ROLE)
    assert not caught.value.was_sent


# The general client


IDENTITY = b"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>%b</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>"""


@pytest.mark.parametrize(
    ("text", "arn"),
    [
        ("arn:aws:iam::123456789012:user/path/ann", "arn:aws:iam::123456789012:user/path/ann"),
        ("arn:aws:sts::123456789012:assumed-role/reader/poller", "arn:aws:iam::123456789012:role/reader"),
        ("arn:aws-cn:sts::123456789012:assumed-role/r/i-0123", "arn:aws-cn:iam::123456789012:role/r"),
        ("arn:aws:sts::123456789012:federated-user/ann", "arn:aws:sts::123456789012:federated-user/ann"),
    ],
)
async def test_the_identity_is_the_arn_of_the_user_or_of_the_role(
    text: str, arn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "IDENTITY_TIMEOUT_IN_SECONDS", 60)
    service = AwsService(lambda request: asyncio.sleep(0, Reply(body=IDENTITY % text.encode())))
    service.knows(FIRST)
    async with http_server(service) as server, Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws:
        assert await aws.identity_arn() == arn


async def test_the_identity_is_unknown_if_sts_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = AwsService(lambda request: asyncio.sleep(0, Reply(status=403, body=sts_error("AccessDenied"))))
    refusing.knows(FIRST)
    async with http_server(refusing) as server, Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws:
        assert await aws.identity_arn() is None
    for body in (b"{}", b"<Other/>", IDENTITY % b"nobody"):
        strange = AwsService(always(Reply(body=body)))
        strange.knows(FIRST)
        async with http_server(strange) as server, Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws:
            assert await aws.identity_arn() is None
    monkeypatch.setattr(clients, "IDENTITY_TIMEOUT_IN_SECONDS", 0.05)
    async with http_server(silent) as server, Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws:
        assert await aws.identity_arn() is None


LAMBDA = "arn:aws:lambda:eu-west-1:123456789012:function:bill"


async def test_the_execution_role_of_a_function_is_read_from_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "IDENTITY_TIMEOUT_IN_SECONDS", 60)
    service = AwsService(always(Reply(body=b'{"Role":"arn:aws:iam::123456789012:role/service/bill"}')))
    service.knows(FIRST)
    async with http_server(service) as server, Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws:
        for name, qualifier in (("bill", None), (LAMBDA, "live")):
            assert await aws.execution_role(name, qualifier=qualifier) == "arn:aws:iam::123456789012:role/service/bill"
    paths = [(request.method, unquote(request.target)) for request in server.requests]
    assert paths == [
        ("GET", "/2015-03-31/functions/bill/configuration"),
        ("GET", f"/2015-03-31/functions/{LAMBDA}/configuration?Qualifier=live"),
    ]


@pytest.mark.parametrize(
    "reply",
    [
        error(403, "AccessDeniedException", "not authorized"),
        error(404, "ResourceNotFoundException", "Function not found"),
        Reply(body=b"{}"),
        Reply(body=b'{"Role":"nobody"}'),
        Reply(body=b'{"Role":7}'),
        Reply(body=b"<html>"),
    ],
)
async def test_an_execution_role_that_lambda_does_not_show_is_unknown(reply: Reply) -> None:
    service = AwsService(always(reply))
    service.knows(FIRST)
    async with http_server(service) as server, Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws:
        assert await aws.execution_role("bill") is None


async def test_the_wait_for_an_execution_role_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "IDENTITY_TIMEOUT_IN_SECONDS", 0.05)
    async with http_server(silent) as server, Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws:
        assert await aws.execution_role("bill") is None


def always(reply: Reply) -> Callable[[Request], Awaitable[Reply]]:
    async def answer(request: Request) -> Reply:
        return reply

    return answer


async def silent(request: Request) -> Any:
    await asyncio.sleep(60)


async def test_an_error_of_aiobotocores_client_is_translated() -> None:
    service = AwsService(lambda request: asyncio.sleep(0, error(400, "QueueDoesNotExist", "no such queue")))
    service.knows(FIRST)
    async with http_server(service) as server, Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws:
        with pytest.raises(errors.NotFound, match="no such queue") as caught:
            async with aws.client("sqs") as client:
                await client.get_queue_url(QueueName="absent")
    assert type(caught.value.__cause__).__name__ == "QueueDoesNotExist"


async def test_aiobotocores_client_gets_new_credentials_after_the_old_ones_have_expired(
    credentials_file: CredentialsFile,
) -> None:
    service = AwsService(empty)
    service.knows(FIRST, SECOND)
    service.expired.add(FIRST.session_token or "")
    async with http_server(service) as server, Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws:
        with pytest.raises(errors.AccessDenied):
            await list_queues_widely(aws)
        credentials_file.write(SECOND)
        with pytest.raises(errors.AccessDenied):
            await list_queues_widely(aws)
        await list_queues_widely(aws)


async def list_queues_widely(aws: Aws) -> None:
    async with aws.client("sqs") as client:
        await client.list_queues()
