"""Does an error never show a secret, whatever garbles an answer, and is it always one of our exceptions?

Each secret has its own marker: credentials, those of a role, a proxy's password, a url's user, a record's body, a
cookie.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.config import AioConfig

from poller import errors
from poller.aws import clients
from poller.aws.clients import Aws, AwsSettings
from poller.aws.kept_client import KeptClient
from poller.aws.signing import Credentials
from poller.disclosure import safe_traceback
from poller.telemetry import logs
from tests.fakes.http_server import Drop, Reply, Request, http_server
from tests.unit.aws.conftest import CredentialsFile

pytestmark = pytest.mark.anyio

MARK = "marked"
KEYS = Credentials("AKIDFIRST", "marked-secret-key", "marked-session-token")
ROLE = "arn:aws:iam::123456789012:role/reader"
MESSAGE = "marked-message"
USER = "marked-user:marked-password@"

MESSAGES = b'{"Messages":[{"Body":"marked-body-of-a-record"}]}'
CREDENTIALS = (
    b'<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
    b"<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>marked-secret-key</SecretAccessKey>"
    b"<SessionToken>marked-session-token</SessionToken>"
)
ASSUMED = CREDENTIALS + b"</Credentials></AssumeRoleResult></AssumeRoleResponse>"
UNENDING = CREDENTIALS + b"<Expiration>marked</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
SIGNATURE = (
    b'{"__type":"InvalidSignatureException","message":"The signature does not match.\\n\\n'
    b"The Canonical String for this request should have been 'POST x-amz-security-token:marked-session-token'\"}"
)
SIGNATURE_IN_XML = b"""<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>The signature does not match.

