"""Is every request accepted that botocore signs, and every request refused that was changed afterwards?"""

from __future__ import annotations

import datetime
import hashlib
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from poller.lambda_api.errors import ApiError
from poller.lambda_api.signatures import MAXIMUM_SKEW_IN_SECONDS, Head, signature_of

VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
HEADERS = st.dictionaries(
    st.sampled_from(["x-amz-log-type", "x-amz-client-context", "content-type", "x-amzn-trace-id", "traceparent"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
)
SEGMENTS = st.text(min_size=1, max_size=8).map(lambda text: quote(text, safe="-._~"))
MOMENTS = st.datetimes(min_value=datetime.datetime(2000, 1, 1), max_value=datetime.datetime(2099, 12, 31))
REGION = "eu-west-1"


class Signed:
    """A request that botocore has signed."""

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        body: bytes,
        moment: datetime.datetime,
        *,
        key: str,
        secret: str,
        service: str = "lambda",
        region: str = REGION,
        token: str | None = None,
        signer: type[botocore.auth.SigV4Auth] = botocore.auth.SigV4Auth,
    ) -> None:
        request = AWSRequest(method="POST", url=url, headers=headers, data=body)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(botocore.auth, "get_current_datetime", lambda: moment)
            signer(Credentials(key, secret, token), service, region).add_auth(request)
        parts = urlsplit(url)
        self.target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self.headers = [("host", parts.netloc), *((name.lower(), value) for name, value in request.headers.items())]
        self.body = body
        self.now = moment.replace(tzinfo=datetime.UTC).timestamp()
        self.keys = {key: secret}

    def check(self, *, region: str | None = REGION, method: str = "POST", later: float = 0.0) -> None:
        head = Head(method, self.target, self.headers)
        signature_of(head, keys=self.keys, region=region, now=self.now + later).check(self.body)

    def with_header(self, name: str, change: str | None) -> None:
        self.headers = [(one, value) for one, value in self.headers if one != name]
        if change is not None:
            self.headers.append((name, change))

    def header(self, name: str) -> str:
        return str(dict(self.headers)[name])

    def code(self, **how: object) -> str:
        with pytest.raises(ApiError) as caught:
            self.check(**how)  # type: ignore[arg-type]
        assert caught.value.status == 403
        return caught.value.code


@example(
    segments=[".."],
    query={},
    headers={},
    body=b"",
    moment=datetime.datetime(2026, 1, 31),
    key="k",
    secret="s",
    later=0,
    region=None,
)
@given(
    segments=st.lists(SEGMENTS, min_size=1, max_size=4),
    query=st.dictionaries(VISIBLE, st.text(max_size=8), max_size=3),
    headers=HEADERS,
    body=st.binary(max_size=100),
    moment=MOMENTS,
    key=VISIBLE.filter(lambda text: not set(text) & set("/, =")),
    secret=VISIBLE,
    later=st.integers(-MAXIMUM_SKEW_IN_SECONDS + 1, MAXIMUM_SKEW_IN_SECONDS - 1),
    region=st.sampled_from([None, REGION]),
)
def test_a_request_that_botocore_has_signed_is_accepted_and_any_change_of_it_is_refused(
    segments: list[str],
    query: dict[str, str],
    headers: dict[str, str],
    body: bytes,
    moment: datetime.datetime,
    key: str,
    secret: str,
    later: int,
    region: str | None,
) -> None:
    pairs = "&".join(f"{quote(name, safe='-._~')}={quote(value, safe='-._~')}" for name, value in query.items())
    url = "http://127.0.0.1:9465/" + "/".join(segments) + (f"?{pairs}" if pairs else "")

    def signed() -> Signed:
        return Signed(url, headers, body, moment.replace(microsecond=0), key=key, secret=secret)

    signed().check(region=region, later=later)

    changed = signed()
    changed.body += b"x"
    assert changed.code() == "InvalidSignatureException"
    changed = signed()
    path, mark, rest = changed.target.partition("?")
    changed.target = f"{path}more{mark}{rest}"  # at the end, because a segment `..` would remove it elsewhere
    assert changed.code() == "InvalidSignatureException"
    changed = signed()
    changed.target += "&more=1" if "?" in changed.target else "?more=1"
    assert changed.code() == "InvalidSignatureException"
    assert signed().code(method="GET") == "InvalidSignatureException"
    changed = signed()
    changed.keys = {key: f"{secret}x"}
    assert changed.code() == "InvalidSignatureException"
    changed = signed()
    changed.with_header("host", "evil.example")
    assert changed.code() == "InvalidSignatureException"
    for name in headers.keys() - {"x-amzn-trace-id"}:
        changed = signed()
        changed.with_header(name, f"{changed.header(name)}x")
        assert changed.code() == "InvalidSignatureException"


MOMENT = datetime.datetime(2026, 1, 31, 12, 0, 0)
URL = "http://127.0.0.1:9465/2015-03-31/functions/f/invocations"


def signed(**how: Any) -> Signed:
    return Signed(URL, {"x-amz-log-type": "Tail"}, b"{}", MOMENT, **({"key": "AKID", "secret": "s"} | how))


@pytest.mark.parametrize(("sign", "message"), [(1, "Signature expired: "), (-1, "Signature not yet current: ")])
def test_a_signature_that_is_older_or_newer_than_five_minutes_is_refused(sign: int, message: str) -> None:
    signed().check(later=sign * 300)
    with pytest.raises(ApiError, match=message) as caught:
        signed().check(later=sign * 301)
    assert caught.value.code == "InvalidSignatureException"


def test_spaces_within_a_header_are_signed_as_one_space() -> None:
    Signed(URL, {"x-amz-log-type": " a  b   c "}, b"{}", MOMENT, key="AKID", secret="s").check()


def test_a_header_that_is_sent_twice_is_signed_with_both_values() -> None:
    twice = Signed(URL, {"x-amz-log-type": "a,b"}, b"{}", MOMENT, key="AKID", secret="s")
    twice.with_header("x-amz-log-type", "a")
    twice.headers.append(("x-amz-log-type", "b"))
    twice.check()
    twice.headers.append(("x-amz-log-type", "c"))
    assert twice.code() == "InvalidSignatureException"


class SignsNoHost(botocore.auth.SigV4Auth):  # type: ignore[misc]
    """Leaves the host out of the signed headers."""

    def headers_to_sign(self, request: Any) -> Any:
        headers = super().headers_to_sign(request)
        del headers["host"]
        return headers


class SignsWithTheKeyOfYesterday(botocore.auth.SigV4Auth):  # type: ignore[misc]
    """Signs for the scope of the day before X-Amz-Date."""

    def scope(self, request: Any) -> Any:
        return super().scope(YESTERDAY)

    def credential_scope(self, request: Any) -> Any:
        return super().credential_scope(YESTERDAY)

    def signature(self, string_to_sign: Any, request: Any) -> Any:
        return super().signature(string_to_sign, YESTERDAY)


class SignsAnotherHash(botocore.auth.SigV4Auth):  # type: ignore[misc]
    """Signs the hash of the body, which differs from the header X-Amz-Content-SHA256."""

    def canonical_request(self, request: Any) -> str:
        head, _, _ = str(super().canonical_request(request)).rpartition("\n")
        return f"{head}\n{hashlib.sha256(request.body).hexdigest()}"


class SignsInAnotherOrder(botocore.auth.SigV4Auth):  # type: ignore[misc]
    """Names and signs the headers in the opposite of AWS's order."""

    def canonical_headers(self, headers_to_sign: Any) -> str:
        return "\n".join(reversed(super().canonical_headers(headers_to_sign).split("\n")))

    def signed_headers(self, headers_to_sign: Any) -> str:
        return ";".join(reversed(super().signed_headers(headers_to_sign).split(";")))


YESTERDAY = SimpleNamespace(context={"timestamp": "20260130T120000Z"})


@pytest.mark.parametrize("signer", [SignsNoHost, SignsWithTheKeyOfYesterday])
def test_a_sound_signature_that_covers_too_little_is_refused(signer: type[botocore.auth.SigV4Auth]) -> None:
    assert signed(signer=signer).code() == "InvalidSignatureException"


def test_signed_headers_in_another_order_are_refused() -> None:
    assert signed(signer=SignsInAnotherOrder).code() == "InvalidSignatureException"


def test_a_signed_header_that_is_missing_is_refused() -> None:
    changed = signed()
    changed.with_header("x-amz-log-type", None)
    assert changed.code() == "InvalidSignatureException"


def test_another_service_and_another_region_are_refused() -> None:
    assert signed(service="sqs").code() == "InvalidSignatureException"
    assert signed(region="us-east-1").code() == "InvalidSignatureException"
    signed(region="us-east-1").check(region=None)


def test_an_unknown_key_and_a_session_token_are_unknown() -> None:
    unknown = signed()
    unknown.keys = {"OTHER": "s"}
    assert unknown.code() == "UnrecognizedClientException"
    assert signed(token="t").code() == "UnrecognizedClientException"


def test_a_request_without_a_signature_is_told_so() -> None:
    unsigned = signed()
    unsigned.with_header("authorization", None)
    assert unsigned.code() == "MissingAuthenticationTokenException"


@pytest.mark.parametrize("name", ["x-amz-new", "x-amz-security"])
def test_an_amz_header_that_was_not_signed_is_refused(name: str) -> None:
    changed = signed()
    changed.with_header(name, "1")
    assert changed.code() == "InvalidSignatureException"


def test_the_host_must_be_signed() -> None:
    changed = signed()
    changed.with_header("authorization", changed.header("authorization").replace("host;", ""))
    assert changed.code() == "InvalidSignatureException"


@pytest.mark.parametrize("signer", [botocore.auth.SigV4Auth, SignsAnotherHash])
def test_a_hash_of_another_body_is_refused(signer: type[botocore.auth.SigV4Auth]) -> None:
    headers = {"x-amz-content-sha256": "0" * 64}
    claimed = Signed(URL, headers, b"{}", MOMENT, key="AKID", secret="s", signer=signer)
    assert claimed.code() == "InvalidSignatureException"
    headers = {"x-amz-content-sha256": hashlib.sha256(b"{}").hexdigest()}
    Signed(URL, headers, b"{}", MOMENT, key="AKID", secret="s", signer=signer).check()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
        ("Credential=", "Credent="),
        ("SignedHeaders=", "Signed="),
        ("Signature=", "Signature=0"),
        ("/aws4_request", ""),
        ("Credential=AKID", "Credential=\udcff"),
    ],
)
def test_a_header_that_is_misshapen_is_incomplete(old: str, new: str) -> None:
    changed = signed()
    changed.with_header("authorization", changed.header("authorization").replace(old, new))
    assert changed.code() == "IncompleteSignatureException"


@pytest.mark.parametrize(
    "date", [None, "", "20260231T120000Z", "2026-01-31T12:00:00Z", "Sat, 31 Jan 2026 12:00:00 GMT"]
)
def test_a_request_without_a_plain_date_is_incomplete(date: str | None) -> None:
    changed = signed()
    changed.with_header("x-amz-date", date)
    assert changed.code() == "IncompleteSignatureException"


@pytest.mark.parametrize(("old", "new"), [("/20260131/", "/20260130/"), ("aws4_request", "aws5_request")])
def test_the_scope_must_be_of_the_day_and_of_aws4(old: str, new: str) -> None:
    changed = signed()
    changed.with_header("authorization", changed.header("authorization").replace(old, new))
    assert changed.code() == "InvalidSignatureException"


@given(text=st.text(st.characters(codec="ascii"), max_size=60))
def test_any_header_gets_an_error_and_no_crash(text: str) -> None:
    changed = signed()
    changed.with_header("authorization", f"AWS4-HMAC-SHA256 {text}")
    changed.code()
