"""Does a request come from someone who knows a secret of [daemon] api_keys? Its signature is computed again.

    Authorization: AWS4-HMAC-SHA256 Credential=KEY/DAY/REGION/SERVICE/aws4_request, SignedHeaders=…, Signature=…

A request is accepted if all these conditions hold. Otherwise it gets AWS's error:

    the access key      is one of [daemon] api_keys; a request with a session token is refused
    the time            X-Amz-Date is at most five minutes from our clock, and on the day of the credential
    the scope           the service is lambda, and the region is that of [daemon], if it sets one
    the signed headers  host and every x-amz- header are among them
    the body            its hash is the signed hash, and equals X-Amz-Content-SHA256 if that header is there
    the signature       equals the computed one; the comparison takes the same time for each wrong signature

The body is read only if all conditions hold that can be checked without it.

Source: AWS Identity and Access Management User Guide, "Create a signed AWS API request".
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from poller.aws.signing import ALGORITHM, signing_key, without_dot_segments
from poller.lambda_api.errors import ApiError, not_authenticated

MAXIMUM_SKEW_IN_SECONDS = 300
SERVICE = "lambda"

_DATE = re.compile("[0-9]{8}T[0-9]{6}Z")
_HASH = re.compile("[0-9a-f]{64}")


class Head(NamedTuple):
    """The head of a request. `target` is the path and query as the client sent them.

    `headers` has all headers: names in lower case, with values. The same name may occur more than once.
    """

    method: str
    target: str
    headers: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The signature of a request that fulfils the other conditions.

    `canonical` is the canonical request up to the hash of the body.
    """

    given: str
    canonical: str = field(repr=False)
    to_sign: str = field(repr=False)
    key: bytes = field(repr=False)
    content_hash: str | None

    def check(self, body: bytes) -> None:
        """Raise ApiError if the signature does not fit this body."""
        found = hashlib.sha256(body).hexdigest()
        if self.content_hash not in (None, found):
            raise _wrong("The value passed in x-amz-content-sha256 is not the hash of the payload.")
        hashed = hashlib.sha256(f"{self.canonical}\n{found}".encode(errors="surrogateescape")).hexdigest()
        wanted = hmac.digest(self.key, f"{self.to_sign}{hashed}".encode(), "sha256").hex()
        if not hmac.compare_digest(wanted.encode(), self.given.encode(errors="replace")):
            raise _wrong(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
                "Access Key and signing method. Consult the service documentation for details."
            )


def signature_of(head: Head, *, keys: Mapping[str, str], region: str | None, now: float) -> Signature:
    """Return the signature of a request. Raises ApiError if it is missing, or if a condition is not fulfilled.

    The conditions about the body are not checked here, because the body has not been read yet.

    `keys` maps access keys to secrets. If `region` is None, any region is allowed. `now` is in epoch seconds.
    """
    headers = _joined(head.headers)
    authorization = headers.get("authorization")
    if authorization is None:
        raise not_authenticated("MissingAuthenticationTokenException", "Missing Authentication Token")
    credential, signed, given = _parsed(authorization)
    access_key, day, scope_region, scope_service, end = credential
    secret = keys.get(access_key)
    if secret is None or "x-amz-security-token" in headers:
        raise not_authenticated("UnrecognizedClientException", "The security token included in the request is invalid.")
    moment = _moment(headers, now)
    if day != moment[:8] or end != "aws4_request":
        raise _wrong(f"Credential should be scoped to the day of X-Amz-Date and to aws4_request, not {day!r}, {end!r}.")
    if scope_service != SERVICE:
        raise _wrong(f"Credential should be scoped to correct service: {SERVICE!r}.")
    if region is not None and scope_region != region:
        raise _wrong(f"Credential should be scoped to a valid region, not {scope_region!r}.")
    _check_signed(signed, headers)
    lines = "".join(f"{name}:{headers[name]}\n" for name in signed)
    scope = f"{day}/{scope_region}/{scope_service}/aws4_request"
    return Signature(
        given=given,
        canonical=f"{head.method}\n{_canonical_target(head.target)}\n{lines}\n{';'.join(signed)}",
        to_sign=f"{ALGORITHM}\n{moment}\n{scope}\n",
        key=signing_key(secret, day=day, region=scope_region, service=scope_service),
        content_hash=headers.get("x-amz-content-sha256"),
    )


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return each header's value as it is signed: no outer spaces, single inner spaces, and commas between values."""
    joined: dict[str, str] = {}
    for name, value in headers:
        plain = " ".join(value.split())
        joined[name] = f"{joined[name]},{plain}" if name in joined else plain
    return joined


def _parsed(authorization: str) -> tuple[list[str], list[str], str]:
    """Return the five parts of the credential, the names of the signed headers, and the signature."""
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM or not authorization.isascii():
        raise _incomplete(f"the header Authorization must begin with {ALGORITHM}, and be ASCII")
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    missing = [name for name in ("Credential", "SignedHeaders", "Signature") if not fields.get(name)]
    if missing:
        raise _incomplete(f"Authorization header requires {' and '.join(map(repr, missing))}")
    credential = fields["Credential"].rsplit("/", 4)
    if len(credential) != 5:
        raise _incomplete("Credential must have at least 5 slash-delimited elements")
    if not _HASH.fullmatch(fields["Signature"]):
        raise _incomplete("Signature must be 64 hexadecimal digits")
    return credential, fields["SignedHeaders"].split(";"), fields["Signature"]


def _moment(headers: Mapping[str, str], now: float) -> str:
    moment = headers.get("x-amz-date", "")
    try:
        signed_at = calendar.timegm(time.strptime(moment, "%Y%m%dT%H%M%SZ")) if _DATE.fullmatch(moment) else None
    except ValueError:
        signed_at = None
    if signed_at is None:
        raise _incomplete("Authorization header requires existence of an 'X-Amz-Date' header such as 20260131T120000Z")
    if abs(signed_at - now) > MAXIMUM_SKEW_IN_SECONDS:
        ours = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        late = "Signature expired" if signed_at < now else "Signature not yet current"
        raise _wrong(f"{late}: {moment} is more than 5 minutes from {ours}")
    return moment


def _check_signed(signed: Sequence[str], headers: Mapping[str, str]) -> None:
    if list(signed) != sorted(set(signed)) or any(name not in headers for name in signed):
        raise _wrong("SignedHeaders must name headers of the request, in lower case and in order, each once.")
    needed = {"host", *(name for name in headers if name.startswith("x-amz-"))}
    if unsigned := sorted(needed - set(signed)):
        raise _wrong(f"'{unsigned[0]}' must be a 'SignedHeader' in the AWS Authorization.")


def _canonical_target(target: str) -> str:
    """Return the path and the query as they are signed. The path is percent-encoded once more."""
    path, _, query = target.partition("?")
    pairs = sorted((_encoded(name), _encoded(value)) for name, _, value in _pairs(query))
    encoded = quote(without_dot_segments(path), safe="/~", errors="surrogateescape")
    return f"{encoded}\n{'&'.join(f'{name}={value}' for name, value in pairs)}"


def _pairs(query: str) -> Iterable[tuple[str, str, str]]:
    return (pair.partition("=") for pair in query.split("&")) if query else ()


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text.encode(errors="surrogateescape")), safe="-._~")


def _incomplete(message: str) -> ApiError:
    return not_authenticated("IncompleteSignatureException", message)


def _wrong(message: str) -> ApiError:
    return not_authenticated("InvalidSignatureException", message)
