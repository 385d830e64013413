"""What does the command line print, and with which exit code does it end, if it cannot run the daemon?"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import anyio.to_thread
import orjson
import pytest

from tests.e2e.harness import World, environment, poller
from tests.fakes.target import FakeTarget


@pytest.mark.anyio
async def test_with_a_fault_the_daemon_sends_no_request_and_starts_nothing(world: World) -> None:
    (world.folder / "handlers.py").write_text("open('started', 'w')")
    orders = world.queue("orders")
    text = f"""
        [functions.store]
        handler = "handlers:handle"

        [mappings.orders]
        event_source_arn = "{orders.arn}"
        function_name = "store"
        batch_size = 20000
    """
    world.send(orders, "{}")
    world.write(text)
    ended = await anyio.to_thread.run_sync(poller, world.folder, "run")
    assert ended.returncode == 2
    assert "mappings.orders.batch_size = 20000" in ended.stderr
    assert world.aws.server.connections == 0
    assert not (world.folder / "started").exists()


EVENTS_IN_SQS = """
    [daemon]
    endpoint_url = "{url}"

    [functions.store]
    command = ["true"]
    event_invoke_config.event_queue_arn = "{arn}"

    [functions.mail]
    command = ["true"]
    event_invoke_config.event_queue_arn = "{arn}-of-mail"
"""


@pytest.mark.anyio
async def test_the_daemon_does_not_start_with_an_event_queue_in_which_events_could_be_lost(world: World) -> None:
    events = world.queue("events", dead_letter_queue=world.queue("dead"), maximum_receive_count=3)
    (world.folder / "poller.toml").write_text(EVENTS_IN_SQS.format(url=world.aws.url, arn=events.arn))
    ended = await anyio.to_thread.run_sync(poller, world.folder, "run")
    assert ended.returncode == 2
    (fault,) = [line for line in ended.stderr.splitlines() if "event_queue_arn" in line and "redrive" in line]
    assert fault.startswith("functions.store.event_invoke_config.event_queue_arn: ")
    assert "has a redrive policy, which would move waiting events away: remove the policy" in fault
    assert not any(entry.kind == "received" for entry in events.history)


@pytest.mark.anyio
async def test_a_live_check_prints_what_aws_says_and_changes_nothing(world: World) -> None:
    events = world.queue("events", dead_letter_queue=world.queue("dead"), maximum_receive_count=3)
    (world.folder / "poller.toml").write_text(EVENTS_IN_SQS.format(url=world.aws.url, arn=events.arn))
    before = sorted(path.name for path in world.folder.iterdir())
    ended = await anyio.to_thread.run_sync(poller, world.folder, "check", "--live")
    assert ended.returncode == 1
    rows = [line.split(maxsplit=4) for line in ended.stdout.splitlines()[1:]]
    option = "functions.store.event_invoke_config.event_queue_arn"
    assert [row[:4] for row in rows if row[1] == option] == [
        ["ok", option, str(events.arn), "GetQueueAttributes"],
        ["ok", option, str(events.arn), "DeleteMessage"],
        ["ok", option, str(events.arn), "ChangeMessageVisibility"],
        ["ok", option, str(events.arn), "FifoQueue"],
        ["fault", option, str(events.arn), "RedrivePolicy"],
        ["ok", option, str(events.arn), "MessageRetentionPeriod"],
        ["ok", option, str(events.arn), "MaximumMessageSize"],
    ]
    ((missing),) = [row for row in rows if row[1] != option]
    assert missing[:4] == [
        "fault",
        "functions.mail.event_invoke_config.event_queue_arn",
        f"{events.arn}-of-mail",
        "GetQueueAttributes",
    ]
    assert sorted(path.name for path in world.folder.iterdir()) == before
    assert not events.history


@pytest.mark.anyio
async def test_a_live_check_without_a_fault_has_exit_code_0(world: World) -> None:
    events, mails = world.queue("events"), world.queue("events-of-mail")
    (world.folder / "poller.toml").write_text(EVENTS_IN_SQS.format(url=world.aws.url, arn=events.arn))
    ended = await anyio.to_thread.run_sync(poller, world.folder, "check", "--live")
    assert (ended.returncode, ended.stdout.count("fault")) == (0, 0), ended.stdout + ended.stderr
    assert str(mails.arn) in ended.stdout


@pytest.mark.anyio
async def test_a_live_check_tells_a_denied_permission_that_the_daemon_needs_from_one_that_it_does_not(
    world: World,
) -> None:
    orders, failures = world.queue("orders"), world.queue("failures")
    clicks = world.aws.create_stream("clicks")
    world.aws.kinesis.put(clicks, "key", b"{}")
    world.aws.forbidden |= {"failures", "orders"}
    bill = world.aws.functions["arn:aws:lambda:eu-west-1:123456789012:function:bill"] = FakeTarget()
    world.write(f"""
        [functions.bill]
        arn = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
        [mappings.orders]
        event_source_arn = "{orders.arn}"
        function_name = "bill"
        [mappings.clicks]
        event_source_arn = "{clicks.arn}"
        function_name = "bill"
        starting_position = "LATEST"
        destination_config.on_failure.destination_arn = "{failures.arn}"
    """)
    before = len(clicks.history)
    ended = await anyio.to_thread.run_sync(poller, world.folder, "check", "--live", "--json")
    assert ended.returncode == 1, ended.stderr
    rows = {(row["option"], row["check"]): row for row in orjson.loads(ended.stdout)["rows"]}
    assert {key: row["result"] for key, row in rows.items()} == {
        ("mappings.orders.event_source_arn", "GetQueueAttributes"): "fault",
        ("mappings.clicks.event_source_arn", "ListShards"): "ok",
        ("mappings.clicks.event_source_arn", "GetRecords"): "ok",
        ("mappings.clicks.destination_config.on_failure", "exists"): "advice",
        ("functions.bill", "Invoke (DryRun)"): "ok",
        ("functions.bill", "Timeout"): "advice",
    }
    needed = rows["mappings.clicks.destination_config.on_failure", "exists"]["finding"]
    assert needed == "cannot be checked, because access is denied; the daemon needs only sqs:SendMessage"
    assert [(entry.kind, entry.sequence_numbers) for entry in clicks.history[before:]] == [("read", ())]
    assert not orders.history
    assert not failures.history
    assert not bill.calls


@pytest.mark.anyio
async def test_a_live_check_says_that_a_table_has_switched_its_stream_off(world: World) -> None:
    table = world.aws.create_table("users")
    world.write(f"""
        [mappings.users]
        event_source_arn = "{table.stream.arn}"
        function_name = "arn:aws:lambda:eu-west-1:123456789012:function:missing"
        starting_position = "LATEST"
    """)
    table.is_enabled = False
    ended = await anyio.to_thread.run_sync(poller, world.folder, "check", "--live")
    lines = {line.split()[3]: line for line in ended.stdout.splitlines()}
    assert lines["DescribeStream"].startswith("advice ")
    assert "set event_source_arn to the table's LatestStreamArn" in lines["DescribeStream"]
    assert lines["Invoke"].startswith("fault ")


@pytest.mark.parametrize("kind", ['handler = "handlers:handle"', 'url = "http://127.0.0.1:1"'])
def test_a_port_in_use_is_reported_and_the_exit_code_lets_a_service_manager_try_again(
    tmp_path: Path, kind: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "poller.toml").write_text(
            f"""
            [daemon]
            http_listen = "127.0.0.1:{port}"

            [functions.store]
            {kind}

            [mappings.orders]
            event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:orders"
            function_name = "store"
            """
        )
        ended = poller(tmp_path, "run")
    assert ended.returncode == 1, "a service manager is to try again, which it does not after exit code 2"
    assert ended.stderr == (
        f"poller: daemon.http_listen: 127.0.0.1:{port}: cannot listen there: Address already in use\n"
    )


SOUND = """
[functions.count]
url = "http://127.0.0.1:8080"

