"""Does `poller demo` end by itself with numbers that add up, and does it leave nothing behind?

The demo runs as a user runs it, as a process with a pipe for its output. The test has its own folder for temporary
files and for the cache, so it sees which files the demo leaves there. The environment is hostile: an AWS profile that
does not exist, and a proxy that refuses every request.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import botocore.session
import pytest

from poller.demo.resharding.kinesis_local import PACKAGE, VERSION
from tests.aws_cli import aws_cli
from tests.e2e.harness import descendants, environment
from tests.node import installed

ROOT = Path(__file__).parents[2]
LONGEST_IN_SECONDS = 120
WITHOUT_ITS_EMULATOR = "import sys; sys.modules['ministack'] = None; from poller.cli import main; main()"


@contextmanager
def demo(
    folder: Path, *options: str, stdout: int | IO[bytes] = subprocess.PIPE, stderr: int = subprocess.STDOUT
) -> Iterator[subprocess.Popen[str]]:
    hostile = os.environ | {
        "TMPDIR": str(folder),
        "XDG_CACHE_HOME": str(cache(folder)),
        "PYTHONPATH": str(ROOT),
        "AWS_PROFILE": "no-such-profile",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "poller", "demo", *options],
        env=hostile,
        stdout=stdout,
        stderr=stderr,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read the output up to the line with this text, and return it."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"{text!r} was never printed:\n{''.join(lines)}")


def cache(folder: Path) -> Path:
    """Return the cache folder of a demo with this folder for temporary files."""
    return folder.with_name(f"{folder.name}-cache")


def numbers(output: str, name: str) -> list[str]:
    """Return the numbers of a line of a table."""
    [line] = [line for line in output.splitlines() if re.match(rf"│ +{name} +│", line)]
    return [cell.strip() for cell in line.strip("│").split("│")][1:-1]


def command_of(pid: int) -> str:
    return subprocess.run(["ps", "-p", str(pid), "-o", "args="], capture_output=True, text=True, check=False).stdout


def alive(pids: set[int]) -> set[int]:
    """Return the processes that still run. A zombie does not count."""
    table = subprocess.run(["ps", "-axo", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    states = {int(pid): state for pid, state in map(str.split, table.splitlines())}
    return {pid for pid in pids if not states.get(pid, "Z").startswith("Z")}


def assert_gone(pids: set[int]) -> None:
    """Assert that the processes end soon. The demo does not wait for the end of the last ones."""
    deadline = time.monotonic() + 60
    while left := alive(pids):
        assert time.monotonic() < deadline, f"still running: {left}"


def test_the_demo_splits_and_merges_a_stream_keeps_the_order_and_ends_by_itself(tmp_path: Path) -> None:
    with_kinesis_local(tmp_path)
    with demo(tmp_path, "--reshard") as process:
        output, _ = process.communicate(timeout=LONGEST_IN_SECONDS)
    assert process.returncode == 0, output
    assert "The numbers add up" in output
    assert [numbers(output, shard)[:2] for shard in "01234"] == [
        ["none", "closed"],
        ["none", "closed"],
        ["0", "open"],
        ["0", "closed"],
        ["3 and 1", "open"],
    ]
    assert numbers(output, "order of each user") == ["kept"]
    assert list(tmp_path.iterdir()) == []


def test_the_demo_kills_one_of_three_workers_and_its_numbers_add_up(tmp_path: Path) -> None:
    with demo(tmp_path, "--workers", "3") as process:
        output, _ = process.communicate(timeout=LONGEST_IN_SECONDS)
    assert process.returncode == 0, output
    assert "Worker 1 was killed" in output
    assert "The numbers add up" in output
    assert numbers(output, "order of each user") == ["kept"]
    assert list(tmp_path.iterdir()) == []


def test_the_demos_numbers_agree_and_with_keep_it_serves_the_user_until_ctrl_c(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """One tour answers all questions, because a tour takes half a minute."""
    folder = tmp_path_factory.mktemp("kept")  # in tmp_path, the path of the control socket may have too many bytes
    with demo(folder, "--keep") as process:
        output = read_until(process, "The status page: ")
        assert_numbers_add_up(output)
        started = descendants(process.pid)
        deleted_before = deleted(output)
        assert "events of process_csv" in status_as_invited(output)
        send_as_invited(output)
        put_as_invited(output)
        assert called_as_invited(output, tmp_path_factory.mktemp("aws")) == {"rows": 10}
        [place] = folder.iterdir()
        deadline = time.monotonic() + 120
        while deleted(output) == deleted_before or "user-99" not in (place / "clicks.txt").read_text(encoding="utf-8"):
            assert time.monotonic() < deadline, "the message or the click was never taken"
        assert "RetryAttemptsExhausted" in received_as_invited(output)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LONGEST_IN_SECONDS)
    assert process.returncode == 0
    assert len(started) > 2
    assert_gone(started)
    assert [path.name for place in folder.iterdir() for path in place.glob("*.toml")] == ["poller.toml"]


@pytest.mark.parametrize(
    ("options", "moment"),
    [((), "An emulator"), ((), "The daemon is ready"), (("--reshard",), "clicks: ")],
)
def test_ctrl_c_leaves_no_process_and_no_file_behind(tmp_path: Path, options: tuple[str, ...], moment: str) -> None:
    if options:
        with_kinesis_local(tmp_path)
    with demo(tmp_path, *options) as process:
        read_until(process, moment)
        started = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=LONGEST_IN_SECONDS)
    assert process.returncode == 130, output
    assert started
    assert_gone(started)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_the_demo_ends_with_an_error_message_if_its_output_meets_a_full_disk(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full, demo(tmp_path, stdout=full, stderr=subprocess.PIPE) as process:
        _, errors = process.communicate(timeout=LONGEST_IN_SECONDS)
    assert (process.returncode, errors) == (1, "poller: the output cannot be written: No space left on device\n")
    assert list(tmp_path.iterdir()) == []


def test_the_demo_ends_silently_if_the_reader_of_its_output_has_gone(tmp_path: Path) -> None:
    with demo(tmp_path, stderr=subprocess.PIPE) as process:
        read_until(process, "An emulator")
        started = descendants(process.pid)
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate(timeout=LONGEST_IN_SECONDS)
    assert (process.returncode, errors) == (1, "")
    assert_gone(started)
    assert list(tmp_path.iterdir()) == []


def test_the_demo_ends_if_its_daemon_dies_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        read_until(process, "clicks: ")
        started = descendants(process.pid)
        [daemon] = [pid for pid in started if " run -c " in command_of(pid)]
        os.kill(daemon, signal.SIGKILL)
        output, _ = process.communicate(timeout=LONGEST_IN_SECONDS)
    assert process.returncode == 1, output
    assert "the daemon ended with status -9; the end of its log:" in output
    assert_gone(started)
    assert list(tmp_path.iterdir()) == []


def test_without_its_emulator_the_demo_says_what_to_install(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_ITS_EMULATOR, "demo"],
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LONGEST_IN_SECONDS,
        check=False,
    )
    assert ended.returncode == 1
    assert "pip install '.[demo]'" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_without_node_the_demo_of_resharding_says_what_to_install(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "poller", "demo", "--reshard"],
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=LONGEST_IN_SECONDS,
        check=False,
    )
    assert ended.returncode == 1
    assert "`poller demo --reshard` needs node, which is not on the PATH" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def with_kinesis_local(folder: Path) -> None:
    """Put what the tests have installed into the demo's cache; without node, the test is skipped."""
    package = installed(PACKAGE, VERSION)
    place = cache(folder) / "poller"
    place.mkdir(parents=True)
    (place / f"{PACKAGE}@{VERSION}").symlink_to(package.parents[1])


