"""How does `poller import` end if AWS refuses, answers in an unexpected shape, throttles, or does not answer?"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from aiobotocore.config import AioConfig

from poller.aws import clients
from poller.cli import account as reading
from poller.core.backoff import Backoff
from tests.fakes.lambda_account import REGION, LambdaAccount, lambda_account
from tests.unit.cli.conftest import Poller, members

QUEUE = f"arn:aws:sqs:{REGION}:123456789012:orders"
FUNCTION = f"arn:aws:lambda:{REGION}:123456789012:function:f"
UUID = "d5f0a3b2-1111-4222-8333-444455556666"
SLOW = 30
"""Seconds that a command may take on a busy machine."""


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def forget_credentials(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(folder / "missing"))


@pytest.fixture
def account() -> Iterator[LambdaAccount]:
    """An account with the function f, and its mapping of one queue."""
    with lambda_account() as account:
        account.create_function("f")
        account.client("lambda").create_event_source_mapping(FunctionName="f", EventSourceArn=QUEUE)
        account.asked.clear()
        yield account


def command(account: LambdaAccount, *options: str) -> tuple[str, ...]:
    return ("import", "--region", REGION, "--endpoint-url", account.url, *options)


@pytest.mark.parametrize(
    "answer",
    ["", "<html>", "[]", "{}", *(json.dumps({"EventSourceMappings": [{"EventSourceArn": QUEUE, **odd}]}) for odd in (
        {"UUID": UUID},
        {"UUID": UUID, "FunctionArn": "f"},
        {"FunctionArn": FUNCTION},
    ))],
)  # fmt: skip
@pytest.mark.slow
def test_a_list_of_mappings_in_an_unexpected_shape_ends_with_one_line(
    poller: Poller, account: LambdaAccount, answer: str
) -> None:
    account.answers["event-source-mappings"] = answer
    done = poller(*command(account))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "poller: an answer of AWS cannot be read\n"


def test_a_list_that_repeats_a_page_ends_with_one_line(poller: Poller, account: LambdaAccount) -> None:
    account.answers["event-source-mappings"] = json.dumps({"EventSourceMappings": [], "NextMarker": "1"})
    done = poller(*command(account))
    assert (done.exit_code, done.stderr) == (1, "poller: an answer of AWS cannot be read\n")


@pytest.mark.parametrize(
    ("address", "answer", "warning"),
    [
        ("configuration", "[]", f"the function {FUNCTION} is not described"),
        ("configuration", '{"Timeout": "soon"}', f"the function {FUNCTION} is not described"),
        ("concurrency", "[]", f"the settings of {FUNCTION} are not complete"),
        ("", "{}", f"the queue {QUEUE} is not described"),
        ("", '{"Attributes": {"VisibilityTimeout": "soon"}}', f"the queue {QUEUE} is not described"),
    ],
)
@pytest.mark.slow
def test_a_part_in_an_unexpected_shape_is_left_out_with_a_warning(
    poller: Poller, account: LambdaAccount, address: str, answer: str, warning: str
) -> None:
    account.answers[address] = answer
    done = poller(*command(account))
    assert (done.exit_code, done.stderr) == (0, f"warning: {warning}: an answer of AWS cannot be read\n")
    assert "[mappings.orders_to_f]" in done.stdout


@pytest.mark.slow
def test_a_program_gets_the_settings_the_differences_and_the_plan(poller: Poller, account: LambdaAccount) -> None:
    client = account.client("lambda")
    stream = QUEUE.replace(":sqs:", ":kinesis:").replace("orders", "stream/clicks")
    client.create_event_source_mapping(FunctionName="f", EventSourceArn=stream, StartingPosition="LATEST")
    topic = QUEUE.replace(":sqs:", ":kafka:")
    foreign = client.create_event_source_mapping(FunctionName="f", EventSourceArn=topic)["UUID"]
    done = poller(*command(account, "--json"))
    assert (done.exit_code, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document.keys() == members("poller import")
    toml = poller(*command(account)).stdout
    assert document["settings"] == tomllib.loads(toml)
    names = {"orders_to_f", "clicks_to_f"}
    assert document["settings"]["mappings"].keys() == document["differences"].keys() == document["plan"].keys() == names
    for name in names:
        assert all(f"# {difference}\n" in toml for difference in document["differences"][name])
        assert "".join(f"# {line}\n" for line in document["plan"][name]) in toml
    assert document["not_imported"] == [foreign]


@pytest.mark.slow
def test_hundreds_of_mappings_are_listed_page_by_page(poller: Poller, account: LambdaAccount) -> None:
    client = account.client("lambda")
    for number in range(200):
        client.create_event_source_mapping(FunctionName="f", EventSourceArn=f"{QUEUE}-{number}")
    done = poller(*command(account))
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.count("\n[mappings.") == 201
    assert account.asked.count("configuration") == 1, "each function is asked for once"


def test_filters_that_a_list_does_not_show_are_asked_for(poller: Poller, account: LambdaAccount) -> None:
    pattern = json.dumps({"body": {"kind": ["signup"]}})
    account.client("lambda").create_event_source_mapping(
        FunctionName="f",
        EventSourceArn=f"{QUEUE}-secret",
        KMSKeyArn=f"arn:aws:kms:{REGION}:123456789012:key/1",
        FilterCriteria={"Filters": [{"Pattern": pattern}]},
    )
    mappings = tomllib.loads(poller(*command(account)).stdout)["mappings"]
    assert mappings["orders-secret_to_f"]["filter_criteria"] == {"filters": [{"pattern": pattern}]}


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client send a request once, and let the import send it three times without a pause."""
    once = AioConfig(retries={"mode": "standard", "total_max_attempts": 1})
    monkeypatch.setattr(clients, "GENERAL_CLIENT", clients.GENERAL_CLIENT.merge(once))
    monkeypatch.setattr(reading, "IMPORT", Backoff(initial=0.001, maximum=0.001))
    monkeypatch.setattr(reading, "TRIES", 3)


