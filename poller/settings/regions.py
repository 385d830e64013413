"""Does a region exist, and is it in the partition that the ARN names?

    partition     regions
    aws           every name that has the form of a region and no prefix of another partition: eu-west-1
    aws-cn        cn-north-1, cn-northwest-1
    aws-us-gov    us-gov-east-1, us-gov-west-1
    …

Only the form and the prefix of the name are checked, so a region that AWS adds to a known partition is accepted.
Nothing is checked if the file or the environment sets an endpoint, because emulators invent regions.

Source: botocore, data/partitions.json, `regionRegex` of each partition.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from poller.model.arn import Arn
from poller.settings.event_rules import named_arns
from poller.settings.faults import Fault
from poller.settings.file import File
from poller.settings.mappings import MappingOptions
from poller.settings.reading import Entry
from poller.settings.table import Path

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
NO_PARTITION = f"there is no such partition; the partitions are {', '.join(_PARTITIONS)}"


def region_rules(file: File, environ: Mapping[str, str]) -> Iterator[Fault]:
    daemon = file.daemon
    if invents_regions(daemon.options.endpoint_url, daemon.options.endpoints, environ):
        return
    for fault in _rules(file):
        yield fault._replace(needs=(*fault.needs, daemon.at("endpoint_url"), daemon.at("endpoints")))


def invents_regions(endpoint_url: str | None, endpoints: Collection[str], environ: Mapping[str, str]) -> bool:
    """Return whether the file or the environment sets an endpoint, which may be an emulator with regions of its own."""
    return bool(endpoint_url or endpoints or any(name.startswith("AWS_ENDPOINT_URL") for name in environ))


def _rules(file: File) -> Iterator[Fault]:
    yield from _name_rules(file.daemon.at("region"), file.daemon.options.region)
    for function in file.functions.values():
        if function.options.arn is not None:
            yield from _arn_rules(function.at("arn"), function.options.arn)
        for path, arn in named_arns(function):
            yield from _arn_rules(path, arn)
    for mapping in file.mappings.values():
        yield from mapping_region_rules(mapping)


def mapping_region_rules(mapping: Entry[MappingOptions]) -> Iterator[Fault]:
    """Yield the faults in the regions and partitions of one mapping.

    The role reads the source and reports to the destination, so all three must be in one partition.
    """
    options = mapping.options
    yield from _name_rules(mapping.at("region"), options.region)
    function, source = _arn_in(options.function_name), options.event_source_arn
    if function is not None and function.service == "lambda":
        yield from _arn_rules(mapping.at("function_name"), function)
    if source is None:
        return
    if faults := list(_arn_rules(mapping.at("event_source_arn"), source)):
        yield from faults
        return
    on_failure = options.destination_config.on_failure
    for path, arn in (
        (mapping.at("role_arn"), _arn_in(options.role_arn)),
        (
            mapping.at("destination_config", "on_failure", "destination_arn"),
            None if on_failure is None else on_failure.destination_arn,
        ),
    ):
        if arn is not None and arn.partition != source.partition:
            yield Fault(path, f"must be in the partition of the source, {source.partition}")
        elif arn is not None:
            yield from _arn_rules(path, arn)


def _name_rules(path: Path, region: str | None) -> Iterator[Fault]:
    if region is not None and partition_of(region) is None:
        yield Fault(path, NO_REGION)


def _arn_rules(path: Path, arn: Arn) -> Iterator[Fault]:
    if arn.partition not in _PARTITIONS:
        yield Fault(path, NO_PARTITION)
    elif arn.region and (partition := partition_of(arn.region)) != arn.partition:
        yield Fault(path, NO_REGION if partition is None else f"its region is in the partition {partition}")


def partition_of(region: str) -> str | None:
    """Return the partition of the region, or None if its name does not have the form of a region."""
    if not _REGION.fullmatch(region):
        return None
    return next((partition for partition, prefix in _PREFIXES.items() if region.startswith(prefix)), "aws")


def _arn_in(text: str | None) -> Arn | None:
    try:
        return Arn.parse(text or "")
    except ValueError:
        return None
