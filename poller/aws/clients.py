"""How is a client of an AWS service made? `Aws` makes all clients, for a region, an endpoint and a role.

    json_client     makes the fast client of a JSON service     } aiobotocore finds region, endpoint, protocol and
    invoker         makes the fast client of a Lambda function  } signing name; the settings may set the endpoint
    client          makes the general client, a client of aiobotocore
    identity_arn    asks STS for the ARN of the daemon's own identity
    execution_role  asks Lambda for the ARN of a function's role

The fast clients share one pool of connections, one clock for each endpoint, and one signer for each service, role and
region. All clients share one identity for each role and region. Making a fast client needs no credentials and no
network. It raises SettingsError for a fault in the AWS configuration; any other fault, such as missing credentials,
appears at the first request.

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
from poller.http.pool import DEFAULT_PORTS, Limits, Origin, Pool
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
"""How long STS or Lambda may take to name an identity. We chose it: only events of Kinesis need the answer."""

NO_REGION = (
    "daemon.region: missing; set it there, in AWS_DEFAULT_REGION, or in the profile of the AWS configuration file"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """The AWS part of the settings file. `endpoints` maps the name that botocore uses for a service to a url."""

    region: str | None = None
    endpoint_url: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict, hash=False)


class Service(NamedTuple):
    """The properties of a service in a region, as aiobotocore resolves them, and the proxy for its url."""

    url: str
    proxy: str | None
    signing_name: str
    target_prefix: str
    json_version: str


class Aws:
    """Makes the clients. Use it inside an `async with`, whose end closes every connection of the fast clients."""

    def __init__(self, settings: AwsSettings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._clocks: dict[Origin, ServiceClock] = {}
        self._own_identity = Identity(functools.partial(Session, self._endpoint("sts")))
        self._roles: dict[tuple[str, str], Identity] = {}
        self._services: dict[tuple[str, str], Service] = {}
        self._wires: dict[tuple[Service, str, str | None], Wire] = {}

    async def __aenter__(self) -> Self:
        tls = await asyncio.to_thread(tls_context, self._configured("ca_bundle"))
        self._pool = await self._stack.enter_async_context(aclosing(Pool(tls, Limits())))
        self._proxied = await self._stack.enter_async_context(aclosing(Proxied(tls, Limits())))
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def json_client(self, service: str, *, region: str | None = None, role_arn: str | None = None) -> JsonClient:
        """Make the fast client of a service with a JSON protocol, such as `sqs`, `kinesis` or `dynamodb`."""
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
        """Make the fast client of a Lambda function. `name` is a name or an ARN without a qualifier."""
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
        """Open the general client. Raises errors.ServiceError if it finds no credentials.

        Inside the block, an error of botocore becomes errors.ServiceError.
        """
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
        """Return the daemon's own identity as an IAM ARN, or None if STS refuses or does not answer in time."""
        with _without_failures():
            async with self.client("sts", region=region) as sts:
                return iam_arn((await sts.get_caller_identity())["Arn"])
        return None

    async def execution_role(self, name: str, *, qualifier: str | None = None, region: str | None = None) -> str | None:
        """Return the ARN of a Lambda function's role, or None if Lambda refuses or does not answer in time.

        `name` is a name or an ARN without a qualifier.
        """
        asked = {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier is not None else {})
        with _without_failures():
            async with self.client("lambda", region=region) as client:
                return str(Arn.parse(str((await client.get_function_configuration(**asked))["Role"])))
        return None

    def region(self, asked: str | None = None) -> str:
        """Return the region: `asked` if it is not None, else that of the settings, else that of the AWS configuration.

        Raises SettingsError if there is none.
        """
        region = asked or self._settings.region or self._configured("region")
        if not region:
            raise SettingsError([NO_REGION])
        return region

    def _configured(self, name: str) -> str | None:
        """Return a value of the AWS configuration (environment and profile), or None if it is not set."""
        try:
            value: str | None = self._own_identity.session.get_config_variable(name)
        except BotoCoreError as error:
            raise SettingsError([f"AWS configuration: {safe_text(error)}"]) from error
        return value

    def _wire(self, service: Service, region: str, role_arn: str | None) -> Wire:
        """Return the wire of a service. Its clients share it, because a signer does some work only once a second."""
        wire = self._wires.get((service, region, role_arn))
        if wire is None:
            signer = Signer(service=service.signing_name, region=region)
            identity = self._identity(role_arn, region)
            clock = self._clocks.setdefault(Origin.of(service.url), ServiceClock())
            wire = Wire(self._pool, self._proxied, identity=identity, signer=signer, clock=clock)
            self._wires[service, region, role_arn] = wire
        return wire

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
            if parts.scheme not in DEFAULT_PORTS or parts.port == 0:  # `port` raises ValueError if it is not a number
                raise ValueError(f"Invalid endpoint: {url}")
            return Service(
                url,
                proxy_of(url),
                str(model.signing_name),
                str(model.metadata.get("targetPrefix", "")),
                str(model.metadata.get("jsonVersion", "")),
            )


def _not_a_url(error: ValueError) -> str:
    """Return a text that shows only the url's host, because botocore's text has the whole url with its password."""
    _, quoted, url = str(error).partition("Invalid endpoint: ")
    return f"not a url: {host_of(url)}" if quoted else "not a url"


@contextmanager
def _without_failures() -> Iterator[None]:
    """End the block without an error if the service takes too long, refuses, or sends an unexpected answer."""
    with (
        anyio.move_on_after(IDENTITY_TIMEOUT_IN_SECONDS),
        suppress(ServiceError, *UNREADABLE),
    ):
        yield


async def base_url(client: Any) -> str:
    """Return the url to which a client sends its requests, without the path of an operation.

    `client.meta.endpoint_url` may be a different url (dual-stack DynamoDB Streams), because botocore applies its
    endpoint rules only to a request. So the client makes the url of a request without parameters, but does not send it.
    """
    operations = map(client.meta.service_model.operation_model, client.meta.service_model.operation_names)
    operation = next(each for each in operations if each.input_shape and not each.input_shape.required_members)
    url = str(await client.generate_presigned_url(xform_name(operation.name))).partition("?")[0]
    path = str(operation.http["requestUri"])
    return url if path == "/" else url.removesuffix(path)


def iam_arn(sts_arn: str) -> str:
    """Return the role's ARN if `sts_arn` is a session of a role; return any other ARN unchanged.

    A role's path is missing in the result, because STS does not tell it.
    """
    arn = Arn.parse(sts_arn)
    kind, _, name = arn.resource.partition("/")
    if (arn.service, kind) != ("sts", "assumed-role"):
        return sts_arn
    return str(dataclasses.replace(arn, service="iam", resource=f"role/{name.rpartition('/')[0]}"))


def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Make a TLS context that trusts the certificates that botocore trusts.

    The certificates are in botocore's setting `ca_bundle`, else in REQUESTS_CA_BUNDLE, else in certifi. Raises
    SettingsError if the file cannot be read.
    """
    bundle = ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE") or get_cert_path(True)
    try:
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        reason = f"{bundle!r} cannot be read as certificates: {safe_text(error)}"
        raise SettingsError([f"AWS ca_bundle: {reason}"]) from error