The Canonical String for this request should have been 'POST x-amz-security-token:marked-session-token'</Message>
</Error></ErrorResponse>"""

Call = Callable[[Aws], Awaitable[Any]]
Shown = Callable[[errors.PollerError], str]


async def narrow(aws: Aws) -> Any:
    return await (await aws.json_client("sqs")).call("ReceiveMessage", b"{}", timeout_in_seconds=60)


async def narrow_with_a_role(aws: Aws) -> Any:
    client = await aws.json_client("sqs", role_arn=ROLE)
    return await client.call("ReceiveMessage", b"{}", timeout_in_seconds=60)


async def wide(aws: Aws) -> Any:
    async with KeptClient(lambda: aws.client("sns")) as client:
        return await client.call("publish", timeout_in_seconds=60, TopicArn="arn:aws:sns:::t", Message=MESSAGE)


async def wide_with_a_role(aws: Aws) -> Any:
    async with KeptClient(lambda: aws.client("sns", role_arn=ROLE)) as client:
        return await client.call("list_topics", timeout_in_seconds=60)


@pytest.fixture(autouse=True)
def _keys(credentials_file: CredentialsFile, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials_file.write(KEYS)
    monkeypatch.setattr(
        clients, "GENERAL_CLIENT", clients.GENERAL_CLIENT.merge(AioConfig(retries={"total_max_attempts": 1}))
    )


@pytest.fixture
def shown(capfd: pytest.CaptureFixture[str]) -> Shown:
    """Return every text that an error shows, and everything that the libraries have logged meanwhile."""
    logs.configure("json", verbose=True)

    def everything(error: errors.PollerError) -> str:
        out, err = capfd.readouterr()
        return "\n".join([str(error), getattr(error, "code", ""), safe_traceback(error), out, err])

    return everything


def always(answer: Reply | Drop) -> Callable[[Request], Awaitable[Reply | Drop]]:
    async def handle(_: Request) -> Reply | Drop:
        return answer

    return handle


GARBLED = {
    "something else": Drop(MESSAGES),
    "a chunk without a size": Drop(b"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\n" + MESSAGES + b"\r\n"),
    "a header cut off": Drop(b"HTTP/1.1 200 -\r\nSet-Cookie: marked-cookie\r\nX-Half"),
    "a header without a name": Drop(b"HTTP/1.1 200 -\r\n: marked\r\nmarked\r\n\r\n"),
    "a body cut off": Drop(b"HTTP/1.1 200 -\r\nContent-Length: 999\r\n\r\n" + MESSAGES),
    "a status that is none": Drop(b"HTTP/1.1 marked -\r\n\r\n"),
    "another encoding": Reply(headers={"Content-Encoding": "gzip"}, body=b"\x1f\x8b" + MESSAGES),
    "no document": Reply(body=MESSAGES[:-3]),
    "an error without a shape": Reply(status=500, headers={"x-marked": "marked"}, body=b"<marked" + MESSAGES),
    "a redirect": Reply(status=301, headers={"Location": "http://marked-host/"}, body=b"marked"),
    "nothing": Drop(),
}


@pytest.mark.parametrize("call", [narrow, narrow_with_a_role, wide, wide_with_a_role])
@pytest.mark.parametrize("way", ["direct", "proxy"])
@pytest.mark.parametrize("garbled", GARBLED.values(), ids=GARBLED)
async def test_the_error_of_a_garbled_answer_shows_neither_the_answer_nor_the_user_of_a_url(
    call: Call, way: str, garbled: Reply | Drop, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with http_server(always(garbled)) as server:
        url = server.url.replace("//", f"//{USER}")
        if way == "proxy":
            monkeypatch.setenv("http_proxy", url)
            url = "http://service.invalid"
        async with Aws(AwsSettings(endpoint_url=url, region="eu-west-1")) as aws:
            with pytest.raises(errors.ServiceError) as caught:
                await call(aws)
    assert MARK not in shown(caught.value)


@pytest.mark.parametrize("call", [narrow, narrow_with_a_role, wide, wide_with_a_role])
@pytest.mark.parametrize("status", [301, 403, 407, 502])
async def test_the_password_of_a_proxy_that_refuses_a_tunnel_is_not_shown(
    call: Call, status: int, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = b"HTTP/1.1 %d marked\r\nContent-Length: 0\r\nProxy-Authenticate: Basic realm=marked\r\n\r\n" % status
    async with http_server(always(Drop(reply))) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", f"//{USER}"))
        async with Aws(AwsSettings(endpoint_url="https://service.invalid", region="eu-west-1")) as aws:
            with pytest.raises(errors.Unreachable) as caught:
                await call(aws)
    assert not caught.value.was_sent
    assert MARK not in shown(caught.value)


@pytest.mark.parametrize(
    ("call", "variables"),
    [
        (narrow, ["AWS_ENDPOINT_URL"]),
        (narrow, ["http_proxy"]),
        (narrow, ["http_proxy", "AWS_ENDPOINT_URL"]),
        (wide, ["http_proxy"]),
    ],
)
async def test_the_error_of_an_unreachable_host_does_not_show_the_user_of_the_url(
    call: Call, variables: list[str], shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://service.invalid")
    for variable in variables:
        monkeypatch.setenv(variable, f"http://{USER}127.0.0.1:9/{MARK}?{MARK}")
    async with Aws(AwsSettings(region="eu-west-1")) as aws:
        with pytest.raises(errors.Unreachable) as caught:
            await call(aws)
    assert "127.0.0.1:9" in str(caught.value)
    assert MARK not in shown(caught.value)


@pytest.mark.parametrize("call", [narrow_with_a_role, wide_with_a_role])
@pytest.mark.parametrize(
    "answer", [CREDENTIALS, ASSUMED, UNENDING, CREDENTIALS + b"\xff", b"marked" + ASSUMED, b"<marked/>"]
)
async def test_a_garbled_answer_of_sts_does_not_show_the_roles_keys(call: Call, answer: bytes, shown: Shown) -> None:
    async with (
        http_server(always(Reply(body=answer))) as sts,
        Aws(AwsSettings(endpoint_url=sts.url, region="eu-west-1")) as aws,
    ):
        with pytest.raises(errors.ServiceError) as caught:
            await call(aws)
    assert MARK not in shown(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("call", [narrow, wide])
@pytest.mark.parametrize(
    "process",
    [
        'print(\'{"Version": 1, "SecretAccessKey": "marked-secret-key"\')',
        'print(\'{"Version": 1, "SecretAccessKey": "marked-secret-key"}\')',
        'print(\'{"Version": "marked"}\')',
        "print('[\"marked\"]')",
        "import sys; sys.stdout.buffer.write(b'marked' + bytes([255]))",
        "import sys; sys.exit('marked-secret-key')",
    ],
)
async def test_the_output_of_a_failing_credential_process_is_not_shown(
    call: Call, process: str, shown: Shown, credentials_file: CredentialsFile, tmp_path: Path, monkeypatch: Any
) -> None:
    command = f"{sys.executable} -c {shlex.quote(process)}"
    await of_a_process(call, command, shown, credentials_file, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("call", [narrow, wide])
async def test_a_missing_credential_process_does_not_crash(
    call: Call, shown: Shown, credentials_file: CredentialsFile, tmp_path: Path, monkeypatch: Any
) -> None:
    await of_a_process(call, "/no/such/program marked-password", shown, credentials_file, tmp_path, monkeypatch)


async def of_a_process(
    call: Call, command: str, shown: Shown, credentials_file: CredentialsFile, folder: Path, monkeypatch: Any
) -> None:
    credentials_file.remove()
    (folder / "config").write_text(f"[default]\ncredential_process = {command}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    async with Aws(AwsSettings(region="eu-west-1")) as aws:
        with pytest.raises(errors.AccessDenied) as caught:
            await call(aws)
    assert MARK not in shown(caught.value)


@pytest.mark.parametrize("call", [narrow, wide])
@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize(
    "body", [b'{"SecretAccessKey":"marked"', b'{"AccessKeyId":"a","SecretAccessKey":"marked"}', b"[1]"]
)
async def test_a_garbled_answer_of_the_containers_metadata_does_not_show_the_keys(
    call: Call, status: int, body: bytes, shown: Shown, credentials_file: CredentialsFile, monkeypatch: Any
) -> None:
    credentials_file.remove()
    async with http_server(always(Reply(status=status, body=body))) as metadata:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{metadata.url}/marked")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "marked-token")
        monkeypatch.setattr("aiobotocore.utils.AioContainerMetadataFetcher.SLEEP_TIME", 0)
        async with Aws(AwsSettings(region="eu-west-1")) as aws:
            with pytest.raises(errors.ServiceError) as caught:
                await call(aws)
    assert MARK not in shown(caught.value)


@pytest.mark.parametrize("call", [narrow, wide])
async def test_only_the_first_line_is_shown_if_a_message_repeats_the_signed_request(call: Call, shown: Shown) -> None:
    body = SIGNATURE if call is narrow else SIGNATURE_IN_XML
    async with (
        http_server(always(Reply(status=403, body=body))) as server,
        Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws,
    ):
        with pytest.raises(errors.AccessDenied) as caught:
            await call(aws)
    assert "The signature does not match." in str(caught.value)
    assert MARK not in shown(caught.value)


@pytest.mark.parametrize(
    "url", [f"{USER}host", f"http://{USER}ho st/marked", f"http://{USER}host:x1/", f"ftp://{USER}h"]
)
async def test_the_error_of_an_unusable_endpoint_does_not_show_the_user_of_the_url(url: str, shown: Shown) -> None:
    async with Aws(AwsSettings(endpoint_url=url, region="eu-west-1")) as aws:
        with pytest.raises(errors.SettingsError) as caught:
            await narrow(aws)
    assert MARK not in shown(caught.value)
