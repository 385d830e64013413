"""May the functions on AWS Lambda be invoked, and how long do they run?

    Invoke                      with InvocationType=DryRun, which checks the permission and runs nothing
    GetFunctionConfiguration    the function's own timeout; the daemon works without this permission

Source: AWS Lambda API Reference, "Invoke", "GetFunctionConfiguration".
"""

from __future__ import annotations

from functools import partial

from poller.aws.clients import Aws
from poller.aws.kept_client import KeptClient
from poller.core.finding import Finding
from poller.errors import PollerError
from poller.live_checks.rows import ANSWER_TIMEOUT_IN_SECONDS, Row, unless_denied
from poller.model.function import Function, LambdaApi


async def function_on_lambda(function: Function, kind: LambdaApi, aws: Aws) -> list[Row]:
    row = partial(Row, f"functions.{function.name}", str(function.arn))
    async with KeptClient(lambda: aws.client("lambda", region=kind.region)) as client:
        return [
            row("Invoke (DryRun)", await dry_run(client, kind.name, kind.qualifier)),
            row("Timeout", await _timeout(client, kind, function.timeout_in_seconds)),
        ]


async def dry_run(client: KeptClient, name: str, qualifier: str | None) -> Finding:
    which = {"FunctionName": name} | ({} if qualifier is None else {"Qualifier": qualifier})
    try:
        await client.call("invoke", timeout_in_seconds=ANSWER_TIMEOUT_IN_SECONDS, InvocationType="DryRun", **which)
    except PollerError as error:
        return Finding(f"cannot be invoked: {error}", is_fault=True)
    return Finding("exists, and may be invoked")


async def _timeout(client: KeptClient, kind: LambdaApi, timeout_in_seconds: float) -> Finding:
    which = {"FunctionName": kind.name} | ({} if kind.qualifier is None else {"Qualifier": kind.qualifier})
    try:
        answer = await client.call("get_function_configuration", timeout_in_seconds=ANSWER_TIMEOUT_IN_SECONDS, **which)
    except PollerError as error:
        return unless_denied(error, "lambda:InvokeFunction")
    on_lambda = answer.get("Timeout")
    if on_lambda is not None and on_lambda > timeout_in_seconds:
        text = (
            f"runs for up to {on_lambda} s on Lambda, but timeout_in_seconds is {timeout_in_seconds:g}: the daemon "
            "gives up before the function ends, and repeats its batch"
        )
        return Finding(text, is_advice=True)
    return Finding(f"runs for up to {on_lambda} s on Lambda")