def assert_numbers_add_up(output: str) -> None:
    assert "The numbers add up" in output
    assert numbers(output, "attempts") == ["4"]
    assert numbers(output, "files processed") == ["1"]
    assert numbers(output, "rows sent to each queue") == ["240"]
    assert numbers(output, "sent") == ["240", "240"]
    assert numbers(output, "filtered out") == ["24", "24"]
    assert numbers(output, "stored") == ["212", "212"]
    assert numbers(output, "failed for good") == ["4", "4"]
    assert numbers(output, "left over") == ["0", "0"]
    assert numbers(output, "mails") == ["212"]
    assert numbers(output, "put") == ["480"]
    assert numbers(output, "seen") == ["479"]
    assert numbers(output, "discarded and reported") == ["1"]
    assert numbers(output, "order of each user") == ["kept"]
    assert invocation_record(output)["KinesisBatchInfo"]["batchSize"] == 1


def invocation_record(output: str) -> dict[str, Any]:
    """Return the invocation record in the output."""
    _, _, text = output.partition("holds an invocation record:\n")
    record, _ = json.JSONDecoder().raw_decode(text)
    assert isinstance(record, dict)
    return record


def deleted(output: str) -> float:
    """Return the number of deleted messages in the daemon's metrics, at the address in the output."""
    [page] = re.findall(r"The status page: (\S+)", output)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{page}metrics") as answer:
        metrics = answer.read().decode()
    return sum(map(float, re.findall(r"^poller_messages_deleted_total\{.*\} (\S+)$", metrics, re.MULTILINE)))


