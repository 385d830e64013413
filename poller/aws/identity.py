"""Which credentials sign a request, and when are they renewed?

The identity without a role has the credentials that aiobotocore's chain finds: environment, profile, web identity,
container, instance.  An identity with a role assumes it by STS with those credentials.

    known_credentials  the credentials, if no search is needed
    credentials()      the credentials, after a search if needed; aiobotocore is asked at most once a second, and renews
                       them in time
    renew(stale)       the service rejected these credentials: search the whole chain again, also a credentials file
                       that was changed meanwhile
    session            aiobotocore's session of this identity, for the general client

No request is sent before the first of these calls.
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

from poller.aws.errors import RENEWABLE_CODES, UNREADABLE, translated
from poller.aws.signing import Credentials
from poller.disclosure import safe_text
from poller.errors import AccessDenied, Unreachable

CREDENTIALS_ARE_TRUSTED_FOR_IN_SECONDS = 1.0
"""How long credentials are used before aiobotocore is asked for newer ones; it renews them ten minutes early."""

ROLE_SESSION_NAME = "poller"
"""How CloudTrail calls the daemon when it acts under a role."""


class Identity:
    """One identity. `new_session` makes a session that knows no credentials yet; `source` assumes the role, if any."""

    def __init__(self, new_session: Callable[[], Session], *, source: Identity | None = None) -> None:
        self._new_session = new_session
        self._source = source
        self._credentials: Credentials | None = None
        self._trusted_until = 0.0
        self._lock = asyncio.Lock()
        self.session = new_session()

    @property
    def known_credentials(self) -> Credentials | None:
        """The credentials, if no search is needed. While one task searches, the other tasks get the known ones."""
        is_good = time.monotonic() < self._trusted_until or self._lock.locked()
        return self._credentials if is_good else None

    async def credentials(self) -> Credentials:
        """Raises AccessDenied if there are none, Unreachable if a credential provider does not answer.

        It has no deadline of its own, and takes as long as the slowest provider: set one around it.
        """
        if (known := self.known_credentials) is not None:
            return known
        async with self._lock:
            return await self._search()

    async def renew(self, stale: Credentials) -> Credentials:
        """Other credentials than these, if there are any; if several tasks ask at once, the first one searches."""
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
    """The credentials of a session now. No request of ours was sent when this fails, whatever was asked on the way."""
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
    except RuntimeError as error:  # aiobotocore raises it for credentials that are expired on arrival
        raise AccessDenied("the credentials have expired", code="ExpiredCredentials") from error
    except OSError as error:  # a credential process that cannot be started, a file that cannot be read
        raise AccessDenied(f"the credentials cannot be read: {safe_text(error)}", code="UnusableCredentials") from error
    return credentials


class Session(AioSession):  # type: ignore[misc]  # aiobotocore is not typed
    """aiobotocore's session; all its clients reach STS at `sts_url`, if given, also those of credential providers.

    A provider (web identity, a profile's role_arn) makes its own client, and gives it no endpoint.
    """

    def __init__(self, sts_url: str | None = None) -> None:
        super().__init__()
        self.sts_url = sts_url

    def create_client(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
        if service_name == "sts":
            kwargs.setdefault("endpoint_url", self.sts_url)
        return super().create_client(service_name, *args, **kwargs)


def role_session(role_arn: str, source: Identity, **sts: Any) -> Session:
    """A session that assumes the role when it is first used, with an STS client that has the arguments `sts`.

    It shares the service models that the source's session has loaded.
    """
    session = Session(source.session.sts_url)
    session.register_component("data_loader", source.session.get_component("data_loader"))
    session.register_component("credential_provider", AioCredentialResolver([AssumedRole(role_arn, source, sts)]))
    return session


class AssumedRole:
    """A credential provider, as aiobotocore's resolver wants one, for a role named in the settings."""

    METHOD = "assume-role"
    CANONICAL_NAME = None

    def __init__(self, role_arn: str, source: Identity, sts: dict[str, Any]) -> None:
        self._role_arn = role_arn
        self._source = source
        self._sts = sts

    async def load(self) -> AioDeferredRefreshableCredentials:
        """Credentials that renew themselves by assuming the role again."""
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
