"""How does `poller import` end if AWS answers in an unexpected shape? With one line, or with a warning."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.unit.cli.conftest import Poller

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:f"
MAPPING = {"UUID": "d5f0a3b2-1111-4222-8333-444455556666", "EventSourceArn": QUEUE, "FunctionArn": FUNCTION}
USUAL = {
    "/event-source-mappings": json.dumps({"EventSourceMappings": [MAPPING]}),
    "/configuration": '{"Timeout": 3}',
    "/event-invoke-config": "{}",
    "/concurrency": "{}",
    "/": '{"Attributes": {"VisibilityTimeout": "30"}}',
}
"""The answers by the ends of the paths. SQS has the path `/`."""


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@contextmanager
def aws(answers: Mapping[str, str]) -> Iterator[str]:
    """Run an AWS that gives these answers. Yields its url."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            path = self.path.partition("?")[0]
            answer = next(answer for end, answer in answers.items() if path.rstrip("/").endswith(end.rstrip("/")))
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "answer",
    ["", "<html>", "[]", "{}", *(json.dumps({"EventSourceMappings": [{"EventSourceArn": QUEUE, **odd}]}) for odd in (
        {"UUID": MAPPING["UUID"]},
        {"UUID": MAPPING["UUID"], "FunctionArn": "f"},
        {"FunctionArn": FUNCTION},
    ))],
)  # fmt: skip
def test_a_list_of_mappings_in_an_unexpected_shape_ends_with_one_line(poller: Poller, answer: str) -> None:
    with aws({**USUAL, "/event-source-mappings": answer}) as url:
        done = poller("import", "--region", "eu-west-1", "--endpoint-url", url)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "poller: an answer of AWS cannot be read\n"


@pytest.mark.parametrize(
    ("path", "answer", "warning"),
    [
        ("/configuration", "[]", f"the function {FUNCTION} is not described"),
        ("/configuration", '{"Timeout": "soon"}', f"the function {FUNCTION} is not described"),
        ("/concurrency", "[]", f"the settings of {FUNCTION} are not complete"),
        ("/", "{}", f"the queue {QUEUE} is not described"),
        ("/", '{"Attributes": {"VisibilityTimeout": "soon"}}', f"the queue {QUEUE} is not described"),
    ],
)
def test_a_part_in_an_unexpected_shape_is_left_out_with_a_warning(
    poller: Poller, path: str, answer: str, warning: str
) -> None:
    with aws({**USUAL, path: answer}) as url:
        done = poller("import", "--region", "eu-west-1", "--endpoint-url", url)
    assert (done.exit_code, done.stderr) == (0, f"warning: {warning}: an answer of AWS cannot be read\n")
    assert "[mappings.orders_to_f]" in done.stdout


@pytest.mark.parametrize("url", ["localhost", "http://", "ftp://user:s3cret@host", "http://user:s3cret@host:x"])
def test_an_endpoint_that_is_no_url_is_refused_without_its_password(poller: Poller, url: str) -> None:
    done = poller("import", "--region", "eu-west-1", "--endpoint-url", url)
    assert done.exit_code == 2
    assert done.stderr == "poller: --endpoint-url: must be a url: http://host:port/path or https://host/path\n"
