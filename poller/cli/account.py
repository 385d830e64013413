"""What does AWS tell about the event source mappings of one region? `read_account` asks for what an import needs.

    ListEventSourceMappings ──> for each function: its configuration, event settings and concurrency
                            └──> for each queue: its visibility timeout

The requests follow each other. More at once would not help: AWS Lambda answers 15 such requests of an account a second,
and other programs need some of them.

    a throttled request    is sent again after a pause, up to `TRIES` times
    a refused request      its part is left out, and a warning says so; without the list, the reading fails
    no answer              the reading fails, because hundreds of functions would each wait as long

Source: AWS Lambda Developer Guide, "Lambda quotas", API requests.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any

import anyio

from poller.aws.clients import Aws
from poller.aws.errors import UNREADABLE, translated
from poller.core.backoff import IMPORT, at_least
from poller.errors import NotFound, PollerError, ServiceError, Throttled, Unreachable
from poller.model.arn import Arn, queue_url
from poller.settings.importing import Account, LambdaFunction

PATIENCE_IN_SECONDS = 60.0
"""How long a request and its repetitions by the client may take. The client gives up an attempt after 30 seconds."""

TRIES = 8
"""How often a throttled request is sent. With the pauses, the last one is sent after about a minute."""


class NoAnswer(PollerError):
    """AWS has not answered a request in time. It ends the import."""


async def read_account(
    aws: Aws, region: str, function: str | None, tags: Mapping[str, str], show: Callable[[str], None]
) -> tuple[Account, list[str]]:
    """Return what AWS tells, and a warning for each thing that it does not tell.

    Only the mappings of `function` and with all `tags` are read. `show` gets a line about the progress.
    Raises ServiceError if AWS lists no mappings, and NoAnswer.
    """
    async with AsyncExitStack() as clients:
        with _patience("the credentials"):
            lambda_client = await clients.enter_async_context(aws.client("lambda", region=region))
            sqs = await clients.enter_async_context(aws.client("sqs", region=region))
        reader = _Reader(lambda_client, sqs, show)
        mappings = await reader.mappings(function, tags)
        arns = sorted({str(mapping.get("FunctionArn")) for mapping in mappings})
        described = {}
        for number, arn in enumerate(arns, start=1):
            show(f"Reading function {number} of {len(arns)}")
            if (found := await reader.function(arn)) is not None:
                described[arn] = found
        account = Account(
            region=region,
            mappings=mappings,
            functions=described,
            visibility_timeouts=await reader.visibility_timeouts(mappings),
        )
        return account, reader.warnings


class _Reader:
    """Reads one region of an account. `warnings` has a sentence for each thing that could not be read."""

    def __init__(self, lambda_client: Any, sqs: Any, show: Callable[[str], None]) -> None:
        self._lambda = lambda_client
        self._sqs = sqs
        self._show = show
        self.warnings: list[str] = []

    async def mappings(self, function: str | None, tags: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the mappings with all these tags, in the order in which AWS lists them."""
        listed = await self._listed({} if function is None else {"FunctionName": function})
        if tags:
            found = []
            for number, mapping in enumerate(listed, start=1):
                self._show(f"Reading the tags of mapping {number} of {len(listed)}")
                if tags.items() <= (await self._tags(mapping)).items():
                    found.append(mapping)
            listed = found
        return [await self._with_filters(mapping) for mapping in listed]

    async def function(self, arn: str) -> LambdaFunction | None:
        """Return the function, or None if it may not be described or does not exist any more."""
        asked = _function_and_qualifier(arn)
        try:
            configuration = await self._ask(self._lambda.get_function_configuration, **asked)
        except ServiceError as error:
            self.warnings.append(f"the function {arn} is not described: {error}")
            return None
        events = concurrency = None
        try:
            with suppress(NotFound):
                events = await self._ask(self._lambda.get_function_event_invoke_config, **asked)
            concurrency = await self._ask(self._lambda.get_function_concurrency, FunctionName=asked["FunctionName"])
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
        for number, arn in enumerate(queues, start=1):
            self._show(f"Reading queue {number} of {len(queues)}")
            try:
                found[arn] = await self._visibility_timeout(arn)
            except ServiceError as error:
                self.warnings.append(f"the queue {arn} is not described: {error}")
        return found

    async def _listed(self, which: Mapping[str, str]) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = []
        marker: str | None = None
        while True:
            page = await self._ask(
                self._lambda.list_event_source_mappings, **which, **({} if marker is None else {"Marker": marker})
            )
            with understood():
                listed += page["EventSourceMappings"]
                marker, before = page.get("NextMarker"), marker
                if marker == before is not None:
                    raise ValueError("the list repeats a page")
            if not marker:
                return listed
            self._show(f"Reading the event source mappings: {len(listed)}")

    async def _visibility_timeout(self, queue: str) -> int:
        with understood():
            url = queue_url(self._sqs.meta.endpoint_url, Arn.parse(queue))
        answer = await self._ask(self._sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["VisibilityTimeout"])
        with understood():
            return int(answer["Attributes"]["VisibilityTimeout"])

    async def _tags(self, mapping: Mapping[str, Any]) -> dict[str, str]:
        with understood():
            arn = mapping["EventSourceMappingArn"]
        answer = await self._ask(self._lambda.list_tags, Resource=arn)
        tags: dict[str, str] = answer.get("Tags") or {}
        return tags

    async def _with_filters(self, mapping: dict[str, Any]) -> dict[str, Any]:
        """Return the mapping with its filters. A list omits filters that are encrypted with a customer managed key."""
        if mapping.get("KMSKeyArn") and not mapping.get("FilterCriteria"):
            answer = await self._ask(self._lambda.get_event_source_mapping, UUID=mapping["UUID"])
            return mapping | {"FilterCriteria": answer.get("FilterCriteria")}
        return mapping

    async def _ask(self, operation: Callable[..., Any], **parameters: Any) -> dict[str, Any]:
        """Return the answer of AWS. Sends a throttled request again. Raises ServiceError, and NoAnswer."""
        for failures in range(1, TRIES):
            try:
                return await _answer(operation, parameters)
            except Throttled as error:
                pause = at_least(error.retry_after, IMPORT.delay(failures, random.Random()))
                self._show(f"AWS throttles the requests; the next one follows in {pause:.0f} s")
                await anyio.sleep(pause)
        return await _answer(operation, parameters)


async def _answer(operation: Callable[..., Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    with _patience(operation.__name__), translated(), understood():
        answer: dict[str, Any] = await operation(**parameters)
        return answer


@contextmanager
def _patience(what: str) -> Iterator[None]:
    try:
        with anyio.fail_after(PATIENCE_IN_SECONDS):
            yield
    except TimeoutError:
        raise NoAnswer(f"AWS has not answered within {PATIENCE_IN_SECONDS:.0f} seconds: {what}") from None


@contextmanager
def understood() -> Iterator[None]:
    """Turn the error that an answer of an unexpected shape causes into a ServiceError."""
    try:
        yield
    except UNREADABLE as error:
        raise Unreachable("an answer of AWS cannot be read", code="UnusableAnswer", was_sent=True) from error


def _function_and_qualifier(arn: str) -> dict[str, str]:
    parts = arn.split(":")
    asked = {"FunctionName": ":".join(parts[:7])}
    return asked | {"Qualifier": parts[7]} if len(parts) > 7 else asked
