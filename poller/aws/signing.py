"""What is the signature of a request? AWS's Signature Version 4, for requests whose whole body is at hand.

    canonical request = method, path, query, headers, their names, hash of the body
    string to sign    = algorithm, time, scope (day/region/service), hash of the canonical request
    signing key       = HMAC chain over the secret key, day, region, service; the same all day, so kept
    signature         = HMAC of the string under the key

What does not change from call to call is prepared once: a `Resource` holds the method, path and query as they are
signed. The path is encoded once more than it is sent, as every service but S3 demands.

Source: AWS Identity and Access Management User Guide, "Create a signed AWS API request".
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from poller.http.pool import DEFAULT_PORTS

ALGORITHM = "AWS4-HMAC-SHA256"


class Credentials(NamedTuple):
    """What an identity signs with. `session_token` is None for long-term credentials."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id})"


class Resource(NamedTuple):
    """Where requests go: the url as it is sent, its host header, and the first lines of the canonical request."""

    url: str
    host: str
    canonical: str


def resource(method: str, url: str) -> Resource:
    """Prepare a url, which must already be percent-encoded."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if parts.port is not None and parts.port != DEFAULT_PORTS.get(parts.scheme):
        host = f"{host}:{parts.port}"
    pairs = sorted(pair.partition("=")[::2] for pair in parts.query.split("&")) if parts.query else []
    query = "&".join(f"{name}={value}" for name, value in pairs)
    path = quote(without_dot_segments(parts.path), safe="/~")
    return Resource(url, host, f"{method}\n{path}\n{query}\n")


def without_dot_segments(path: str) -> str:
    """The path with `.`, `..` and empty segments resolved."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    return "/" + "/".join(segments) + ("/" if segments and path.endswith("/") else "")


class Signer:
    """Signs for one service in one region. `service` is its signing name: DynamoDB Streams signs as `dynamodb`."""

    def __init__(self, *, service: str, region: str) -> None:
        self._region = region
        self._service = service
        self._second = -1
        self._time = ""
        self._key_of = ("", "")
        self._key = b""

    def sign(
        self, where: Resource, headers: Mapping[str, str], body: bytes, *, credentials: Credentials, now: float
    ) -> dict[str, str]:
        """All headers of the request. Those given are all signed and named in lower case; `now` is epoch seconds."""
        moment = self._timestamp(int(now))
        signed = {**headers, "host": where.host, "x-amz-date": moment}
        if credentials.session_token:
            signed["x-amz-security-token"] = credentials.session_token
        names = sorted(signed)
        names_line = ";".join(names)
        lines = "\n".join([f"{name}:{' '.join(signed[name].split())}" for name in names])
        canonical = f"{where.canonical}{lines}\n\n{names_line}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{moment[:8]}/{self._region}/{self._service}/aws4_request"
        to_sign = f"{ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(
            self._signing_key(moment[:8], credentials.secret_access_key), to_sign.encode(), "sha256"
        ).hex()
        signed["authorization"] = (
            f"{ALGORITHM} Credential={credentials.access_key_id}/{scope}, "
            f"SignedHeaders={names_line}, Signature={signature}"
        )
        return signed

    def _timestamp(self, second: int) -> str:
        if second != self._second:
            self._second, self._time = second, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        return self._time

    def _signing_key(self, day: str, secret: str) -> bytes:
        if self._key_of != (day, secret):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key_of, self._key = (day, secret), key
        return self._key
