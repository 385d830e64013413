"""Which credentials sign a request, and when are they renewed?

The daemon's own identity has the credentials that aiobotocore's chain finds: environment, profile, web identity,
container, instance. The identity of a role uses those credentials to assume the role by STS.

    known_credentials  returns the credentials if no search is needed
    credentials()      returns the credentials; asks aiobotocore at most once a second, and aiobotocore renews them
                       before they expire
    renew(stale)       searches the whole chain again, after a service has rejected the credentials `stale`; so it also
                       finds the new content of a credentials file
    session            is aiobotocore's session of this identity, for the general client

An identity sends no request until one of these is used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from aiobotocore.credentials import (
    AioAssumeRoleCredentialFetcher,
    AioCredentialResolver,
    AioDeferredRefreshableCredentials,
)
from aiobotocore.session import AioSession
from botocore.exceptions import NoCredentialsError

from poller.aws.credential_process import ProfileProviders, end_processes_with_searches
from poller.aws.errors import RENEWABLE_CODES, UNREADABLE, translated
from poller.aws.signing import Credentials
from poller.disclosure import safe_text
from poller.errors import AccessDenied, Unreachable

CREDENTIALS_ARE_TRUSTED_FOR_IN_SECONDS = 1.0
"""How long credentials are used before aiobotocore is asked again. It renews them ten minutes before they expire."""

ROLE_SESSION_NAME = "poller"
"""The name of the daemon's session of a role; CloudTrail shows it."""


class Identity:
    """One identity. `new_session` makes a session without credentials.

    `source` is the identity that assumes the role; None if this identity has no role.
    """

    def __init__(self, new_session: Callable[[], Session], *, source: Identity | None = None) -> None:
        self._new_session = new_session
        self._source = source
        self._credentials: Credentials | None = None
        self._trusted_until = 0.0
        self._lock = asyncio.Lock()
        self.session = new_session()

    @property
    def known_credentials(self) -> Credentials | None:
        """Return the credentials, or None if a search is needed.

        While one task searches, other tasks get the old ones.
        """
        is_good = time.monotonic() < self._trusted_until or self._lock.locked()
        return self._credentials if is_good else None

    async def credentials(self) -> Credentials:
        """Return the credentials. Raises AccessDenied if there are none, and Unreachable if a provider does not answer.

        This may take as long as the slowest credential provider, so set a timeout around it.
        """
        if (known := self.known_credentials) is not None:
            return known
        async with self._lock:
            return await self._search()

    async def renew(self, stale: Credentials) -> Credentials:
        """Search for credentials again and return them. If there are no other credentials, they equal `stale`.

        If another task has already found credentials that differ from `stale`, they are returned without a search.
        Raises the same errors as `credentials`.
        """
        async with self._lock:
            if self._credentials is not None and self._credentials != stale:
                return self._credentials
            self.session = self._new_session()
            return await self._search()

    async def _search(self) -> Credentials:
        try:
            self._credentials = await frozen_credentials(self.session)
        except AccessDenied as error:
            if self._source is None or error.code not in RENEWABLE_CODES:
                raise
            await self._source.renew(await self._source.credentials())
            self.session = self._new_session()
            self._credentials = await frozen_credentials(self.session)
        self._trusted_until = time.monotonic() + CREDENTIALS_ARE_TRUSTED_FOR_IN_SECONDS
        return self._credentials


async def frozen_credentials(session: AioSession) -> Credentials:
    """Return the session's credentials as they are now. Raises only errors.ServiceError.

    An Unreachable has `was_sent` false: the search may have sent requests, but the request to be signed was not sent.
    """
    try:
        with translated():
            found = await session.get_credentials()
            if found is None:
                raise NoCredentialsError
            frozen = await found.get_frozen_credentials()
            credentials = Credentials(frozen.access_key, frozen.secret_key, frozen.token or None)
    except Unreachable as error:
        raise Unreachable(str(error), code=error.code, was_sent=False) from error
    except UNREADABLE as error:
        raise AccessDenied("the credentials cannot be understood", code="UnusableCredentials") from error
    except RuntimeError as error:  # aiobotocore raises this error if new credentials have already expired
        raise AccessDenied("the credentials have expired", code="ExpiredCredentials") from error
    except OSError as error:  # a credential process cannot be started, or a file cannot be read
        raise AccessDenied(f"the credentials cannot be read: {safe_text(error)}", code="UnusableCredentials") from error
    return credentials


class Session(AioSession):  # type: ignore[misc]  # aiobotocore is not typed
    """aiobotocore's session. If `sts_url` is set, every STS client of the session uses it.

    This includes the clients of credential providers (web identity, a profile's role_arn), which set no endpoint.
    A credential process ends with the search that started it.
    """

    def __init__(self, sts_url: str | None = None) -> None:
        super().__init__()
        self.sts_url = sts_url

    def create_client(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
        if service_name == "sts":
            kwargs.setdefault("endpoint_url", self.sts_url)
        return super().create_client(service_name, *args, **kwargs)

    def _create_credential_resolver(self) -> AioCredentialResolver:
        resolver = super()._create_credential_resolver()
        builder = ProfileProviders(self, region_name=self._last_client_region_used)
        end_processes_with_searches(resolver.providers, builder)
        return resolver


def role_session(role_arn: str, source: Identity, **sts: Any) -> Session:
    """Return a session that assumes the role when it first needs credentials.

    `sts` are the arguments of its STS client. The session shares the service models that the session of `source` has
    loaded.
    """
    session = Session(source.session.sts_url)
    session.register_component("data_loader", source.session.get_component("data_loader"))
    session.register_component("credential_provider", AioCredentialResolver([AssumedRole(role_arn, source, sts)]))
    return session


class AssumedRole:
    """A credential provider for aiobotocore's resolver. It assumes a role that the settings name."""

    METHOD = "assume-role"
    CANONICAL_NAME = None

    def __init__(self, role_arn: str, source: Identity, sts: dict[str, Any]) -> None:
        self._role_arn = role_arn
        self._source = source
        self._sts = sts

    async def load(self) -> AioDeferredRefreshableCredentials:
        """Return credentials that assume the role again before they expire."""
        session = self._source.session
        credentials = await session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        fetcher = AioAssumeRoleCredentialFetcher(
            client_creator=lambda service, **credentials: session.create_client(service, **self._sts, **credentials),
            source_credentials=credentials,
            role_arn=self._role_arn,
            extra_args={"RoleSessionName": ROLE_SESSION_NAME},
        )
        return AioDeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method=self.METHOD)
