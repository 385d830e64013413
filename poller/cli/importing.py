"""What does `poller import` do? It reads the event source mappings of AWS Lambda, and prints a settings file.

    ListEventSourceMappings ──> for each function: its configuration, event settings and concurrency  ──> importing.py
                            └──> for each queue: its visibility timeout

It changes nothing on AWS. What it may not read is left out, and a warning on stderr says so.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer
from rich.console import Console

from poller.cli.ending import EXIT_CODES, exit_on_failure, refused, warn
from poller.errors import NotFound, ServiceError, SettingsError, Unreachable
from poller.model.arn import Arn, queue_url
from poller.settings.fields import checked_url
from poller.settings.importing import Account, LambdaFunction, imported
from poller.settings.loading import examine

if TYPE_CHECKING:
    from poller.aws.clients import Aws

OF_IMPORTS = EXIT_CODES.replace("the daemon or the demo failed", "AWS could not be read")


def import_mappings(
    region: Annotated[str, typer.Option(help="The region of the mappings.")],
    function: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only mappings of this function: its name or ARN.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only mappings with this tag; may be repeated.")
    ] = None,
    endpoint_url: Annotated[str | None, typer.Option(metavar="URL", help="An emulator in place of AWS.")] = None,
) -> None:
    """Print a settings file for event source mappings that run on AWS Lambda, and a plan to take them over.

    Example: `poller import --region eu-west-1 > poller.toml`

    Example: `poller import --region eu-west-1 --function insert_records --tag team=signup`

    The functions stay on Lambda, and every mapping is disabled in the file until you enable it. Nothing changes on AWS.

    It needs lambda:ListEventSourceMappings, lambda:GetFunctionConfiguration, lambda:GetFunctionEventInvokeConfig,
    lambda:GetFunctionConcurrency and sqs:GetQueueAttributes; with --tag also lambda:ListTags.
    """
    tags = dict(_tag(text) for text in tag or ())
    if endpoint_url is not None:
        _check_endpoint(endpoint_url)
    with exit_on_failure(Path("poller.toml")):
        account, warnings = anyio.run(_read, region, function, tags, endpoint_url)
    if not account.mappings:
        raise refused(f"there is no such event source mapping in {region}", code=1)
    warn(warnings)
    with exit_on_failure(Path("poller.toml")), _understood():
        text = imported(account)
    warn(_faults(text))
    typer.echo(text, nl=False)


def _tag(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise refused(f"--tag {text}: must be KEY=VALUE", code=2)
    return key, value


def _check_endpoint(url: str) -> None:
    try:
        checked_url(url)
    except ValueError as error:  # the message does not show the url, because it may have a password
        raise refused(f"--endpoint-url: {error}", code=2) from None


@contextmanager
def _understood() -> Iterator[None]:
    """Turn the error that an answer of an unexpected shape causes into a ServiceError."""
    from poller.aws.errors import UNREADABLE

    try:
        yield
    except UNREADABLE as error:
        raise Unreachable("an answer of AWS cannot be read", code="UnusableAnswer", was_sent=True) from error


def _faults(text: str) -> Sequence[str]:
    """Return the faults of the printed file: some settings of AWS need a decision of a person."""
    with tempfile.TemporaryDirectory(prefix="poller-import-") as folder:
        file = Path(folder) / "poller.toml"
        file.write_bytes(text.encode())
        try:
            examine(file, os.environ)
        except SettingsError as error:
            return error.faults
    return []


async def _read(
    region: str, function: str | None, tags: Mapping[str, str], endpoint_url: str | None
) -> tuple[Account, list[str]]:
    """Return what AWS tells, and warnings about what it does not tell. Raises ServiceError if it lists no mappings."""
    from poller.aws.clients import Aws, AwsSettings

    with Console(stderr=True).status("Reading the event source mappings") as status:
        async with Aws(AwsSettings(region=region, endpoint_url=endpoint_url)) as aws:
            reader = _Reader(aws, region)
            mappings = await reader.mappings(function, tags)
            functions = sorted({str(mapping.get("FunctionArn")) for mapping in mappings})
            described = {}
            for number, arn in enumerate(functions, start=1):
                status.update(f"Reading function {number} of {len(functions)}")
                if (found := await reader.function(arn)) is not None:
                    described[arn] = found
            status.update("Reading the queues")
            timeouts = await reader.visibility_timeouts(mappings)
            account = Account(region=region, mappings=mappings, functions=described, visibility_timeouts=timeouts)
            return account, reader.warnings


class _Reader:
    """Reads one region of an account. `warnings` has a sentence for each thing that could not be read."""

    def __init__(self, aws: Aws, region: str) -> None:
        self._aws = aws
        self._region = region
        self.warnings: list[str] = []

    async def mappings(self, function: str | None, tags: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the mappings with all these tags, in the order in which AWS lists them."""
        which = {} if function is None else {"FunctionName": function}
        with _understood():
            return await self._mappings(which, tags)

    async def _mappings(self, which: Mapping[str, str], tags: Mapping[str, str]) -> list[dict[str, Any]]:
        async with self._aws.client("lambda", region=self._region) as client:
            pages = client.get_paginator("list_event_source_mappings").paginate(**which)
            listed = [mapping async for page in pages for mapping in page["EventSourceMappings"]]
            return [
                await self._with_filters(client, mapping)
                for mapping in listed
                if not tags or tags.items() <= (await self._tags(client, mapping)).items()
            ]

    async def function(self, arn: str) -> LambdaFunction | None:
        """Return the function, or None if it may not be described or does not exist any more."""
        asked = _function_and_qualifier(arn)
        try:
            configuration = await self._ask("get_function_configuration", **asked)
        except ServiceError as error:
            self.warnings.append(f"the function {arn} is not described: {error}")
            return None
        events = concurrency = None
        try:
            with suppress(NotFound):
                events = await self._ask("get_function_event_invoke_config", **asked)
            concurrency = await self._ask("get_function_concurrency", FunctionName=asked["FunctionName"])
        except ServiceError as error:
            self.warnings.append(f"the settings of {arn} are not complete: {error}")
        return LambdaFunction(
            configuration=configuration,
            events=events,
            reserved_concurrency=(concurrency or {}).get("ReservedConcurrentExecutions"),
        )

    async def visibility_timeouts(self, mappings: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Return the visibility timeout of each source that is a queue and can be read, in seconds."""
        queues = sorted({arn for mapping in mappings if ":sqs:" in (arn := mapping.get("EventSourceArn") or "")})
        found = {}
        for arn in queues:
            try:
                with _understood():
                    found[arn] = await self._visibility_timeout(arn)
            except ServiceError as error:
                self.warnings.append(f"the queue {arn} is not described: {error}")
        return found

    async def _ask(self, operation: str, **parameters: str) -> dict[str, Any]:
        with _understood():
            async with self._aws.client("lambda", region=self._region) as client:
                answer: dict[str, Any] = await getattr(client, operation)(**parameters)
                return answer

    async def _visibility_timeout(self, queue: str) -> int:
        async with self._aws.client("sqs", region=self._region) as client:
            url = queue_url(client.meta.endpoint_url, Arn.parse(queue))
            answer = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
            return int(answer["Attributes"]["VisibilityTimeout"])

    async def _tags(self, client: Any, mapping: Mapping[str, Any]) -> dict[str, str]:
        answer = await client.list_tags(Resource=mapping["EventSourceMappingArn"])
        tags: dict[str, str] = answer.get("Tags") or {}
        return tags

    async def _with_filters(self, client: Any, mapping: dict[str, Any]) -> dict[str, Any]:
        """Return the mapping with its filters. A list shows no filters that are encrypted with a key of one's own."""
        if mapping.get("KMSKeyArn") and not mapping.get("FilterCriteria"):
            answer = await client.get_event_source_mapping(UUID=mapping["UUID"])
            return mapping | {"FilterCriteria": answer.get("FilterCriteria")}
        return mapping


def _function_and_qualifier(arn: str) -> dict[str, str]:
    parts = arn.split(":")
    asked = {"FunctionName": ":".join(parts[:7])}
    return asked | {"Qualifier": parts[7]} if len(parts) > 7 else asked