ADDRESSES = ("event-source-mappings", "configuration", "event-invoke-config", "concurrency", "")


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.slow
def test_a_throttled_request_is_sent_again(
    poller: Poller, account: LambdaAccount, without_pauses: None, address: str
) -> None:
    usual = poller(*command(account)).stdout
    account.throttles[address] = 2
    done = poller(*command(account))
    assert (done.exit_code, done.stdout, done.stderr) == (0, usual, "")
    assert account.throttles[address] == 0


def test_a_request_that_is_always_throttled_is_given_up(
    poller: Poller, account: LambdaAccount, without_pauses: None
) -> None:
    account.throttles["event-source-mappings"] = 3
    done = poller(*command(account))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "poller: TooManyRequestsException (429): Rate exceeded\n"


@pytest.mark.parametrize(
    ("address", "operation"),
    [
        ("event-source-mappings", "list_event_source_mappings"),
        ("configuration", "get_function_configuration"),
        ("event-invoke-config", "get_function_event_invoke_config"),
        ("concurrency", "get_function_concurrency"),
        ("", "get_queue_attributes"),
    ],
)
@pytest.mark.slow
def test_an_import_ends_if_aws_does_not_answer_a_request(
    poller: Poller, account: LambdaAccount, monkeypatch: pytest.MonkeyPatch, address: str, operation: str
) -> None:
    """The patience is short for this operation only, because a busy machine answers the others slowly."""
    usual, patience = reading.PATIENCE_IN_SECONDS, reading._patience

    def patience_with(what: str) -> AbstractContextManager[None]:
        monkeypatch.setattr(reading, "PATIENCE_IN_SECONDS", 0.4 if what == operation else usual)
        return patience(what)

    monkeypatch.setattr(reading, "_patience", patience_with)
    account.silent.add(address)
    done = poller(*command(account))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"poller: AWS has not answered within 0 seconds: {operation}\n"


