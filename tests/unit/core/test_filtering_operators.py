"""Which values does each operator accept and reject, and which forms of it are malformed?"""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

import pytest

from poller.core.filtering import InvalidPattern, compile_filters


class Missing(Enum):
    """A field that the record does not have.

    It is a member of an enumeration, so that the test has the same name in every process.
    """

    MISSING = "missing"


MISSING = Missing.MISSING

# The alternatives of a leaf, the field's values that match, and those that do not.
ACCEPTED: list[tuple[str, list[Any], list[Any]]] = [
    ('["Alice"]', ["Alice"], ["alice", "Alice ", "", 1, None, True, MISSING, {"S": "Alice"}]),
    ('["Alice", "Bob", 5]', ["Alice", "Bob", 5], ["Carol", "5"]),
    ('[""]', [""], [" ", None, False, 0, [], {}, MISSING]),
    ('["caf\\u00e9"]', ["café"], ["cafe\u0301"]),
    ("[100]", [100, 100.0], ["100", 101, True, None, MISSING]),
    ("[3.0e2]", [300, 300.0], ["300", "3.0e2"]),
    ("[1]", [1], [True, "1"]),
    ("[true]", [True], [1, "true", False]),
    ("[false]", [False], [0, "", None, MISSING]),
    ("[null]", [None], ["", "null", 0, False, MISSING]),
    ("[123456789012345678901234567890]", [123456789012345678901234567890], [123456789012345678901234567891]),
    ("[9007199254740993]", [9007199254740993], [9007199254740992, 9007199254740992.0]),
    ("[-18446744073709551617]", [-18446744073709551617], [-18446744073709551616]),
    ('[{"exactly": "a"}]', ["a"], ["ab"]),
    ('[{"prefix": "us-"}]', ["us-", "us-east-1"], ["US-east-1", "eu-us-", 1, None, MISSING]),
    ('[{"prefix": ""}]', ["", "x"], [1, None, MISSING]),
    ('[{"prefix": {"equals-ignore-case": "US-"}}]', ["us-east", "Us-"], ["u", "eu-us-"]),
    ('[{"prefix": {"equals-ignore-case": "\\u039f\\u03a3"}}]', ["ΟΣ", "οσα", "ος"], ["ο"]),
    ('[{"suffix": ".png"}]', [".png", "a.png"], ["a.PNG", "a.png2", 1]),
    ('[{"suffix": {"equals-ignore-case": ".PNG"}}]', ["a.png", "a.PnG"], ["a.pn"]),
    ('[{"equals-ignore-case": "aLiCe"}]', ["alice", "ALICE"], ["alices", 1, None, MISSING]),
    ('[{"equals-ignore-case": "\\u039f\\u0394\\u039f\\u03a3"}]', ["οδος", "οδοσ"], ["οδο"]),
    ('[{"wildcard": "a*b"}]', ["ab", "axb", "a**b", "aab"], ["a", "b", "abc", "xab", 1, None]),
    ('[{"wildcard": "*"}]', ["", "x"], [1, None, MISSING]),
    ('[{"wildcard": "ab"}]', ["ab"], ["a", "aab"]),
    ('[{"wildcard": "*a*b*"}]', ["ab", "xaxbx", "aab"], ["ba", "b", "a"]),
    ('[{"wildcard": "*aa*aa*"}]', ["aaaa", "aa-aa"], ["aaa"]),
    ('[{"wildcard": "aba*aba"}]', ["abaaba", "aba-aba"], ["aba", "ababa"]),
    ('[{"wildcard": "a*bc*bcd"}]', ["abcbcd", "a-bc-bcd"], ["abcd"]),
    ('[{"wildcard": "a\\\\*b\\\\\\\\*"}]', ["a*b\\", "a*b\\x"], ["axb\\", "a*b"]),
    ('[{"numeric": ["=", 5]}]', [5, 5.0], ["5", 6, True, None, MISSING]),
    ('[{"numeric": [">", 5]}]', [6, 5.1], [5, 4, "6", True]),
    ('[{"numeric": [">=", 5]}]', [5, 6], [4.9]),
    ('[{"numeric": ["<", 5]}]', [4, -1e300], [5, None, MISSING]),
    ('[{"numeric": ["<=", 5]}]', [5, 4.9], [5.1]),
    ('[{"numeric": [">", 0, "<=", 5]}]', [5, 0.1], [0, 5.1]),
    ('[{"numeric": [">=", -1.5, "<", 1e3]}]', [-1.5, 999], [1000, -1.6]),
    ('[{"exists": true}]', ["", None, False, 0, [None]], [MISSING, {}, [], {"a": 1}, [{}]]),
    ('[{"exists": false}]', [MISSING, {}, [], {"a": 1}, [[]]], ["", None, False, 0, [None]]),
    ('["x", {"exists": false}]', ["x", MISSING, {}], ["y", None]),
    ('[{"exists": false}, {"prefix": "x"}]', ["x", MISSING], ["y", None]),
    ('[{"anything-but": "a"}]', ["b", "", "A", 1, True, None], ["a", MISSING, {}, []]),
    ('[{"anything-but": ["a", "b"]}]', ["c", 1], ["a", "b"]),
    ('[{"anything-but": 5}]', [6, "5", None, True], [5, 5.0, MISSING]),
    ('[{"anything-but": [1, 2.5]}]', [2, "1", True], [1, 1.0, 2.5]),
    ('[{"anything-but": {"prefix": "a"}}]', ["ba", 1, None], ["a", "ab", MISSING]),
    ('[{"anything-but": {"prefix": ["a", "b"]}}]', ["c"], ["a1", "b1"]),
    ('[{"anything-but": {"suffix": "a"}}]', ["ab"], ["a", "ba"]),
    ('[{"anything-but": {"suffix": ["a", "b"]}}]', ["c"], ["1a", "1b"]),
    ('[{"anything-but": {"equals-ignore-case": "A"}}]', ["b", "aa"], ["a", "A"]),
    ('[{"anything-but": {"equals-ignore-case": ["A", "b"]}}]', ["c"], ["a", "B"]),
    ('[{"anything-but": {"wildcard": "a*b"}}]', ["a", "ba"], ["ab", "acb"]),
    ('[{"anything-but": {"wildcard": ["a*", "*b"]}}]', ["ca"], ["a1", "1b"]),
    ('[{"cidr": "10.0.0.0/24"}]', ["10.0.0.0", "10.0.0.255"], ["10.0.1.0", "10.0.0", "::1", "x", 167772160, None]),
    ('[{"cidr": "10.0.0.7/24"}]', ["10.0.0.0"], ["10.0.1.7"]),
    ('[{"cidr": "2001:db8::/32"}]', ["2001:db8::1", "2001:0DB8:0:0:0:0:0:1"], ["2001:db9::", "10.0.0.1"]),
]

