"""When are credentials requested, and does a slow answer delay other calls?"""

from __future__ import annotations

import asyncio
import datetime

import anyio
import pytest
from aiobotocore.credentials import AioCredentialResolver, AioRefreshableCredentials

from poller import errors
from poller.aws import identity
from poller.aws.identity import Identity, Session
from poller.aws.signing import Credentials

pytestmark = pytest.mark.anyio


class Vault:
    """A credential provider. Its credentials are numbered and valid for `lifetime`; its answers wait for `gate`."""

    METHOD = "vault"
    CANONICAL_NAME = None

    def __init__(self, lifetime: datetime.timedelta) -> None:
        self.lifetime = lifetime
        self.given = 0
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self) -> AioRefreshableCredentials:
        return AioRefreshableCredentials.create_from_metadata(await self.give(), self.give, self.METHOD)

    async def give(self) -> dict[str, str]:
        self.given += 1
        self.asked.set()
        await self.gate.wait()
        expiry_time = (datetime.datetime.now(datetime.UTC) + self.lifetime).isoformat()
        number = str(self.given)
        return {"access_key": number, "secret_key": number, "token": number, "expiry_time": expiry_time}

    def session(self) -> Session:
        session = Session()
        session.register_component("credential_provider", AioCredentialResolver([self]))
        return session


LONG = datetime.timedelta(hours=1)
SHORT = datetime.timedelta(minutes=5)
"""A lifetime within aiobotocore's time to renew."""


async def test_credentials_are_fetched_at_the_first_call_and_not_again_while_they_are_valid() -> None:
    vault = Vault(LONG)
    client = Identity(vault.session)
    assert vault.given == 0
    assert await asyncio.gather(*[client.credentials() for _ in range(5)]) == [Credentials("1", "1", "1")] * 5
    assert vault.given == 1


async def test_credentials_about_to_expire_are_renewed_and_used_without_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vault = Vault(SHORT)
    client = Identity(vault.session)
    first = await client.credentials()
    assert await client.credentials() == first
    monkeypatch.setattr("time.monotonic", lambda: 1e12)
    assert await client.credentials() != first


async def test_a_slow_renewal_delays_only_the_call_that_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "CREDENTIALS_ARE_TRUSTED_FOR_IN_SECONDS", 0.0)
    vault = Vault(SHORT)
    client = Identity(vault.session)
    first = await client.credentials()
    vault.gate.clear()
    vault.asked.clear()
    async with anyio.create_task_group() as group:
        group.start_soon(client.credentials)
        await vault.asked.wait()
        with anyio.fail_after(60):
            assert await client.credentials() == first
        vault.gate.set()


async def test_only_the_first_of_many_denied_calls_fetches_new_credentials() -> None:
    vault = Vault(LONG)
    client = Identity(vault.session)
    stale = await client.credentials()
    renewed = await asyncio.gather(*[client.renew(stale) for _ in range(5)])
    assert renewed == [Credentials("2", "2", "2")] * 5
    assert await client.credentials() == Credentials("2", "2", "2")


async def test_credentials_that_arrive_expired_are_access_denied() -> None:
    with pytest.raises(errors.AccessDenied) as caught:
        await Identity(Vault(-LONG).session).credentials()
    assert caught.value.code == "ExpiredCredentials"


def test_the_text_of_credentials_does_not_show_their_secrets() -> None:
    assert "secret" not in repr(Credentials("id", "secret", "secret-token"))
