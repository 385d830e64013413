"""How is a client of an AWS service made? `Aws` makes all clients, for a region, an endpoint and a role.

    json_client     the fast client of a JSON service     } region, endpoint, protocol and signing name are those that
    invoker         the fast client of a Lambda function  } aiobotocore resolves; settings override the endpoint
    client          the general client: aiobotocore's
    identity_arn    the ARN of the daemon's own identity
    execution_role  the ARN of the role that a Lambda function runs with

One pool of connections, a clock for each endpoint and an identity for each role are shared by all of them.
To make any of them needs neither credentials nor network, and fails only with SettingsError, for a fault in the AWS
configuration; anything else that is missing shows at the first request.

Source of the endpoints' precedence: AWS SDKs and Tools Reference Guide, "Service-specific endpoints".
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import anyio
from aiobotocore.config import AioConfig
from botocore import UNSIGNED, xform_name
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path

from poller.aws.bounded_session import BoundedSession
from poller.aws.clock import ServiceClock
from poller.aws.errors import RENEWABLE_CODES, UNREADABLE, translated
from poller.aws.identity import Identity, Session, role_session
from poller.aws.invoker import Invoker
from poller.aws.json_client import JsonClient
from poller.aws.signing import Signer, resource
from poller.aws.wire import USER_AGENT, Route, Wire
from poller.disclosure import host_of, safe_text
from poller.errors import AccessDenied, ServiceError, SettingsError
from poller.http.pool import DEFAULT_PORTS, Origin, Pool
from poller.http.proxied import Proxied
from poller.http.proxies import proxy_of
from poller.model.arn import Arn

GENERAL_CLIENT = AioConfig(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 3},
    user_agent_extra=USER_AGENT,
    http_session_cls=BoundedSession,
)

IDENTITY_TIMEOUT_IN_SECONDS = 5.0
"""How long STS or Lambda may take to name an identity; ours. Only events show it, so it is not worth a longer wait."""

NO_REGION = (
    "daemon.region: missing; set it there, in AWS_DEFAULT_REGION, or in the profile of the AWS configuration file"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """What the settings file says of AWS. `endpoints` maps a service, as botocore calls it, to a url of its own."""

    region: str | None = None
    endpoint_url: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict, hash=False)


class Service(NamedTuple):
    """What aiobotocore knows of a service in a region."""

    url: str
    proxy: str | None
    signing_name: str
    target_prefix: str
    json_version: str


class Aws:
    """Makes the clients. Enter it before use; leaving it closes every connection."""

    def __init__(self, settings: AwsSettings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._clocks: dict[Origin, ServiceClock] = {}
        self._own_identity = Identity(functools.partial(Session, self._endpoint("sts")))
        self._roles: dict[tuple[str, str], Identity] = {}
        self._services: dict[tuple[str, str], Service] = {}

    async def __aenter__(self) -> Self:
        tls = await asyncio.to_thread(tls_context, self._configured("ca_bundle"))
        self._pool = await self._stack.enter_async_context(aclosing(Pool(tls)))
        self._proxied = await self._stack.enter_async_context(aclosing(Proxied(tls)))
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def json_client(self, service: str, *, region: str | None = None, role_arn: str | None = None) -> JsonClient:
        """The fast client of a service with a JSON protocol: `sqs`, `kinesis`, `dynamodbstreams`."""
        region = self.region(region)
        known = await self._service(service, region)
        return JsonClient(
            self._wire(known, region, role_arn),
            Route.to(resource("POST", known.url), proxy=known.proxy),
            target_prefix=known.target_prefix,
            json_version=known.json_version,
        )

    async def invoker(
        self,
        name: str,
        *,
        qualifier: str | None = None,
        timeout_in_seconds: float,
        region: str | None = None,
        role_arn: str | None = None,
    ) -> Invoker:
        """The fast client of a Lambda function; `name` is a name or an ARN without qualifier."""
        region = self.region(region)
        known = await self._service("lambda", region)
        return Invoker(
            self._wire(known, region, role_arn),
            base_url=known.url,
            proxy=known.proxy,
            name=name,
            qualifier=qualifier,
            timeout_in_seconds=timeout_in_seconds,
        )

    @asynccontextmanager
    async def client(
        self, service: str, *, region: str | None = None, role_arn: str | None = None
    ) -> AsyncIterator[Any]:
        """The general client, from aiobotocore. What it raises in the block comes out as errors.ServiceError."""
        region = self.region(region)
        with translated():
            identity = self._identity(role_arn, region)
        credentials = await identity.credentials()
        try:
            with translated():
                async with identity.session.create_client(
                    service, region_name=region, endpoint_url=self._endpoint(service), config=GENERAL_CLIENT
                ) as client:
                    yield client
        except AccessDenied as error:
            if error.code in RENEWABLE_CODES:
                await identity.renew(credentials)
            raise

    async def identity_arn(self, region: str | None = None) -> str | None:
        """The daemon's own identity as an IAM ARN; None if STS does not answer in time."""
        with _told_in_time():
            async with self.client("sts", region=region) as sts:
                return iam_arn((await sts.get_caller_identity())["Arn"])
        return None

    async def execution_role(
        self, name: str, *, qualifier: str | None = None, region: str | None = None, role_arn: str | None = None
    ) -> str | None:
        """The ARN of a Lambda function's role; None if Lambda does not answer in time, or does not let us ask.

        `name` is a name or an ARN without qualifier.
        """
        asked = {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier is not None else {})
        with _told_in_time():
            async with self.client("lambda", region=region, role_arn=role_arn) as client:
                return str(Arn.parse(str((await client.get_function_configuration(**asked))["Role"])))
        return None

    def region(self, asked: str | None = None) -> str:
        """The region to use: the one asked for, the settings', the AWS chain's."""
        region = asked or self._settings.region or self._configured("region")
        if not region:
            raise SettingsError([NO_REGION])
        return region

    def _configured(self, name: str) -> str | None:
        """What the AWS configuration (environment, profile) says of this."""
        try:
            value: str | None = self._own_identity.session.get_config_variable(name)
        except BotoCoreError as error:
            raise SettingsError([f"AWS configuration: {safe_text(error)}"]) from error
        return value

    def _wire(self, service: Service, region: str, role_arn: str | None) -> Wire:
        signer = Signer(service=service.signing_name, region=region)
        identity = self._identity(role_arn, region)
        clock = self._clocks.setdefault(Origin.of(service.url), ServiceClock())
        return Wire(self._pool, self._proxied, identity=identity, signer=signer, clock=clock)

    def _identity(self, role_arn: str | None, region: str) -> Identity:
        if role_arn is None:
            return self._own_identity
        if (role_arn, region) not in self._roles:
            new_session = functools.partial(
                role_session, role_arn, self._own_identity, region_name=region, config=GENERAL_CLIENT
            )
            self._roles[role_arn, region] = Identity(new_session, source=self._own_identity)
        return self._roles[role_arn, region]

    def _endpoint(self, service: str) -> str | None:
        return self._settings.endpoints.get(service, self._settings.endpoint_url)

    async def _service(self, service: str, region: str) -> Service:
        if (service, region) not in self._services:
            try:
                self._services[service, region] = await self._ask_aiobotocore(service, region)
            except BotoCoreError as error:
                raise SettingsError([f"AWS endpoint of {service} in {region}: {safe_text(error)}"]) from error
            except ValueError as error:
                raise SettingsError([f"AWS endpoint of {service} in {region}: {_not_a_url(error)}"]) from error
        return self._services[service, region]

    async def _ask_aiobotocore(self, service: str, region: str) -> Service:
        async with self._own_identity.session.create_client(
            service,
            region_name=region,
            endpoint_url=self._endpoint(service),
            config=AioConfig(signature_version=UNSIGNED),
        ) as client:
            model = client.meta.service_model
            url = await base_url(client)
            parts = urlsplit(url)
            if parts.scheme not in DEFAULT_PORTS or parts.port == 0:  # reading a port that is no number raises
                raise ValueError(f"Invalid endpoint: {url}")
            return Service(
                url,
                proxy_of(url),
                str(model.signing_name),
                str(model.metadata.get("targetPrefix", "")),
                str(model.metadata.get("jsonVersion", "")),
            )


