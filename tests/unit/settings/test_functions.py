"""Which options may [functions.*] have, and what are their defaults?"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import poller
from poller.model.arn import Arn
from poller.model.function import ChildProcess, Function, HttpService, LambdaApi
from poller.settings.values import Settings

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]
NO_URLS = (
    "http://ho\\st/",
    "http://a..b/",
    "http://.a/",
    f"http://{'a' * 64}/",
    "http://a:99999",
    "http://a:+1",
    "http://a:0",
    "ftp://a",
)
EMULATOR = "http://audit:8080/2015-03-31/functions/function/invocations"


@pytest.fixture
def function(loaded: Load) -> Callable[[str], Function]:
    def function_of(options: str) -> Function:
        (only,) = loaded(f"[functions.f]\n{options}").functions.values()
        return only

    return function_of


def test_a_handler_runs_our_bootstrap_in_the_folder_of_the_file(
    function: Callable[[str], Function], tmp_path: Path
) -> None:
    bootstrap = Path(poller.__file__).parent / "targets" / "runtime" / "bootstrap.py"
    assert function(
        'handler = "signup.functions:Users.insert"\nenvironment = { TABLE = "users" }'
    ).kind == ChildProcess(
        command=(sys.executable, str(bootstrap)),
        handler="signup.functions:Users.insert",
        environment={"TABLE": "users"},
        directory=str(tmp_path),
    )
    assert bootstrap.is_file()


def test_a_handler_may_have_its_own_interpreter(function: Callable[[str], Function]) -> None:
    kind = function('handler = "a:b"\npython = "/opt/venv/bin/python"').kind
    assert isinstance(kind, ChildProcess)
    assert (kind.command[0], Path(kind.command[1]).name) == ("/opt/venv/bin/python", "bootstrap.py")


def test_a_command_runs_in_the_folder_of_the_file(function: Callable[[str], Function], tmp_path: Path) -> None:
    assert function('command = ["node", "bootstrap.mjs"]').kind == ChildProcess(
        command=("node", "bootstrap.mjs"), handler=None, environment={}, directory=str(tmp_path)
    )


def test_a_function_inherits_the_daemons_credentials_unless_the_file_says_no(
    function: Callable[[str], Function],
) -> None:
    for line, inherits in (("", True), ("inherit_credentials = true", True), ("inherit_credentials = false", False)):
        kind = function(f'handler = "a:b"\n{line}').kind
        assert isinstance(kind, ChildProcess)
        assert kind.inherits_credentials is inherits


@pytest.mark.parity("memory limit")
def test_the_memory_of_a_function_is_unlimited_unless_the_file_sets_a_limit(
    function: Callable[[str], Function],
) -> None:
    for line, memory in (("", None), ("memory_size_in_mb = 512", 512)):
        kind = function(f'handler = "a:b"\n{line}').kind
        assert isinstance(kind, ChildProcess)
        assert kind.memory_size_in_mb == memory


def test_a_single_url_is_a_list_of_one_url(function: Callable[[str], Function]) -> None:
    assert function('url = "http://a"\nheaders = { A = "b" }').kind == HttpService(
        urls=("http://a",), headers={"A": "b"}
    )
    assert function('urls = ["http://a", "http://b"]').kind == HttpService(urls=("http://a", "http://b"), headers={})


def test_an_arn_is_kept_unchanged_and_invoked_without_its_qualifier(function: Callable[[str], Function]) -> None:
    arn = "arn:aws-cn:lambda:cn-north-1:123456789012:function:bill"
    for qualifier in ("live", "7", "$LATEST"):
        bill = function(f'arn = "{arn}:{qualifier}"')
        assert bill.arn == Arn.parse(f"{arn}:{qualifier}")
        assert bill.kind == LambdaApi(name=arn, qualifier=qualifier, region="cn-north-1")
    assert function(f'arn = "{arn}"').kind == LambdaApi(name=arn, qualifier=None, region="cn-north-1")


@pytest.mark.parametrize(
    ("options", "concurrency"),
    [
        ('arn = "arn:aws:lambda:eu-west-1:123456789012:function:bill"', 1000),
        ('url = "http://a"', 10),
        (f'url = "{EMULATOR}"', 1),
        ('url = "http://a/rie/f/2015-03-31/functions/function/invocations/?key=1"', 1),
        (f'urls = ["http://a", "{EMULATOR}", "http://b"]', 21),
        ('handler = "a:b"', os.cpu_count()),
        ('command = ["a"]', os.cpu_count()),
        (f'url = "{EMULATOR}"\nreserved_concurrency = 5', 1),
        (f'urls = ["{EMULATOR}", "{EMULATOR}?second"]\nreserved_concurrency = 5', 2),
        (f'urls = ["{EMULATOR}", "{EMULATOR}?second"]\nreserved_concurrency = 1', 1),
        (f'urls = ["http://a", "{EMULATOR}"]\nreserved_concurrency = 50', 50),
        ('handler = "a:b"\nreserved_concurrency = 1', 1),
        ('handler = "a:b"\nreserved_concurrency = 0', 0),
    ],
)
def test_each_kind_has_its_own_default_concurrency_and_emulators_also_a_highest_one(
    function: Callable[[str], Function], options: str, concurrency: int
) -> None:
    assert function(options).reserved_concurrency == concurrency
    assert function(options).is_concurrency_reserved == ("reserved_concurrency" in options)


def test_the_default_timeout_is_thirty_seconds(function: Callable[[str], Function]) -> None:
    assert function('url = "http://a"').timeout_in_seconds == 30
    assert function('url = "http://a"\ntimeout_in_seconds = 0.5').timeout_in_seconds == 0.5


@pytest.mark.parametrize(
    ("kind", "longest"),
    [
        ('url = "http://a"', 42_000),
        ('command = ["a"]', 42_000),
        ('handler = "a:b"', 42_000),
        ('arn = "arn:aws:lambda:eu-west-1:123456789012:function:a"', 1_800),
    ],
)
@pytest.mark.parity("long functions")
def test_a_function_may_run_for_hours_and_a_lambda_function_for_half_an_hour(
    function: Callable[[str], Function], kind: str, longest: int
) -> None:
    assert function(f"{kind}\ntimeout_in_seconds = {longest}").timeout_in_seconds == longest


@pytest.mark.parametrize(
    ("text", "arn"),
    [
        ("", "arn:aws:lambda:us-east-1:000000000000:function:f"),
        ('[daemon]\nregion = "eu-central-1"', "arn:aws:lambda:eu-central-1:000000000000:function:f"),
        ('[daemon]\naccount_id = "999999999999"', "arn:aws:lambda:us-east-1:999999999999:function:f"),
        ("{mappings}", "arn:aws:lambda:eu-west-1:111111111111:function:f"),
        ('[daemon]\naccount_id = "999999999999"\n{mappings}', "arn:aws:lambda:eu-west-1:999999999999:function:f"),
        ('[daemon]\nregion = "eu-central-1"\n{mappings}', "arn:aws:lambda:eu-central-1:111111111111:function:f"),
    ],
)
def test_a_function_without_an_arn_gets_one_from_its_first_mapping(loaded: Load, text: str, arn: str) -> None:
    mappings = """
        [mappings.first]
        event_source_arn = "arn:aws:sqs:eu-west-1:111111111111:q"
        function_name = "f"
        [mappings.second]
        event_source_arn = "arn:aws:sqs:eu-west-2:222222222222:q"
        function_name = "f"
    """
    (function,) = loaded(text.format(mappings=mappings) + '\n[functions.f]\nurl = "http://a"').functions.values()
    assert str(function.arn) == arn


def test_a_generated_arn_is_in_the_partition_of_the_source(loaded: Load, faults: Callable[..., list[str]]) -> None:
    text = """
        [mappings.first]
        event_source_arn = "arn:aws-cn:sqs:cn-north-1:111111111111:q"
        function_name = "f"
        [mappings.second]
        event_source_arn = "arn:aws-cn:sqs:cn-north-1:111111111111:r"
        function_name = "resize"
    """
    made = loaded(text + '[functions.f]\nurl = "http://a"').functions.values()
    assert {str(function.arn) for function in made} == {
        "arn:aws-cn:lambda:cn-north-1:111111111111:function:f",
        "arn:aws-cn:lambda:cn-north-1:111111111111:function:resize",
    }


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ("", ": needs one of arn, url, urls, command, handler"),
        ('url = "http://a"\nurls = ["http://b"]', ": has url and urls; a function has exactly one of arn, url, urls"),
        (
            'url = "http://a"\ninherit_credentials = true',
            ".inherit_credentials = true: applies only to a function with command or handler",
        ),
        ('command = ["a"]\npython = "b"', '.python = "b": applies only to a function with handler, not with command'),
        ('handler = "a:b"\npython = ""', "must not be empty"),
        (
            'url = "http://a"\nmemory_size_in_mb = 512',
            "applies only to a function with command or handler, not with url",
        ),
        (
            'handler = "a:b"\nmemory_size_in_mb = 64',
            ".memory_size_in_mb = 64: must be a whole number of MB from 128 to 1048576",
        ),
        ('url = "http://a"\nenvironment = {}', ".environment: applies only to a function with command or handler"),
        ('handler = "a:b"\nheaders = {}', ".headers: applies only to a function with url or urls, not with handler"),
        ("urls = []", ".urls = []: must not be empty"),
        ("command = []", ".command = []: must not be empty"),
        ('command = "node a.mjs"', '.command = "node a.mjs": must be a list, as in ["node", "a.mjs"]'),
        ('urls = "http://a"', '.urls = "http://a": must be a list, as in ["http://a"]'),
        ("url = 'http://a'\ntimeout = 10", ".timeout: unknown key; did you mean timeout_in_seconds?"),
        ("url = 'http://a'\nTimeout = 10", ".Timeout: unknown key; did you mean timeout_in_seconds?"),
        ('command = ["node", ""]', ".command[1]: must not be empty"),
        ('handler = "functions.insert"', '.handler = "functions.insert": must be "module:callable"'),
        ('handler = "a/b.py:c"', '.handler = "a/b.py:c": must be "module:callable"'),
        ('arn = "bill"', '.arn = "bill": is not an ARN'),
        ('arn = "arn:aws:sqs:eu-west-1:123456789012:q"', "must be a Lambda function's ARN"),
        ('url = "http://a"\ntimeout_in_seconds = 42001', "must be a number of seconds from 0.1 to 42000"),
        ('url = "http://a"\ntimeout_in_seconds = 0', "must be a number of seconds from 0.1 to 42000"),
        (
            'arn = "arn:aws:lambda:eu-west-1:123456789012:function:a"\ntimeout_in_seconds = 1801',
            "timeout_in_seconds = 1801: must be a number of seconds from 0.1 to 1800 for a function with arn",
        ),
        (
            'url = "http://a"\nreserved_concurrency = -1',
            "must be a whole number of invocations at once from 0 to 10000",
        ),
        ('url = "http://a"\nreserved_concurrency = 1.0', "must be a whole number of invocations at once"),
        ('url = "http://a"\nheaders = { "A b" = "c" }', '.headers."A b" = "***": is not the name of an HTTP header'),
        ('url = "http://a"\nheaders = { A = "b\\r\\nC: d" }', "an HTTP header's value is one line"),
        ('handler = "a:b"\nenvironment = { A = 1 }', ".environment.A = 1: must be text, in quotes"),
        (
            'handler = "a:b"\nenvironment = { "A=B" = "c" }',
            "and begins with a letter",
        ),
        (
            'handler = "a:b"\nenvironment = { "A-B" = "c" }',
            "and begins with a letter",
        ),
        (
            'handler = "a:b"\nenvironment = { _A = "c" }',
            "and begins with a letter",
        ),
        (
            'handler = "a:b"\nenvironment = { "Ä" = "c" }',
            "and begins with a letter",
        ),
        ('handler = "a:b"\nenvironment = { A = "b\\u0000" }', "must not hold the character NUL"),
        ('command = ["a", "b\\u0000"]', ".command[1]: must not hold the character NUL"),
        ('url = "http://a"\nheaders = { A = "b\\u0001" }', "must not hold control characters"),
        ('url = "http://a"\nheaders = { A = "b\\u007f" }', "must not hold control characters"),
        ('url = "http://a"\nheaders = { HOST = "b" }', "every request has this header already"),
        ('url = "http://a"\nheaders = { content-length = "1" }', "every request has this header already"),
        ('url = "http://a"\nheaders = { Transfer-Encoding = "chunked" }', "every request has this header already"),
        ('url = "http://a"\nheaders = { Connection = "close" }', "every request has this header already"),
        (
            'url = "http://a"\nheaders = { X-Key = "b", x-key = "c" }',
            "f.headers: X-Key and x-key are the same header",
        ),
        (
            'url = "http://user:word@a"\nheaders = { authorization = "b" }',
            "f.headers: authorization cannot be used with a user in the url",
        ),
        (
            'urls = ["http://a", "http://user@b"]\nheaders = { Authorization = "b" }',
            "f.headers: Authorization cannot be used with a user in the url",
        ),
        *((f"url = '{url}'", "must be a url: http://host:port/path") for url in NO_URLS),
        *((f"urls = ['{url}']", "must be a url: http://host:port/path") for url in NO_URLS),
        ('handler = "a:b"\nenvironment = { AWS_LAMBDA_RUNTIME_API = "c" }', "is set by the daemon itself"),
    ],
)
def test_an_invalid_option_of_a_function_is_refused(faults: Faults, options: str, fault: str) -> None:
    (message,) = faults(f"[functions.f]\n{options}")
    assert message.startswith("functions.f")
    assert fault in message


def test_a_header_may_hold_tabs_and_any_letters(function: Callable[[str], Function]) -> None:
    kind = function('url = "http://user:word@bücher.example/"\nheaders = { A = "b\\tä" }').kind
    assert kind == HttpService(urls=("http://user:word@bücher.example/",), headers={"A": "b\tä"})
