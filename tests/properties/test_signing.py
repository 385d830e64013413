"""Is our signature the same as botocore's, byte for byte, for any request to AWS?"""

from __future__ import annotations

import datetime
import itertools
import string
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import example, given
from hypothesis import strategies as st

from poller.aws.signing import Credentials, Signer, resource

VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)
NAMES = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=16).map(
    lambda name: f"x-amz-{name}z"
)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\té"), max_size=40)
SEGMENTS = st.text(max_size=12).map(lambda text: quote(text, safe="-._~")) | st.sampled_from(
    ["", ".", "..", "a~b", "%2F"]
)
PAIRS = st.tuples(VISIBLE | st.text(max_size=6), st.text(max_size=10))
HOSTS = st.sampled_from(
    [
        "https://sqs.eu-west-1.amazonaws.com",
        "http://127.0.0.1:4566",
        "http://Localhost:80",
        "https://localhost:443",
        "http://localhost:443",
        "http://[::1]:4566",
    ]
)
ARN_PATH = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Abill/invocations"


@st.composite
def urls(draw: st.DrawFn) -> str:
    path = "/".join(["", *draw(st.lists(SEGMENTS, max_size=5))])
    pairs = draw(st.lists(PAIRS, max_size=4))
    query = "&".join(f"{quote(name, safe='-._~')}={quote(value, safe='-._~')}" for name, value in pairs)
    return draw(HOSTS) + path + ("?" + query if query else "")


@example(
    url=f"https://lambda.eu-west-1.amazonaws.com{ARN_PATH}?Qualifier=live",
    headers={"content-type": "application/json", "x-amz-log-type": "Tail", "x-amzn-trace-id": "Root=1-5759e988"},
    body=b"{}",
    keys=Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None),
    service="lambda",
    region="eu-west-1",
    moment=datetime.datetime(2026, 2, 28, 23, 59, 59),
)
@given(
    url=urls(),
    headers=st.dictionaries(NAMES | st.just("x-amzn-trace-id"), VALUES, max_size=5),
    body=st.binary(max_size=200),
    keys=st.builds(Credentials, VISIBLE, VISIBLE | st.text(min_size=1), st.none() | VISIBLE),
    service=st.sampled_from(["sqs", "lambda", "kinesis", "dynamodb"]),
    region=st.sampled_from(["us-east-1", "eu-west-1", "cn-north-1"]),
    moment=st.datetimes(min_value=datetime.datetime(2000, 1, 1), max_value=datetime.datetime(2099, 12, 31)),
)
def test_our_signature_equals_botocores(
    url: str,
    headers: dict[str, str],
    body: bytes,
    keys: Credentials,
    service: str,
    region: str,
    moment: datetime.datetime,
) -> None:
    now = moment.replace(tzinfo=datetime.UTC).timestamp()
    ours = Signer(service=service, region=region).sign(resource("POST", url), headers, body, credentials=keys, now=now)

    theirs = AWSRequest(method="POST", url=url, headers=headers, data=body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: moment)
        credentials = BotocoreCredentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
        botocore.auth.SigV4Auth(credentials, service, region).add_auth(theirs)

    expected = {name.lower(): value for name, value in theirs.headers.items()}
    assert {name: value for name, value in ours.items() if name != "host"} == expected


def test_a_signing_key_is_not_kept_beyond_its_day_or_its_secret() -> None:
    where = resource("POST", "http://localhost/")
    signer = Signer(service="sqs", region="eu-west-1")
    for now, secret in [(0.0, "one"), (86_399.0, "one"), (86_400.0, "one"), (86_400.0, "two")]:
        keys = Credentials("id", secret, None)
        fresh = Signer(service="sqs", region="eu-west-1").sign(where, {}, b"", credentials=keys, now=now)
        assert signer.sign(where, {}, b"", credentials=keys, now=now) == fresh


def test_a_used_signer_signs_like_a_new_one() -> None:
    """A signer keeps values for one second, one resource, one identity and the same header names."""
    signer = Signer(service="sqs", region="eu-west-1")
    for now, token, path, headers in itertools.product(
        (0.0, 0.5, 1.0),
        (None, "one", "two"),
        ("", "100%25s?a=%25"),
        ({}, {"x-amz-a": "%s"}, {"x-amz-b": "1", "x-amz-a": "2"}, {"x-amz-b": "2", "x-amz-a": "1"}),
    ):
        where, keys = resource("POST", f"http://localhost/{path}"), Credentials("id", "secret", token)
        fresh = Signer(service="sqs", region="eu-west-1").sign(where, headers, b"", credentials=keys, now=now)
        assert signer.sign(where, headers, b"", credentials=keys, now=now) == fresh