def _not_a_url(error: ValueError) -> str:
    """botocore quotes the whole url, which may contain a password."""
    _, quoted, url = str(error).partition("Invalid endpoint: ")
    return f"not a url: {host_of(url)}" if quoted else "not a url"


@contextmanager
def _told_in_time() -> Iterator[None]:
    """Leave the block if the service takes too long, refuses, or answers something unexpected."""
    with (
        anyio.move_on_after(IDENTITY_TIMEOUT_IN_SECONDS),
        suppress(ServiceError, *UNREADABLE),
    ):
        yield


async def base_url(client: Any) -> str:
    """Where a client sends its requests, without an operation's own path.

    `client.meta.endpoint_url` is not always that (dual-stack DynamoDB Streams): only a request goes through the
    endpoint rules. So it is asked for the url of one that needs no parameters; nothing is sent.
    """
    operations = map(client.meta.service_model.operation_model, client.meta.service_model.operation_names)
    operation = next(each for each in operations if each.input_shape and not each.input_shape.required_members)
    url = str(await client.generate_presigned_url(xform_name(operation.name))).partition("?")[0]
    path = str(operation.http["requestUri"])
    return url if path == "/" else url.removesuffix(path)


def iam_arn(sts_arn: str) -> str:
    """The role's own ARN, where STS names a session of the role; a path in the role's name is not known to STS."""
    arn = Arn.parse(sts_arn)
    kind, _, name = arn.resource.partition("/")
    if (arn.service, kind) != ("sts", "assumed-role"):
        return sts_arn
    return str(dataclasses.replace(arn, service="iam", resource=f"role/{name.rpartition('/')[0]}"))


def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Trust whom botocore trusts: its `ca_bundle` setting, else REQUESTS_CA_BUNDLE, else certifi's authorities."""
    bundle = ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE") or get_cert_path(True)
    try:
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        reason = f"{bundle!r} cannot be read as certificates: {safe_text(error)}"
        raise SettingsError([f"AWS ca_bundle: {reason}"]) from error