REFUSED = [
    "[]",
    "[[1]]",
    "[{}]",
    "[1e999]",
    "[NaN]",
    '[{"unknown": 1}]',
    '[{"prefix": "a", "suffix": "b"}]',
    '[{"prefix": "a", "prefix": "b"}]',
    '[{"exactly": 1}]',
    '[{"prefix": 1}]',
    '[{"prefix": ["a"]}]',
    '[{"prefix": {"suffix": "a"}}]',
    '[{"prefix": {"equals-ignore-case": 1}}]',
    '[{"prefix": {"equals-ignore-case": "a", "x": 1}}]',
    '[{"suffix": null}]',
    '[{"suffix": {"wildcard": "a"}}]',
    '[{"equals-ignore-case": 1}]',
    '[{"equals-ignore-case": ["a"]}]',
    '[{"wildcard": 1}]',
    '[{"wildcard": "a**b"}]',
    '[{"wildcard": "a\\\\b"}]',
    '[{"wildcard": "a\\\\"}]',
    '[{"numeric": 5}]',
    '[{"numeric": []}]',
    '[{"numeric": [">"]}]',
    '[{"numeric": [">", "5"]}]',
    '[{"numeric": [">", true]}]',
    '[{"numeric": [">", 1e999]}]',
    '[{"numeric": ["!=", 5]}]',
    '[{"numeric": [["="], 5]}]',
    '[{"numeric": ["<", 10, ">", 0]}]',
    '[{"numeric": [">", 0, ">", 1]}]',
    '[{"numeric": ["=", 0, "<", 1]}]',
    '[{"numeric": [">", 5, "<", 5]}]',
    '[{"numeric": [">", 0, "<", 5, "<", 6]}]',
    '[{"exists": "true"}]',
    '[{"exists": 1}]',
    '[{"exists": null}]',
    '[{"anything-but": []}]',
    '[{"anything-but": null}]',
    '[{"anything-but": true}]',
    '[{"anything-but": [true]}]',
    '[{"anything-but": ["a", 1]}]',
    '[{"anything-but": [{"prefix": "a"}]}]',
    '[{"anything-but": {"numeric": [">", 1]}}]',
    '[{"anything-but": {"prefix": ""}}]',
    '[{"anything-but": {"suffix": ["a", ""]}}]',
    '[{"anything-but": {"prefix": []}}]',
    '[{"anything-but": {"prefix": 1}}]',
    '[{"anything-but": {"prefix": {"equals-ignore-case": "a"}}}]',
    '[{"anything-but": {"prefix": "a", "suffix": "b"}}]',
    '[{"cidr": 1}]',
    '[{"cidr": "10.0.0.0"}]',
    '[{"cidr": "10.0.0.0/33"}]',
    '[{"cidr": "10.0.0.0/255.255.255.0"}]',
    '[{"cidr": "ten/24"}]',
]


def body_with(value: object) -> dict[str, Any]:
    return {"body": json.dumps({"other": 1} if value is MISSING else {"other": 1, "field": value})}


@pytest.mark.parametrize(
    ("leaf", "value"), [(leaf, value) for leaf, accepted, _ in ACCEPTED for value in accepted], ids=str
)
def test_an_operator_accepts_a_value(leaf: str, value: object) -> None:
    assert compile_filters([f'{{"body": {{"field": {leaf}}}}}'], data_key="body").matches(body_with(value))


@pytest.mark.parametrize(
    ("leaf", "value"), [(leaf, value) for leaf, _, refused in ACCEPTED for value in refused], ids=str
)
def test_an_operator_rejects_a_value(leaf: str, value: object) -> None:
    assert not compile_filters([f'{{"body": {{"field": {leaf}}}}}'], data_key="body").matches(body_with(value))


@pytest.mark.parametrize("leaf", REFUSED)
def test_a_malformed_operator_is_refused(leaf: str) -> None:
    with pytest.raises(InvalidPattern, match=r"^Invalid filter pattern definition\. .+"):
        compile_filters([f'{{"body": {{"field": {leaf}}}}}'], data_key="body")


def test_a_wildcard_with_many_stars_does_not_try_every_way() -> None:
    pattern = {"body": {"field": [{"wildcard": "*a" * 50 + "*b"}]}}
    assert not compile_filters([json.dumps(pattern)], data_key="body").matches(body_with("a" * 100_000))
