"""Which spans do the headers of a message name?"""

from __future__ import annotations

from typing import Any

import pytest

from poller.core.producers import MAXIMUM_SPANS, ProducerSpan, span_of, spans_of

TRACE, SPAN = 0x5759E988BD862E3FE1BE46A994272793, 0x53995C3F42CD8AD8
XRAY = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
W3C = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"


@pytest.mark.parametrize(
    ("header", "is_sampled"),
    [
        (XRAY, True),
        (W3C, True),
        (XRAY.replace("Sampled=1", "Sampled=0"), False),
        (XRAY.removesuffix(";Sampled=1"), False),
        ("Parent=53995c3f42cd8ad8; Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1;Lineage=a:1", True),
        (W3C.removesuffix("01") + "00", False),
    ],
)
def test_a_header_of_either_form_names_the_same_span(header: str, is_sampled: bool) -> None:
    assert span_of(header) == ProducerSpan(TRACE, SPAN, is_sampled)


@pytest.mark.parametrize(
    "header",
    [
        "",
        None,
        7,
        "Root=1-5759e988-bd862e3fe1be46a994272793",
        "Parent=53995c3f42cd8ad8",
        XRAY.replace("53995c3f42cd8ad8", "0" * 16),
        XRAY.replace("5759e988", "5759E988"),
        XRAY.replace("Parent=", "XParent="),
        "00-" + "0" * 32 + "-53995c3f42cd8ad8-01",
        XRAY + "x" * 3_000,
    ],
)
def test_a_header_that_is_malformed_names_no_span(header: object) -> None:
    assert span_of(header) is None


def record(*, xray: str | None = None, w3c: str | None = None) -> dict[str, Any]:
    return {
        "attributes": {} if xray is None else {"AWSTraceHeader": xray},
        "messageAttributes": {} if w3c is None else {"traceparent": {"stringValue": w3c, "dataType": "String"}},
    }


def test_each_span_of_a_batch_is_named_once() -> None:
    other = W3C.replace("53995c3f42cd8ad8", "1111111111111111")
    records = [record(xray=XRAY), record(), record(w3c=W3C), record(w3c=other, xray=XRAY), {"kinesis": {}}]
    assert spans_of(records) == [ProducerSpan(TRACE, SPAN, True), ProducerSpan(TRACE, 0x1111111111111111, True)]


def test_a_binary_attribute_with_the_name_of_the_header_names_no_span() -> None:
    assert spans_of([{"messageAttributes": {"traceparent": {"binaryValue": "AAAA", "dataType": "Binary"}}}]) == []


def test_a_large_batch_names_at_most_as_many_spans_as_a_span_has_links() -> None:
    records = [record(w3c=f"00-{number:032x}-{number:016x}-01") for number in range(1, 1_000)]
    assert len(spans_of(records)) == MAXIMUM_SPANS == 128
