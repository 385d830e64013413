"""Which event does `poller invoke` send, and what does it refuse?"""

from __future__ import annotations

from poller.cli.samples import sample_names
from tests.unit.cli.conftest import Poller


def test_the_help_lists_the_samples(poller: Poller) -> None:
    text = " ".join(poller("invoke", "--help", COLUMNS="1000").stdout.split())
    assert f"{', '.join(sample_names())}." in text


def test_a_sample_that_does_not_exist_is_refused_with_the_names_of_all(poller: Poller) -> None:
    done = poller("invoke", "greet", "--sample", "s3")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"poller: there is no sample s3; there are {', '.join(sample_names())}\n"


def test_a_sample_and_a_payload_exclude_each_other(poller: Poller) -> None:
    done = poller("invoke", "greet", "--sample", "s3-put", "--payload", "{}")
    assert (done.exit_code, done.stderr) == (2, "poller: --payload and --sample exclude each other\n")
