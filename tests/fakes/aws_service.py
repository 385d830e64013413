"""What does AWS check in every request? The signature (with botocore's own signer), the keys and the time.

service = AwsService(reply)         `reply` returns the answer to a request that passed the checks
service.knows(keys, …)              sets the valid keys
service.expired                     the session tokens that have expired
service.clock_offset_in_seconds     how far its clock is ahead of ours
async with http_server(service) as server: ...
"""

from __future__ import annotations

import re
import time
from calendar import timegm
from collections.abc import Awaitable, Callable
from email.utils import formatdate

import orjson
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from poller.aws.signing import Credentials
from tests.fakes.http_server import Drop, Reply, Request

TOLERANCE_IN_SECONDS = 300
CREDENTIAL = re.compile(
    r"Credential=([^/]+)/(\d+)/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), Signature=(\w+)"
)


class AwsService:
    """`accepted` has the requests that passed the checks."""

    def __init__(self, reply: Callable[[Request], Awaitable[Reply | Drop]]) -> None:
        self._reply = reply
        self._keys: dict[str, Credentials] = {}
        self.expired: set[str] = set()
        self.clock_offset_in_seconds = 0.0
        self.accepted: list[Request] = []

    def knows(self, *keys: Credentials) -> None:
        self._keys |= {each.access_key_id: each for each in keys}

    async def __call__(self, request: Request) -> Reply | Drop:
        answer: Reply | Drop | None = self._error_reply(request)
        if answer is None:
            self.accepted.append(request)
            answer = await self._reply(request)
        if isinstance(answer, Drop):
            return answer
        date = formatdate(time.time() + self.clock_offset_in_seconds, usegmt=True)
        return Reply(status=answer.status, headers={"Date": date, **answer.headers}, body=answer.body)

    def _error_reply(self, request: Request) -> Reply | None:
        match = CREDENTIAL.search(request.headers.get("authorization", ""))
        if match is None:
            return error(403, "MissingAuthenticationTokenException", "no signature")
        keys = self._keys.get(match[1])
        if keys is None:
            return error(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
        if request.headers.get("x-amz-security-token") in self.expired:
            return error(403, "ExpiredTokenException", "The security token included in the request is expired")
        signed_at = timegm(time.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ"))
        if abs(time.time() + self.clock_offset_in_seconds - signed_at) > TOLERANCE_IN_SECONDS:
            return error(403, "InvalidSignatureException", "Signature expired: it is not that time any more")
        if expected_authorization(request, keys, service=match[4], region=match[3]) != request.headers["authorization"]:
            return error(403, "InvalidSignatureException", "The request signature we calculated does not match")
        return None


def expected_authorization(request: Request, keys: Credentials, *, service: str, region: str) -> str:
    """Return the authorization that botocore would send, for the headers that the request lists as signed."""
    names = request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    as_boto = AWSRequest(
        method=request.method,
        url=f"http://{request.headers['host']}{request.target}",
        headers={name: request.headers[name] for name in names},
        data=request.body,
    )
    as_boto.context["timestamp"] = request.headers["x-amz-date"]
    signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(
        BotocoreCredentials(keys.access_key_id, keys.secret_access_key, keys.session_token), service, region
    )
    signature = signer.signature(signer.string_to_sign(as_boto, signer.canonical_request(as_boto)), as_boto)
    return (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(as_boto)}, "
        f"SignedHeaders={signer.signed_headers(signer.headers_to_sign(as_boto))}, Signature={signature}"
    )


def error(status: int, code: str, message: str = "") -> Reply:
    """Return an error as the JSON protocols write it."""
    return Reply(status=status, body=orjson.dumps({"__type": f"com.amazonaws.some#{code}", "message": message}))
