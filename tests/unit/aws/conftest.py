"""Which environment does every test of the AWS clients have?

No AWS setting of the machine, and one file of credentials.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from poller.aws.signing import Credentials

FIRST = Credentials("AKIDFIRST", "first-secret", "first-token")
SECOND = Credentials("AKIDSECOND", "second-secret", "second-token")


class CredentialsFile:
    """The file that AWS_SHARED_CREDENTIALS_FILE names."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, keys: Credentials) -> None:
        lines = ["[default]", f"aws_access_key_id={keys[0]}", f"aws_secret_access_key={keys[1]}"]
        if keys.session_token:
            lines.append(f"aws_session_token={keys.session_token}")
        self._path.write_text("\n".join(lines))

    def remove(self) -> None:
        self._path.unlink()


@pytest.fixture
def anyio_backend() -> str:
    """The clients use aiohttp and aiobotocore, which need asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def credentials_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CredentialsFile:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy") or name == "REQUESTS_CA_BUNDLE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    file = CredentialsFile(tmp_path / "credentials")
    file.write(FIRST)
    return file
