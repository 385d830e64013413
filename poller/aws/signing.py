"""How is a request signed? By AWS's Signature Version 4, which needs the whole body.

    canonical request = method, path, query, headers, their names, hash of the body
    string to sign    = algorithm, time, scope (day/region/service), hash of the canonical request
    signing key       = HMAC chain over the secret key, day, region, service; it is kept for the whole day
    signature         = HMAC of the string to sign, with the signing key

A `Resource` has the parts that are the same for every call, as they are signed: method, path and query. The signed path
is percent-encoded once more than the path that is sent; every service except S3 demands this.
In one second, two calls of one operation differ only in the body and in the values of their headers. So the rest of
the canonical request is kept for that second (`_Form`), which halves the cost of a signature.

Source: AWS Identity and Access Management User Guide, "Create a signed AWS API request".
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from poller.http.pool import DEFAULT_PORTS

ALGORITHM = "AWS4-HMAC-SHA256"

UNSIGNED = frozenset({"x-amzn-trace-id"})
"""Headers that are not signed, because services between the client and AWS may change them."""


class Credentials(NamedTuple):
    """The keys that sign the requests of an identity. `session_token` is None for long-term credentials."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id})"


class Resource(NamedTuple):
    """A url for requests, with its host header and the first lines of its canonical request."""

    url: str
    host: str
    canonical: str


def resource(method: str, url: str) -> Resource:
    """Return the Resource of a url, which must already be percent-encoded."""
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
    """Return the path without empty segments, and with `.` and `..` resolved."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    return "/" + "/".join(segments) + ("/" if segments and path.endswith("/") else "")


class Signer:
    """Signs for one service in one region. `service` is the signing name: for DynamoDB Streams it is `dynamodb`."""

    def __init__(self, *, service: str, region: str) -> None:
        self._region = region
        self._service = service
        self._second = -1
        self._credentials: Credentials | None = None
        self._forms: dict[tuple[object, ...], _Form] = {}
        self._key_of = ("", "")
        self._key = b""

    def sign(
        self, where: Resource, headers: Mapping[str, str], body: bytes, *, credentials: Credentials, now: float
    ) -> dict[str, str]:
        """Return all headers of the request: `headers` and the headers of the signature.

        All given headers except UNSIGNED are signed; their names must be in lower case. `now` is in epoch seconds.
        """
        second = int(now)
        if second != self._second or credentials != self._credentials:
            self._second, self._credentials = second, credentials
            self._forms.clear()
        kind = (where, *headers)
        form = self._forms.get(kind)
        if form is None:
            form = self._forms[kind] = self._form(where, headers, credentials, second)
        values = [" ".join(headers[name].split()) for name in form.names]
        canonical = form.canonical % (*values, hashlib.sha256(body).hexdigest())
        to_sign = form.to_sign + hashlib.sha256(canonical.encode()).hexdigest()
        signature = hmac.digest(self._key, to_sign.encode(), "sha256").hex()
        return {**headers, **form.headers, "authorization": form.authorization + signature}

    def _form(self, where: Resource, headers: Iterable[str], credentials: Credentials, second: int) -> _Form:
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        self._renew_key(moment[:8], credentials.secret_access_key)
        fixed = {"host": where.host, "x-amz-date": moment}
        if credentials.session_token:
            fixed["x-amz-security-token"] = credentials.session_token
        names = sorted({*headers, *fixed} - UNSIGNED)
        names_line = ";".join(names)
        lines = "".join(
            [f"{name}:{_literal(' '.join(fixed[name].split())) if name in fixed else '%s'}\n" for name in names]
        )
        scope = f"{moment[:8]}/{self._region}/{self._service}/aws4_request"
        return _Form(
            names=[name for name in names if name not in fixed],
            headers=fixed,
            canonical=f"{_literal(where.canonical)}{lines}\n{names_line}\n%s",
            to_sign=f"{ALGORITHM}\n{moment}\n{scope}\n",
            authorization=f"{ALGORITHM} Credential={credentials.access_key_id}/{scope}, "
            f"SignedHeaders={names_line}, Signature=",
        )

    def _renew_key(self, day: str, secret: str) -> None:
        if self._key_of != (day, secret):
            key = signing_key(secret, day=day, region=self._region, service=self._service)
            self._key_of, self._key = (day, secret), key


def signing_key(secret: str, *, day: str, region: str, service: str) -> bytes:
    """Return the key for the signatures of one day. `day` has the form 20260131."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


class _Form(NamedTuple):
    """The common parts of all requests of one second that have the same resource and the same header names.

    `canonical` has one %s for the value of each header in `names`, and one at its end for the hash of the body.
    """

    names: Sequence[str]
    headers: Mapping[str, str]
    canonical: str
    to_sign: str
    authorization: str


def _literal(text: str) -> str:
    """Escape the text for use in a text with %s."""
    return text.replace("%", "%%")
