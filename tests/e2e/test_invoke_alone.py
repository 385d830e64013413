"""What does `poller invoke` do if no daemon runs? It starts only the function that it calls."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import anyio.to_thread
import pytest

from tests.e2e.harness import World, poller

HANDLERS = """
def greet(event, context):
    print("greeting", event["name"])
    return {"said": "Hello " + event["name"], "arn": context.invoked_function_arn}

def bucket(event, context):
    return event["Records"][0]["s3"]["bucket"]["name"]
"""
TEXT = """
[functions.greet]
handler = "handlers:greet"
[functions.bucket]
handler = "handlers:bucket"
[functions.other]
handler = "other:handle"
"""
OTHER = "from pathlib import Path; Path('other-ran').touch()\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    (tmp_path / "other.py").write_text(OTHER)
    (tmp_path / "poller.toml").write_text(f'[daemon]\nregion = "eu-west-1"\n{TEXT}')
    return tmp_path


def result_of(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


def test_only_the_function_is_started_and_its_answer_is_printed(folder: Path) -> None:
    code, stdout, stderr = result_of(poller(folder, "invoke", "greet", "--payload", '{"name": "Zo"}'))
    assert (code, stderr) == (0, "")
    assert json.loads(stdout) == {
        "said": "Hello Zo",
        "arn": "arn:aws:lambda:eu-west-1:000000000000:function:greet",
    }
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {"handlers.py", "other.py", "poller.toml"}


def test_the_log_tail_goes_to_stderr(folder: Path) -> None:
    code, stdout, stderr = result_of(poller(folder, "invoke", "greet", "--payload", '{"name": "Zo"}', "--tail"))
    assert (code, json.loads(stdout)["said"]) == (0, "Hello Zo")
    assert "\ngreeting Zo\nEND RequestId: " in stderr


def test_a_function_that_fails_ends_the_command_with_1(folder: Path) -> None:
    code, stdout, _ = result_of(poller(folder, "invoke", "greet"))
    assert (code, json.loads(stdout)["errorType"]) == (1, "KeyError")


def test_a_function_that_is_not_in_the_file_is_named(folder: Path) -> None:
    assert result_of(poller(folder, "invoke", "gret")) == (
        1,
        "",
        "poller: Function not found: arn:aws:lambda:eu-west-1:000000000000:function:gret:$LATEST\n",
    )


def test_a_sample_is_the_event(folder: Path) -> None:
    assert result_of(poller(folder, "invoke", "bucket", "--sample", "s3-put"))[:2] == (0, '"sourcebucket"\n')


def test_without_a_file_of_events_no_event_is_stored(folder: Path) -> None:
    (folder / "poller.toml").write_text(f'[daemon]\nregion = "eu-west-1"\nstate = "memory:"\n{TEXT}')
    code, stdout, stderr = result_of(poller(folder, "invoke", "greet", "--event"))
    assert (code, stdout) == (1, "")
    assert "event_queue names no file" in stderr


@pytest.mark.anyio
async def test_an_event_waits_for_the_next_daemon(world: World) -> None:
    (world.folder / "handlers.py").write_text(HANDLERS)
    text = f'event_queue = "sqlite://events.db"\n{TEXT}'
    world.write(text)
    arguments = ("invoke", "greet", "--payload", '{"name": "Zo"}', "--event")
    code, stdout, stderr = result_of(await anyio.to_thread.run_sync(lambda: poller(world.folder, *arguments)))
    assert (code, stderr) == (0, "")
    async with world.daemon(text) as daemon:
        await daemon.until_logged("child_process_output", line="greeting Zo", request_id=stdout.strip())
        assert await daemon.stop() == 0