@pytest.mark.slow
def test_an_import_ends_if_the_provider_of_credentials_does_not_answer(
    poller: Poller, account: LambdaAccount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reading, "PATIENCE_IN_SECONDS", 0.5)
    forget_credentials(monkeypatch, tmp_path)
    account.silent.add("credentials")
    done = poller(*command(account), AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{account.url}/credentials")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "poller: AWS has not answered within 0 seconds: the credentials\n"
    assert set(account.asked) <= {"credentials"}


def test_without_credentials_an_import_ends_with_one_line(
    poller: Poller, account: LambdaAccount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forget_credentials(monkeypatch, tmp_path)
    done = poller(*command(account), AWS_EC2_METADATA_DISABLED="true")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "poller: Unable to locate credentials\n"
    assert not account.asked


@pytest.mark.parametrize(
    ("variable", "value", "code", "why"),
    [
        ("AWS_PROFILE", "nobody", 1, "The config profile (nobody) could not be found"),
        ("AWS_CA_BUNDLE", "/no", 2, "AWS ca_bundle: '/no' cannot be read as certificates: No such file or directory"),
    ],
)
def test_a_fault_of_the_configuration_of_aws_is_no_fault_of_a_settings_file(
    poller: Poller, account: LambdaAccount, variable: str, value: str, code: int, why: str
) -> None:
    done = poller(*command(account), **{variable: value})
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", f"poller: {why}\n")


def test_the_region_comes_from_the_option_or_the_environment(poller: Poller, account: LambdaAccount) -> None:
    options = ("import", "--endpoint-url", account.url)
    done = poller(*options, AWS_DEFAULT_REGION="eu-west-3")
    assert 'region = "eu-west-3"' in done.stdout
    done = poller(*options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--region" in done.stderr


@pytest.mark.parametrize("url", ["localhost", "http://", "ftp://user:s3cret@host", "http://user:s3cret@host:x"])
def test_an_endpoint_that_is_no_url_is_refused_without_its_password(poller: Poller, url: str) -> None:
    done = poller("import", "--region", "eu-west-1", "--endpoint-url", url)
    assert done.exit_code == 2
    assert done.stderr == "poller: --endpoint-url: must be a url: http://host:port/path or https://host/path\n"


@pytest.mark.slow
def test_a_person_sees_the_progress_and_ends_a_silent_import_at_once(account: LambdaAccount) -> None:
    account.silent.add("configuration")
    with on_a_terminal(account) as (process, until):
        seen = until("Reading function 1 of 1")
        assert "Reading the event source mappings" in seen
        process.send_signal(signal.SIGINT)
        assert process.wait(SLOW) == 130


@pytest.mark.slow
def test_a_person_ends_an_import_at_once_while_a_name_is_resolved(account: LambdaAccount) -> None:
    account.url = "http://aws.invalid"
    with on_a_terminal(account, SLOW_NAMES) as (process, until):
        until("resolving")
        process.send_signal(signal.SIGINT)
        assert process.wait(SLOW) == 130
        until("\x1b[?25h")  # the cursor is shown again


SLOW_NAMES = """
import socket, sys, time
from poller.cli import main

def resolve(*_, **__):
    print("resolving", file=sys.stderr, flush=True)
    time.sleep(3600)

socket.getaddrinfo = resolve
main()
"""


@contextmanager
def on_a_terminal(
    account: LambdaAccount, program: str = "from poller.cli import main; main()"
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[str], str]]]:
    """Run the import with its stderr on a terminal. `until` returns what the terminal shows, up to a text."""
    ours, theirs = pty.openpty()
    shown = b""

    def until(text: str) -> str:
        nonlocal shown
        while text not in shown.decode():
            assert select.select([ours], [], [], SLOW)[0], shown
            shown += os.read(ours, 4096)
        return shown.decode()

    process = subprocess.Popen(
        [sys.executable, "-c", program, *command(account)], stderr=theirs, stdout=subprocess.DEVNULL
    )
    try:
        yield process, until
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
