"""Does the region exist, and is it in the partition that the ARN names?

    partition     regions
    aws           all others that look like a region: eu-west-1
    aws-cn        cn-north-1, cn-northwest-1
    aws-us-gov    us-gov-east-1, us-gov-west-1
    …

Emulators invent regions, so nothing is checked if the file or the environment sets an endpoint.
A region that AWS adds to a known partition is accepted.

Source: botocore, data/partitions.json, `regionRegex` of each partition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from poller.model.arn import Arn
from poller.settings.faults import Fault
from poller.settings.file import File
from poller.settings.mappings import MappingTable
from poller.settings.tree import Path

_PREFIXES = {
    "aws-cn": "cn-",
    "aws-us-gov": "us-gov-",
    "aws-eusc": "eusc-de-",
    "aws-iso": "us-iso-",
    "aws-iso-b": "us-isob-",
    "aws-iso-e": "eu-isoe-",
    "aws-iso-f": "us-isof-",
}
"""The prefixes of the regions of each partition except `aws`."""

_PARTITIONS = ("aws", *_PREFIXES)
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]+")

NO_REGION = "there is no such region; a region is written as in eu-west-1 (with an endpoint_url, any name is taken)"
NO_PARTITION = f"there is no such partition; there are {', '.join(_PARTITIONS)}"


def region_rules(file: File, environ: Mapping[str, str]) -> Iterator[Fault]:
    daemon = file.daemon
    if daemon.endpoint_url or daemon.endpoints or any(name.startswith("AWS_ENDPOINT_URL") for name in environ):
        return
    endpoints: tuple[Path, ...] = (("daemon", "endpoint_url"), ("daemon", "endpoints"))
    for fault in _rules(file):
        yield fault._replace(needs=(*fault.needs, *endpoints))


def _rules(file: File) -> Iterator[Fault]:
    yield from _name_rules(("daemon", "region"), file.daemon.region)
    for name, function in file.functions.items():
        if function.arn is not None:
            yield from _arn_rules(("functions", name, "arn"), function.arn)
    for name, mapping in file.mappings.items():
        yield from _mapping_rules(("mappings", name), mapping)


def _mapping_rules(path: Path, table: MappingTable) -> Iterator[Fault]:
    """The role reads the source and reports to the destination, so all three are in one partition."""
    yield from _name_rules((*path, "region"), table.region)
    function, source = _arn_in(table.function_name), table.event_source_arn
    if function is not None and function.service == "lambda":
        yield from _arn_rules((*path, "function_name"), function)
    if source is None:
        return
    if faults := list(_arn_rules((*path, "event_source_arn"), source)):
        yield from faults
        return
    role, destination = _arn_in(table.role_arn), table.destination_config.on_failure.destination_arn
    for its_path, arn in (
        ((*path, "role_arn"), role),
        ((*path, "destination_config", "on_failure", "destination_arn"), destination),
    ):
        if arn is not None and arn.partition != source.partition:
            yield Fault(its_path, f"must be in the partition of event_source_arn, {source.partition}")
        elif arn is not None:
            yield from _arn_rules(its_path, arn)


def _name_rules(path: Path, region: str | None) -> Iterator[Fault]:
    if region is not None and _partition_of(region) is None:
        yield Fault(path, NO_REGION)


def _arn_rules(path: Path, arn: Arn) -> Iterator[Fault]:
    if arn.partition not in _PARTITIONS:
        yield Fault(path, NO_PARTITION)
    elif arn.region and (partition := _partition_of(arn.region)) != arn.partition:
        yield Fault(path, NO_REGION if partition is None else f"its region is in the partition {partition}")


def _partition_of(region: str) -> str | None:
    """None if no partition can have such a region."""
    if not _REGION.fullmatch(region):
        return None
    return next((partition for partition, prefix in _PREFIXES.items() if region.startswith(prefix)), "aws")


def _arn_in(text: str | None) -> Arn | None:
    try:
        return Arn.parse(text or "")
    except ValueError:
        return None
