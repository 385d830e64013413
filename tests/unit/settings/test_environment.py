"""How is ${NAME} replaced?"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from poller.model.function import HttpService
from poller.settings.environment import NOT_A_REFERENCE, substitute
from poller.settings.values import Settings

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("${A}", "alpha"),
        ("<${A}|${B}>", "<alpha|beta>"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A {A}", "$A {A}"),
        ("${EMPTY}", ""),
        ("${NESTED}", "${A}"),
        ("${A:-other}", "alpha"),
        ("${EMPTY:-other}", "other"),
        ("${MISSING:-other}", "other"),
        ("<${MISSING:-}>", "<>"),
        ("${MISSING:-http://a:80/?b=c:-d}", "http://a:80/?b=c:-d"),
        ("${MISSING:-two\nlines}", "two\nlines"),
        ("${MISSING:-$A}", "$A"),
        ("$${MISSING:-other}", "${MISSING:-other}"),
    ],
)
def test_a_reference_is_replaced_once(written: str, text: str) -> None:
    environ = {"A": "alpha", "B": "beta", "EMPTY": "", "NESTED": "${A}"}
    assert substitute({"key": [written]}, environ) == ({"key": [text]}, [])


@pytest.mark.parametrize(
    "written", ["${}", "${a-b}", "${A", "${1}", "${:-a}", "${A:b}", "${A-b}", "${A :-b}", "${A:-b"]
)
def test_a_malformed_reference_is_a_fault(written: str) -> None:
    _, (fault,) = substitute({"a": {"b": [written]}}, {"A": ""})
    assert (fault.path, fault.rule) == (("a", "b", 0), NOT_A_REFERENCE)


def test_each_missing_variable_is_reported(faults: Faults) -> None:
    assert faults('[daemon]\nregion = "${A}-${B}"') == [
        'daemon.region = "${A}-${B}": the environment has no variable A',
        'daemon.region = "${A}-${B}": the environment has no variable B',
    ]


def test_a_variable_that_is_not_utf_8_is_a_fault() -> None:
    _, (fault,) = substitute({"a": "x ${BYTES}"}, {"BYTES": os.fsdecode(b"\xff")})
    assert (fault.path, fault.rule) == (("a",), "the environment variable BYTES is not UTF-8")


def test_a_value_from_the_environment_is_never_parsed_as_toml(loaded: Load) -> None:
    value = 'x"\nlog_format = "console"\n[mappings.m]'
    settings = loaded('[daemon]\nregion = "${REGION}"\nendpoint_url = "http://a"', REGION=value)
    assert (settings.daemon.region, settings.daemon.log_format) == (value, "json")


def test_a_number_and_a_boolean_may_come_from_the_environment(loaded: Load) -> None:
    settings = loaded(
        """
        [functions.f]
        url = "http://a"
        timeout_in_seconds = "${TIMEOUT}"
        [mappings.m]
        event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:q"
        function_name = "f"
        enabled = "${ENABLED}"
        batch_size = "${BATCH_SIZE}"
        """,
        TIMEOUT="2.5",
        ENABLED="false",
        BATCH_SIZE="7",
    )
    (mapping,) = settings.queue_mappings
    assert (mapping.is_enabled, mapping.batch_size) == (False, 7)
    assert settings.functions[mapping.function_name].timeout_in_seconds == 2.5


def test_a_text_in_the_file_is_not_a_number(mapping_faults: Callable[[str, str], list[str]]) -> None:
    assert mapping_faults("queue", 'batch_size = "7"\nenabled = "true"') == [
        'batch_size = "7": must be a whole number of records from 1 to 10000',
        'enabled = "true": must be true or false',
    ]


SECRET = "s3cret-and-wrong"


@pytest.mark.parametrize(
    "text",
    [
        '[daemon]\nendpoint_url = "${SECRET}"',
        '[daemon]\nlog_format = "${SECRET}"',
        '[daemon]\nhttp_listen = "${SECRET}"',
        '[daemon]\nstate = "${SECRET}"',
        '[functions.f]\nurl = "http://a"\ntimeout_in_seconds = "${SECRET}"',
        '[functions.f]\nhandler = "${SECRET}"',
        '[functions.f]\narn = "${SECRET}"',
        '[functions.f]\nurl = "http://a"\nheaders = { A = "${SECRET}\\n" }',
        '[functions.f]\nurl = "http://a"\nheaders = { A = "${SECRET}\\u0001" }',
        '[functions.f]\nurl = "http://u:${SECRET}@a"\nheaders = { Authorization = "${SECRET}" }',
        '[functions.f]\nurl = "http://u:${SECRET}@a..b/${SECRET}"',
        '[functions.f]\nurl = "http://a"\nheaders = { A = "${SECRET}", a = "${SECRET}" }',
        '[functions.f]\nurl = "http://a"\nheaders = { Host = "${SECRET}" }',
        '[functions.f]\ncommand = ["a", "${SECRET}\\u0000"]',
        '[functions.f]\nhandler = "a:b"\nenvironment = { A = "${SECRET}\\u0000" }',
        '[functions.f]\nhandler = "a:b"\nenvironment = { _A = "${SECRET}" }',
        '[mappings.m]\nevent_source_arn = "arn:aws:sqs:${SECRET}:1:q"',
        '[mappings.m]\nfunction_name = "${SECRET} "',
        '[daemon]\nregion = "${SECRET}"',
        '[mappings.m]\nregion = "${SECRET}"',
        '[mappings.m]\nstarting_position = "${SECRET}"',
        "[mappings.m]\nfilter_criteria.filters = [{ pattern = { body = [{ cidr = '${SECRET}' }] } }]",
        "[mappings.m]\nfilter_criteria.filters = [{ pattern = '${SECRET}' }]",
        "[mappings.m]\nfunction_response_types = ['${SECRET}']",
        "[mappings.m]\nuuid = '${SECRET}'",
        '[mappings.m]\nevent_source_arn = "https://sqs.eu-west-1.amazonaws.com/123456789012/${SECRET}"',
        '[functions.f]\ncommand = "${SECRET}"',
        """
        [functions.f]
        url = "http://a"
        [mappings.m]
        event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:${SECRET}"
        function_name = "f"
        [mappings.n]
        event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:${SECRET}"
        function_name = "f"
        """,
        """
        [functions.f]
        url = "http://a"
        [mappings.m]
        event_source_arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/${SECRET}/stream/2026"
        function_name = "f"
        starting_position = "AT_TIMESTAMP"
        """,
    ],
)
def test_no_fault_shows_a_value_from_the_environment(faults: Faults, text: str) -> None:
    assert SECRET not in "\n".join(faults(text, SECRET=SECRET))


def test_no_warning_shows_a_value_from_the_environment(loaded: Load) -> None:
    settings = loaded(
        """
        [daemon]
        endpoint_url = "http://emulator"
        [functions.insert]
        url = "http://a"
        [mappings.m]
        event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:q"
        function_name = "${NAME}"
        region = "${REGION}"
        """,
        NAME="inserts",
        REGION="mars-1",
    )
    warnings = "\n".join(settings.warnings)
    assert "${NAME}" in warnings
    assert "${REGION}" in warnings
    assert "inserts" not in warnings
    assert "mars-1" not in warnings


def test_references_in_keys_are_not_replaced(loaded: Load) -> None:
    settings = loaded('[functions.f]\nurl = "http://a"\nheaders = { "$A" = "${A}" }', A="x")
    (function,) = settings.functions.values()
    assert isinstance(function.kind, HttpService)
    assert function.kind.headers == {"$A": "x"}


def test_a_variable_that_the_daemon_or_a_function_refers_to_is_withheld_from_child_processes(loaded: Load) -> None:
    text = """
        [daemon]
        region = "${REGION}"
        endpoints = { sqs = "http://${HOST:-localhost}:${PORT:-1}" }
        state = "sqlite://${HOME}/poller.db"
        [functions.a]
        url = "http://user:${PASSWORD}@a/"
        headers = { X = "Bearer ${TOKEN} and $${NOT_ONE}" }
        timeout_in_seconds = "${TIMEOUT}"
        [functions.b]
        command = ["${PATH}/x", "${ARGUMENT}"]
        environment = { KEY = "${KEY}", ID = "${AWS_ACCESS_KEY_ID}" }
        [mappings.m]
        event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:${STAGE}-queue"
        function_name = "b"
    """
    names = ("REGION", "PASSWORD", "TOKEN", "ARGUMENT", "KEY", "HOME", "PATH", "AWS_ACCESS_KEY_ID", "STAGE", "OTHER")
    settings = loaded(text, TIMEOUT="1", **dict.fromkeys(names, "x"))
    withheld = {"REGION", "HOST", "PORT", "PASSWORD", "TOKEN", "TIMEOUT", "ARGUMENT", "KEY"}
    assert settings.withheld_variables == withheld
