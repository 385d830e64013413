"""Does every request get an answer in the form of AWS? The requests are calls of AWS's own API, and others."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

import anyio
import botocore.session
import orjson
import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from poller.facts import ApiRequestFailed
from tests.fakes.api import FakeFunctions
from tests.fakes.functions import ARN

MODEL = botocore.session.Session().get_service_model("lambda")
CALLS = [
    (call["method"], call["requestUri"]) for call in (MODEL.operation_model(n).http for n in MODEL.operation_names)
]
"""The method and the path of each call of AWS Lambda's API, for example `/2015-03-31/functions/{FunctionName}`."""

READS = [(method, path) for method, path in CALLS if method == "GET"]
INVOKES = [(method, path) for method, path in CALLS if path.endswith(("/invocations", "-async", "-invocations"))]

TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)
NAME = st.sampled_from(["insert_records", "insert_records:$LATEST", "gone", str(ARN), f"{ARN}:live"]) | TEXT
PART = (
    st.just("insert_records")
    | NAME.map(lambda name: quote(name, safe=""))
    | st.sampled_from(["%ff", "%", "%2", "..", ""])
)


class Sent(NamedTuple):
    """A request. `call` is its method and its path."""

    call: tuple[str, str]
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


def filled(path: str) -> st.SearchStrategy[str]:
    """Return a strategy that fills in the names of a path."""
    pieces = re.split(r"\{\w+\}", path)
    names = st.lists(PART, min_size=len(pieces) - 1, max_size=len(pieces) - 1)
    return names.map(lambda parts: "".join(f"{piece}{part}" for piece, part in zip(pieces, [*parts, ""], strict=True)))


def paths(calls: list[tuple[str, str]]) -> st.SearchStrategy[tuple[str, str]]:
    return st.sampled_from(calls).flatmap(lambda call: st.tuples(st.just(call[0]), filled(call[1])))


METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
OTHERS = st.tuples(METHODS, st.lists(PART | st.sampled_from(["2015-03-31", "functions"]), max_size=6).map("/".join))
REQUESTS = st.builds(
    Sent,
    paths(CALLS) | paths(READS) | paths(INVOKES) | OTHERS.map(lambda other: (other[0], f"/{other[1]}")),
    st.dictionaries(st.sampled_from(["Qualifier", "Marker", "MaxItems", "x"]), NAME, max_size=3),
    st.fixed_dictionaries(
        {},
        optional={
            "X-Amz-Invocation-Type": TEXT | st.sampled_from(["Event", "DryRun", "RequestResponse"]),
            "X-Amz-Log-Type": TEXT | st.just("Tail"),
            "X-Amz-Client-Context": TEXT | st.sampled_from(["e30=", "W10=", "é"]),
            "X-Amzn-Trace-Id": TEXT,
            "Expect": TEXT | st.just("100-continue"),
        },
    ),
    st.binary(max_size=30) | st.sampled_from([b"{}", b"[" * 2000]),
)


@pytest.mark.slow
@given(st.lists(REQUESTS, min_size=8, max_size=16))
def test_every_request_gets_an_answer_in_the_form_of_aws(requests: list[Sent]) -> None:
    functions = FakeFunctions()

    async def ask_all() -> None:
        async with functions.served() as url, ClientSession() as client:
            for sent in requests:
                method, path = sent.call
                target = URL(f"{url}{path}", encoded=True).update_query(sent.query)
                async with client.request(method, target, headers=sent.headers, data=sent.body) as answer:
                    content = await answer.read()
                    assert answer.status != 500
                    assert answer.headers["X-Amzn-RequestId"]
                    if answer.status >= 400:
                        assert answer.headers["X-Amzn-ErrorType"]
                        assert orjson.loads(content).keys() & {"message", "Message"}

    anyio.run(ask_all)
    assert functions.emit.of(ApiRequestFailed) == []
