"""What does `poller invoke` do? It calls a function through the running daemon, like `aws lambda invoke`.

    control socket (daemon.py) ── Lambda's Invoke API ──> the daemon

If no daemon listens on that socket, this process calls the function itself (`single_call.py`), with the same request.
The answer goes to stdout, and the log tail to stderr.
"""

from __future__ import annotations

import base64
import http.client
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from poller.cli.as_json import AsJson, parsed, print_json
from poller.cli.daemon import ControlConnection, socket_of
from poller.cli.ending import Config, examined, exit_on_failure, refused
from poller.cli.samples import sample, sample_names
from poller.lambda_api.exchange import Answer, Request

FUNCTION_ERROR = "X-Amz-Function-Error"
"""The header that an answer has if the function failed."""

OF_INVOCATIONS = (
    "Exit codes: 0 success, 1 the function failed or could not be called, 2 faulty settings or a faulty command line."
)


def invoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The function: its name or ARN.")],
    config: Config = Path("poller.toml"),
    payload: Annotated[
        str | None,
        typer.Option(metavar="JSON|@FILE", help="The event as JSON, or @ and a file with it; {} by default."),
    ] = None,
    sample_name: Annotated[
        str | None,
        typer.Option("--sample", metavar="SAMPLE", help=f"A sample as the event: {', '.join(sample_names())}."),
    ] = None,
    event: Annotated[
        bool, typer.Option("--event", help="Store an asynchronous event; do not wait for an answer.")
    ] = False,
    tail: Annotated[bool, typer.Option("--tail", help="Show the end of the function's log, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Call a function, and print its answer.

    Example: `poller invoke insert_records --payload @event.json --tail`

    Example: `poller invoke process_csv --sample s3-put`

    The running daemon calls the function. If none runs, this command starts only this function, and stops it again.

    With `--event` it prints the request id of the stored event. Without a daemon, the event waits for the next one.
    """
    body = _event(payload, sample_name)
    headers = {"X-Amz-Invocation-Type": "Event" if event else "RequestResponse"}
    if tail and not event:
        headers["X-Amz-Log-Type"] = "Tail"
    answer = answer_to(config, name, body, headers)
    request_id, log = answer.headers["X-Amzn-RequestId"], log_of(answer)
    if as_json:
        print_json(
            {
                "function": name,
                "request_id": request_id,
                "function_error": answer.headers.get(FUNCTION_ERROR),
                "answer": None if event else parsed(answer.body),
                "log": log,
            }
        )
    else:
        if log is not None:
            typer.echo(log, nl=False, err=True)
        typer.echo(request_id if event else answer.body)
    if FUNCTION_ERROR in answer.headers:
        raise typer.Exit(1)


def log_of(answer: Answer) -> str | None:
    """Return the end of the function's log, or None if the answer has none."""
    log = answer.headers.get("X-Amz-Log-Result")
    return None if log is None else base64.b64decode(log).decode(errors="replace")


def answer_to(config: Path, name: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Return the function's answer to a call with this event. Ends the program if the answer is an error of the API.

    The running daemon calls the function. If no daemon runs, this process does.
    """
    return _answer_of_daemon(socket_of(config), name, body, headers) or _answer_without_daemon(
        config, name, body, headers
    )


def _event(payload: str | None, sample_name: str | None) -> bytes:
    if payload is not None and sample_name is not None:
        raise refused("--payload and --sample exclude each other", code=2)
    if sample_name is not None:
        try:
            return sample(sample_name)
        except KeyError as error:
            raise refused(error.args[0], code=2) from None
    if payload is None or not payload.startswith("@"):
        return (payload or "{}").encode()
    try:
        return sys.stdin.buffer.read() if payload == "@-" else Path(payload[1:]).read_bytes()
    except OSError as error:
        raise refused(f"{payload[1:]}: {error.strerror}", code=2) from None


def _answer_of_daemon(path: Path, name: str, body: bytes, headers: Mapping[str, str]) -> Answer | None:
    """Return the daemon's answer to Invoke; None if no daemon listens. Ends the program if the answer is an error."""
    connection = ControlConnection(path)
    try:
        connection.request("POST", f"/2015-03-31/functions/{quote(name, safe='')}/invocations", body, dict(headers))
        reply = connection.getresponse()
        answer = Answer(status=reply.status, body=reply.read(), headers=dict(reply.headers))
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except (http.client.HTTPException, OSError):
        raise refused("the daemon ended before it answered", code=1) from None
    finally:
        connection.close()
    if answer.status >= 300:
        raise refused(_message(answer.body), code=1)
    return answer


def _answer_without_daemon(config: Path, name: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Call the function in this process, and return the answer. Ends the program if the answer is an error."""
    settings = examined(config, prints_warnings=False).settings  # the warnings are for the daemon
    from poller.composition.mappings import new_request_id
    from poller.single_call import answered

    request = Request(
        method="POST",
        segments=("2015-03-31", "functions", name, "invocations"),
        headers={header.lower(): value for header, value in headers.items()},
        body=body,
        request_id=new_request_id(),
    )
    with exit_on_failure(config):
        answer = answered(request, settings, settings_path=config)
    return Answer(body=answer.body, headers={**answer.headers, "X-Amzn-RequestId": request.request_id})


def _message(answer: bytes) -> str:
    document = json.loads(answer)
    return str(document.get("message") or document.get("Message") or document.get("error"))
