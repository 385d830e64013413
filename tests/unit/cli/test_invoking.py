"""Which event does `poller invoke` send, and what does it refuse?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from poller.cli.samples import sample_names
from tests.unit.cli.conftest import Poller, members
from tests.unit.cli.test_explaining import function


def test_the_help_lists_the_samples(poller: Poller) -> None:
    text = " ".join(poller("invoke", "--help", COLUMNS="1000").stdout.split())
    assert f"{', '.join(sample_names())}." in text


def test_a_sample_that_does_not_exist_is_refused_with_the_names_of_all(poller: Poller) -> None:
    done = poller("invoke", "greet", "--sample", "s3")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"poller: there is no sample s3; the samples are {', '.join(sample_names())}\n"


def test_a_sample_and_a_payload_exclude_each_other(poller: Poller) -> None:
    done = poller("invoke", "greet", "--sample", "s3-put", "--payload", "{}")
    assert (done.exit_code, done.stderr) == (2, "poller: --payload and --sample exclude each other\n")


@pytest.mark.parametrize(
    ("answer", "status", "code", "error", "parsed"),
    [
        (b'{"said":"hello"}', 200, 0, None, {"said": "hello"}),
        (b'{"errorType":"KeyError"}', 500, 1, "Unhandled", {"errorType": "KeyError"}),
    ],
)
def test_a_program_gets_the_answer_of_a_function(
    poller: Poller, answer: bytes, status: int, code: int, error: str | None, parsed: object
) -> None:
    with function(answer, status) as (url, _):
        Path("poller.toml").write_text(f'[daemon]\nregion = "eu-west-1"\n[functions.f]\nurl = "{url}"\n')
        done = poller("invoke", "f", "--json")
    document = json.loads(done.stdout)
    assert (done.exit_code, done.stderr) == (code, "")
    assert document.keys() == members("poller invoke")
    assert (document["function_error"], document["log"]) == (error, None)
    assert document["answer"].items() >= parsed.items()  # type: ignore[attr-defined]  # it is a dict


def test_a_program_gets_the_id_of_an_event(poller: Poller) -> None:
    Path("poller.toml").write_text('[daemon]\nregion = "eu-west-1"\n[functions.f]\nurl = "http://127.0.0.1:1"\n')
    document = json.loads(poller("invoke", "f", "--event", "--json").stdout)
    events = json.loads(poller("events", "list", "f", "--json").stdout)["events"]
    assert [each["request_id"] for each in events] == [document["request_id"]]
    assert document["answer"] is None
