"""Do AWS's command line and its SDK for Node call a running daemon, and do the commands of the README run as printed?

boto3's client is in test_api.py and in tests/unit/lambda_api.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from tests.aws_cli import aws_cli, aws_cli_2
from tests.e2e.harness import ROOT, Daemon, World, environment
from tests.node import installed, node

pytestmark = pytest.mark.anyio

NODE_SDK = ("@aws-sdk/client-lambda", "3.1164.0")

HANDLERS = """
def greet(event, context):
    print("greeting", event["name"])
    custom = context.client_context and context.client_context.custom
    return {"said": "Hello " + event["name"], "arn": context.invoked_function_arn, "custom": custom}
"""
API = """
event_queue = "sqlite://events.db"
api_listen = "127.0.0.1:0"
api_keys = { AKID = "secret" }
[functions.greet]
handler = "handlers:greet"
timeout_in_seconds = 7
"""
KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-west-1"}
ARN = "arn:aws:lambda:eu-west-1:000000000000:function:greet"
CONTEXT = base64.b64encode(b'{"custom": {"user": "Zo"}}').decode()


async def address_of(daemon: Daemon) -> str:
    return str((await daemon.until_logged("daemon_started"))["api"])


async def ran(command: Sequence[str | Path], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a client to its end."""

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=folder,
            env=environment(None, **variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return await anyio.to_thread.run_sync(run)


async def test_awss_command_line_calls_and_describes_a_function(world: World) -> None:
    (world.folder / "handlers.py").write_text(HANDLERS)
    (world.folder / "event.json").write_text('{"name": "Zo"}')
    aws = aws_cli(world.folder) / "aws"
    async with world.daemon(API) as daemon:
        url = f"http://{await address_of(daemon)}"

        async def output_of(command: str, *options: str, code: int = 0, **variables: str) -> str:
            """Run `aws lambda` and return what it prints: the answer, or the error message if it fails."""
            line = [str(aws), "lambda", command, "--endpoint-url", url, "--output", "json", *options]
            done = await ran(line, world.folder, **{**KEYS, **variables})
            assert done.returncode == code, done.stderr
            return done.stderr if code else done.stdout

        async def invoked(*options: str, name: str = "greet") -> tuple[dict[str, Any], str]:
            """Return what the command prints, and the answer of the function."""
            answer = world.folder / "answer.json"
            answer.unlink(missing_ok=True)
            printed = await output_of("invoke", "--function-name", name, *options, str(answer))
            return json.loads(printed), answer.read_text()

        payload = ("--payload", "fileb://event.json")
        printed, answer = await invoked(*payload, "--client-context", CONTEXT, "--log-type", "Tail")
        assert json.loads(answer) == {"said": "Hello Zo", "arn": ARN, "custom": {"user": "Zo"}}
        assert b"greeting Zo" in base64.b64decode(printed.pop("LogResult"))
        assert printed == {"StatusCode": 200, "ExecutedVersion": "$LATEST"}

        printed, answer = await invoked()
        assert (printed["FunctionError"], json.loads(answer)["errorType"]) == ("Unhandled", "KeyError")

        printed, answer = await invoked(*payload, "--qualifier", "$LATEST", name=ARN)
        assert json.loads(answer)["arn"] == f"{ARN}:$LATEST"

        assert await invoked(*payload, "--invocation-type", "DryRun") == ({"StatusCode": 204}, "")
        before = len(daemon.logged("child_process_output", line="greeting Zo"))
        assert await invoked(*payload, "--invocation-type", "Event") == ({"StatusCode": 202}, "")
        await world.watch.until(lambda: len(daemon.logged("child_process_output", line="greeting Zo")) > before)

        [listed] = json.loads(await output_of("list-functions"))["Functions"]
        got = json.loads(await output_of("get-function", "--function-name", "greet"))["Configuration"]
        for described in (listed, got):
            assert (described["FunctionName"], described["FunctionArn"], described["Timeout"]) == ("greet", ARN, 7)

        missing = await output_of("get-function", "--function-name", "other", code=255)
        assert "(ResourceNotFoundException)" in missing
        assert f"Function not found: {ARN.replace('greet', 'other')}" in missing
        forged = await output_of("list-functions", code=255, AWS_SECRET_ACCESS_KEY="forged")
        assert "(InvalidSignatureException)" in forged
        assert await daemon.stop() == 0


NODE_CLIENT = """
const { LambdaClient, InvokeCommand, InvokeWithResponseStreamCommand, GetFunctionCommand, ListFunctionsCommand } =
  require("@aws-sdk/client-lambda");
const [url, context] = process.argv.slice(2);
const client = new LambdaClient({ region: "eu-west-1", endpoint: url, maxAttempts: 1 });
const text = (bytes) => new TextDecoder().decode(bytes);
const Payload = JSON.stringify({ name: "Zo" });

async function invoke(options) {
  const answer = await client.send(new InvokeCommand({ FunctionName: "greet", ...options }));
  return { status: answer.StatusCode, error: answer.FunctionError, version: answer.ExecutedVersion,
           log: answer.LogResult, payload: text(answer.Payload ?? new Uint8Array()) };
}

async function streamed() {
  const answer = await client.send(new InvokeWithResponseStreamCommand({ FunctionName: "greet", Payload }));
  let payload = "";
  for await (const event of answer.EventStream) {
    if (event.PayloadChunk) payload += text(event.PayloadChunk.Payload);
  }
  return payload;
}

async function main() {
  console.log(JSON.stringify({
    call: await invoke({ Payload, ClientContext: context, LogType: "Tail" }),
    error: await invoke({}),
    event: await invoke({ Payload, InvocationType: "Event" }),
    dry: await invoke({ Payload, InvocationType: "DryRun" }),
    qualified: await invoke({ Payload, Qualifier: "$LATEST" }),
    streamed: await streamed(),
    listed: (await client.send(new ListFunctionsCommand({}))).Functions,
    got: (await client.send(new GetFunctionCommand({ FunctionName: "greet" }))).Configuration,
    missing: await client.send(new GetFunctionCommand({ FunctionName: "other" })).catch((error) => error.name),
  }));
}
main();
"""


async def test_awss_sdk_for_node_calls_and_describes_a_function(world: World) -> None:
    (world.folder / "handlers.py").write_text(HANDLERS)
    (world.folder / "client.cjs").write_text(NODE_CLIENT)
    packages = installed(*NODE_SDK).parents[1]
    async with world.daemon(API) as daemon:
        url = f"http://{await address_of(daemon)}"
        done = await ran((node(), "client.cjs", url, CONTEXT), world.folder, **KEYS, NODE_PATH=str(packages))
        assert done.returncode == 0, done.stderr
        output_of = json.loads(done.stdout)
        call = output_of["call"]
        assert (call["status"], call["version"]) == (200, "$LATEST")
        assert json.loads(call["payload"]) == {"said": "Hello Zo", "arn": ARN, "custom": {"user": "Zo"}}
        assert b"greeting Zo" in base64.b64decode(call["log"])
        assert (output_of["error"]["status"], output_of["error"]["error"]) == (200, "Unhandled")
        assert json.loads(output_of["error"]["payload"])["errorType"] == "KeyError"
        assert output_of["event"] == {"status": 202, "payload": ""}
        assert output_of["dry"] == {"status": 204, "payload": ""}
        assert json.loads(output_of["qualified"]["payload"])["arn"] == f"{ARN}:$LATEST"
        assert json.loads(output_of["streamed"])["said"] == "Hello Zo"
        assert [function["FunctionArn"] for function in output_of["listed"]] == [ARN]
        assert (output_of["got"]["FunctionName"], output_of["got"]["Timeout"]) == ("greet", 7)
        assert output_of["missing"] == "ResourceNotFoundException"
        assert await daemon.stop() == 0


SIGNUP = """
def insert_records(event, context):
    return len(event["Records"])

def process_csv(event, context):
    print("processing", event["file"])
"""


@pytest.mark.parametrize("aws", [aws_cli, aws_cli_2], ids=["version 1", "version 2"])
async def test_the_commands_of_the_readme_run_as_printed(world: World, aws: Callable[[Path], Path]) -> None:
    """Only the port differs, because another test may use the printed one."""
    chapters = (
        (ROOT / "README.md").read_text().partition("## Calling a function")[2].partition("## What it promises")[0]
    )
    fences = re.findall(r"^```(\w+)\n(.*?)^```$", chapters, flags=re.DOTALL | re.MULTILINE)
    [settings] = [text for language, text in fences if language == "toml"]
    commands = "".join(text for language, text in fences if language == "sh")
    settings += '[functions.insert_records]\nhandler = "signup:insert_records"\n'
    (world.folder / "signup.py").write_text(SIGNUP)
    world.state = f"sqlite://{world.folder}/state.db"
    async with world.daemon(settings.replace("[daemon]", "").replace(":9465", ":0")) as daemon:
        lines = commands.replace("127.0.0.1:9465", await address_of(daemon))
        path = os.pathsep.join([str(aws(world.folder)), str(Path(sys.executable).parent), os.environ["PATH"]])
        done = await ran(("sh", "-e", "-c", lines), world.folder, PATH=path)
        assert (done.returncode, done.stderr) == (0, "")
        assert '"StatusCode": 200' in done.stdout
        assert '"StatusCode": 202' in done.stdout
        assert (world.folder / "answer.json").read_text() == "0"
        await daemon.until_logged("child_process_output", line="processing users.csv")
        assert await daemon.stop() == 0
