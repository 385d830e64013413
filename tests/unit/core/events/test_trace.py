"""Which trace header does a function receive with an event, and how often has the event passed the function?"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from poller.core.events.trace import MAXIMUM_LINEAGE, of_traceparent, passed_on, passes, usable
from poller.model.arn import Arn
from poller.model.ids import RequestId
from tests.fakes.ended_events import EVENT, FUNCTION

ROOT, PARENT = "1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
OTHER = Arn.parse("arn:aws:lambda:eu-west-1:123456789012:function:other")


def sent_on(trace: str) -> str:
    return passed_on(replace(EVENT, trace=trace), FUNCTION.arn)


OWN = sent_on("").partition("Lineage=")[2].partition(":")[0]


def test_the_function_receives_the_header_with_one_more_pass() -> None:
    start = f"Root={ROOT};Parent={PARENT};Sampled=1"
    assert sent_on(start) == f"{start};Lineage={OWN}:1"
    assert sent_on(f"{start};Lineage={OWN}:1") == f"{start};Lineage={OWN}:2"
    assert sent_on(f"{start};Lineage=c512fbe3:2|{OWN}:7") == f"{start};Lineage=c512fbe3:2|{OWN}:8"


def test_an_event_without_a_header_gets_the_same_header_for_each_attempt() -> None:
    first = sent_on("")
    assert re.fullmatch(rf"Root=1-6553f100-[0-9a-f]{{24}};Parent=[0-9a-f]{{16}};Sampled=0;Lineage={OWN}:1", first)
    assert sent_on("") == first
    other = replace(EVENT, request_id=RequestId("another"))
    assert passed_on(other, FUNCTION.arn) != first


@pytest.mark.parametrize(
    "part",
    [
        "Root=1-5759e988-BD862E3FE1BE46A994272793",
        "Root=\r\nX-Injected: 1",
        "Parent=53995c3f42cd8ad8aaaa",
        "Sampled=yes",
        "Lineage=c512fbe3",
        "Lineage=c512fbe3:100000",
        "Lineage=c512fbe3:1|x",
        "Lineage=|",
        "Self=1-5759e988-bd862e3fe1be46a994272793",
        "",
        ";;=;",
    ],
)
def test_a_malformed_or_unknown_part_of_the_header_is_left_out(part: str) -> None:
    assert sent_on(part) == sent_on("")


@pytest.mark.parametrize("header", [None, 7, "x" * 2049, "a\r\nX-Injected: 1", "é", "\x7f"])
def test_a_header_that_is_missing_too_long_or_not_printable_ascii_is_not_used(header: object) -> None:
    assert usable(header) == ""
    assert usable("x" * 2047 + "~") == "x" * 2047 + "~"


W3C = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-0"


@pytest.mark.parametrize(("flags", "sampled"), [("0", "0"), ("1", "1"), ("2", "0"), ("3", "1")])
def test_an_event_with_a_w3c_trace_only_continues_this_trace(flags: str, sampled: str) -> None:
    event = replace(EVENT, traceparent=f"{W3C}{flags}", trace=f"Lineage={OWN}:4")
    assert passed_on(event, FUNCTION.arn) == f"Root={ROOT};Parent={PARENT};Sampled={sampled};Lineage={OWN}:5"


def test_the_header_of_x_ray_takes_precedence_over_a_w3c_trace() -> None:
    for header in (f"Root={ROOT};Parent={PARENT};Sampled=0", f"Root={ROOT}"):
        event = replace(EVENT, traceparent=f"00-{'a' * 32}-{'b' * 16}-01", trace=header)
        assert passed_on(event, FUNCTION.arn) == sent_on(header)


@pytest.mark.parametrize(
    "traceparent",
    ["", "x", f"{W3C}", f"{W3C}1-x", f"01{W3C[2:]}1", f"00-{'0' * 32}-{PARENT}-01", f"{W3C[:36]}{'0' * 16}-01"],
)
def test_a_malformed_w3c_trace_is_not_used(traceparent: str) -> None:
    assert of_traceparent(traceparent) == ""


def test_a_header_may_have_spaces_any_order_and_duplicates_of_which_the_first_counts() -> None:
    expected = sent_on(f"Root={ROOT};Parent={PARENT};Sampled=1")
    assert sent_on(f" Sampled=1; Parent={PARENT} ;Root={ROOT};Sampled=0") == expected


def test_a_full_lineage_keeps_its_own_function_and_the_functions_with_most_passes() -> None:
    lineage = "|".join(f"{number:08x}:{number + 1}" for number in range(60))
    kept = sent_on(f"Lineage={lineage}").partition("Lineage=")[2].split("|")
    assert len(kept) == MAXIMUM_LINEAGE
    assert kept[-1] == f"{OWN}:1"
    assert kept[0] == "0000001d:30"


def test_each_function_has_its_own_count_of_passes() -> None:
    for count in (1, 16, 99_999):
        event = replace(EVENT, trace=f"Lineage={OWN}:{count}")
        assert passes(event, FUNCTION.arn) == count
        assert passes(event, OTHER) == 0
    assert passes(EVENT, FUNCTION.arn) == 0


def test_all_qualifiers_of_a_function_share_one_count_of_passes() -> None:
    live = replace(FUNCTION.arn, resource=f"{FUNCTION.arn.resource}:live")
    assert passed_on(EVENT, live) == passed_on(EVENT, FUNCTION.arn)
