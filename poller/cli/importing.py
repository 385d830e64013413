"""What does `poller import` do? It reads the event source mappings of AWS Lambda, and prints a settings file.

    account.py asks AWS ──> settings/importing.py writes the file ──> stdout; warnings and the progress go to stderr

It changes nothing on AWS.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.console import Console

from poller.cli.as_json import AsJson, print_json
from poller.cli.ending import exit_at_once_on_ctrl_c, refused, warn
from poller.errors import PollerError, SettingsError
from poller.settings.fields import checked_url
from poller.settings.importing import Account, Imported, imported
from poller.settings.loading import examine

OF_IMPORTS = "Exit codes: 0 success, 1 AWS could not be read, 2 a faulty command line or configuration of AWS."


def import_mappings(
    region: Annotated[str, typer.Option(envvar="AWS_DEFAULT_REGION", help="The region of the mappings.")],
    function: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only mappings of this function: its name or ARN.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only mappings with this tag; may be repeated.")
    ] = None,
    endpoint_url: Annotated[str | None, typer.Option(metavar="URL", help="An emulator in place of AWS.")] = None,
    as_json: AsJson = False,
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
    from poller.cli.account import understood

    try:
        status = Console(stderr=True).status("Reading the event source mappings")
        with status, exit_at_once_on_ctrl_c(status.stop):
            account, warnings = anyio.run(_read, region, function, tags, endpoint_url, status.update)
        with understood():
            found = imported(account)
    except PollerError as error:
        raise refused(str(error), code=2 if isinstance(error, SettingsError) else 1) from None
    if not account.mappings:
        raise refused(f"there is no such event source mapping in {region}", code=1)
    warn([*warnings, *_faults(found.toml)])
    if as_json:
        print_json(_for_programs(found))
    else:
        typer.echo(found.toml, nl=False)


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


def _for_programs(found: Imported) -> dict[str, Any]:
    return {
        "settings": tomllib.loads(found.toml),
        "differences": found.differences,
        "plan": {name: text.split("\n") for name, text in found.plan.items()},
        "not_imported": [mapping.get("UUID") for mapping in found.not_imported],
    }


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
    region: str,
    function: str | None,
    tags: Mapping[str, str],
    endpoint_url: str | None,
    show: Callable[[str], None],
) -> tuple[Account, list[str]]:
    from poller.aws.clients import Aws, AwsSettings
    from poller.cli.account import read_account

    async with Aws(AwsSettings(region=region, endpoint_url=endpoint_url)) as aws:
        return await read_account(aws, region, function, tags, show)