def status_as_invited(output: str) -> str:
    """Return what the command `poller status` of the output prints."""
    [file] = re.findall(r"poller status -c (\S+)", output)
    shown = subprocess.run(
        [sys.executable, "-m", "poller", "status", "-c", file], capture_output=True, text=True, timeout=60, check=True
    )
    return shown.stdout


def send_as_invited(output: str) -> None:
    """Send the message of the first command `aws sqs … send-message` of the output."""
    [url, *_] = re.findall(r"send-message --queue-url (\S+)", output)
    [body, *_] = re.findall(r"--message-body '(.*)'", output)
    assert json.loads(body)["kind"] == "signup"
    with client("sqs", output) as sqs:
        sqs.send_message(QueueUrl=url, MessageBody=body)


def called_as_invited(output: str, folder: Path) -> Any:
    """Run the `aws lambda invoke` of the output with AWS's command line, and return the function's answer."""
    [command] = re.findall(r"echo '.*' \| aws lambda invoke .*", output)
    path = f"{aws_cli(folder)}{os.pathsep}{os.environ['PATH']}"
    variables = environment(None, PATH=path, **variables_of(output))
    done = subprocess.run(["sh", "-c", command], env=variables, capture_output=True, text=True, timeout=60, check=True)
    answer, end = json.JSONDecoder().raw_decode(done.stdout)
    printed = json.loads(done.stdout[end:])
    assert "FunctionError" not in printed
    assert b"REPORT RequestId" in base64.b64decode(printed["LogResult"])
    return answer


def put_as_invited(output: str) -> None:
    """Put the record of each command `aws kinesis put-record` of the output: a click, and one that is given up."""
    invitations = re.findall(r"echo '(.*)' \| aws kinesis put-record --stream-name (\S+) --partition-key (\S+)", output)
    assert len(invitations) == 2
    with client("kinesis", output) as kinesis:
        for data, stream, key in invitations:
            kinesis.put_record(StreamName=stream, PartitionKey=key, Data=data.encode())


def received_as_invited(output: str) -> str:
    """Receive a message as the command `aws sqs … receive-message` of the output does, and return its body."""
    [(url, seconds)] = re.findall(r"receive-message --queue-url (\S+) --wait-time-seconds (\d+)", output)
    with client("sqs", output) as sqs:
        [message] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=int(seconds))["Messages"]
    return str(message["Body"])


def variables_of(output: str) -> dict[str, str]:
    """Return the environment variables that the output names for AWS's clients."""
    return dict(pair.split("=", 1) for pair in re.findall(r"AWS_\w+=\S+", output))


@contextmanager
def client(service: str, output: str) -> Iterator[Any]:
    """Yield a client with the variables of the output."""
    variables = variables_of(output)
    made = botocore.session.get_session().create_client(
        service,
        region_name=variables["AWS_DEFAULT_REGION"],
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
    try:
        yield made
    finally:
        made.close()
