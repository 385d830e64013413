"""Do AWS's clients call the functions of a running daemon?"""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import anyio.to_thread
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.e2e.harness import World, poller

pytestmark = pytest.mark.anyio

HANDLERS = """
def greet(event, context):
    print("greeting", event["name"])
    return {"said": "WORD " + event["name"], "arn": context.invoked_function_arn, "context": context.client_context}
"""
API = """
event_queue = "sqlite://events.db"
api_listen = "127.0.0.1:0"
api_keys = { AKID = "secret" }
[functions.greet]
handler = "handlers:greet"
"""


def client_of(address: str, *, secret: str = "secret") -> Any:
    return botocore.session.Session().create_client(
        "lambda",
        region_name="eu-west-1",
        endpoint_url=f"http://{address}",
        aws_access_key_id="AKID",
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


async def greeting(client: Any, **options: Any) -> dict[str, Any]:
    def ask() -> dict[str, Any]:
        answer = client.invoke(FunctionName="greet", Payload=b'{"name": "Zo"}', **options)
        return dict(answer) | {"Payload": answer["Payload"].read()}

    return await anyio.to_thread.run_sync(ask)


async def test_a_function_without_a_mapping_is_called_changed_and_called_again(world: World) -> None:
    handlers = world.folder / "handlers.py"
    handlers.write_text(HANDLERS)
    async with world.daemon(API) as daemon:
        address = (await daemon.until_logged("daemon_started"))["api"]
        client = client_of(address)
        first = await greeting(client, LogType="Tail")
        assert first["StatusCode"] == 200
        assert b'"said": "WORD Zo"' in first["Payload"]
        assert b'"context": null' in first["Payload"]
        assert b":function:greet" in first["Payload"]
        assert "LogResult" in first
        with pytest.raises(ClientError) as caught:
            await greeting(client_of(address, secret="wrong"))
        assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"

        accepted = await greeting(client, InvocationType="Event")
        assert (accepted["StatusCode"], accepted["Payload"]) == (202, b"")
        await daemon.until_logged("child_process_output", request_id=accepted["ResponseMetadata"]["RequestId"])

        handlers.write_text(HANDLERS.replace("WORD", "HELLO"))
        world.write(API + "timeout_in_seconds = 20\n")
        daemon.signal(signal.SIGHUP)
        await daemon.until_logged("reloaded")
        assert b'"said": "HELLO Zo"' in (await greeting(client))["Payload"]
        assert await daemon.stop() == 0
    assert daemon.logged("api_request_failed") == []


async def test_poller_invoke_calls_a_function_through_the_control_socket(world: World) -> None:
    (world.folder / "handlers.py").write_text(HANDLERS)
    (world.folder / "event.json").write_text('{"name": "Zo"}')
    async with world.daemon(API) as daemon:
        await daemon.until_logged("daemon_started")

        async def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
            return await anyio.to_thread.run_sync(lambda: poller(world.folder, "invoke", "greet", *arguments))

        called = await ran("--payload", "@event.json", "--tail")
        assert (called.returncode, json.loads(called.stdout)["said"]) == (0, "WORD Zo")
        assert "greeting Zo" in called.stderr
        failed = await ran("--payload", "{}")
        assert (failed.returncode, json.loads(failed.stdout)["errorType"]) == (1, "KeyError")
        stored = await ran("--payload", "@event.json", "--event")
        assert stored.returncode == 0
        await daemon.until_logged("child_process_output", request_id=stored.stdout.strip())
        assert (await ran("--payload", "{")).returncode == 1
        assert (await ran("--payload", "@missing.json")).returncode == 2
        assert await daemon.stop() == 0