[mappings.clicks]
event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
function_name = "count"
starting_position = "LATEST"
"""

PRINTING = [["check"], ["check", "--schema"], ["state", "show"], ["--version"], ["--help"]]


def printing_into(stdout: int, folder: Path, command: list[str], **more: str) -> tuple[int, str]:
    (folder / "poller.toml").write_text(SOUND)
    ended = subprocess.run(
        [sys.executable, "-m", "poller", *command],
        env=environment(None, **more),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", PRINTING, ids=" ".join)
def test_output_to_a_full_disk_fails_with_an_error_message(tmp_path: Path, command: list[str], unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = printing_into(full.fileno(), tmp_path, command, PYTHONUNBUFFERED=unbuffered)
    assert ended == (1, "poller: the output cannot be written: No space left on device\n")


@pytest.mark.parametrize("command", PRINTING, ids=" ".join)
def test_a_command_ends_silently_if_the_reader_of_its_output_has_gone(tmp_path: Path, command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert printing_into(writing, tmp_path, command) == (1, "")
    finally:
        os.close(writing)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_that_is_stopped_during_its_start_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """The signal arrives during the program's imports."""
    code = f"""
import os, runpy, sys

class Signal:
    def find_spec(self, name, *_):
        if name == "poller.cli":
            os.kill(os.getpid(), {int(number)})

sys.meta_path.insert(0, Signal())
sys.argv = ["poller", "run"]
runpy.run_module("poller", run_name="__main__")
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(None), capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
