"""Do `poller reference metrics` and `poller reference log` list everything?"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Owner
from poller.model.sharing import SharingStatus
from poller.model.status import ReloadStatus
from poller.telemetry.telemetry import Telemetry
from tests.unit.cli.conftest import Poller

ROOT = Path(__file__).parents[3]


def families() -> dict[str, tuple[str, str, set[str]]]:
    """The type, the help text and the labels of every metric that a daemon shows, by name."""
    telemetry = Telemetry()
    for name, is_stream in (("queue", False), ("stream", True)):
        telemetry.begin_mapping(MappingName(name), FunctionName("f"), is_stream=is_stream)
    telemetry.begin_function(FunctionName("f"))
    telemetry.watch(list)
    telemetry.watch_reloads(lambda: ReloadStatus(was_successful=True, succeeded_at=0.0))
    telemetry.watch_sharing(lambda: SharingStatus(Owner("a/1"), 4, 2, (), 0.5, 1.5, 0.0))
    return {
        family.name: (
            family.type,
            family.documentation,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in telemetry.registry.collect()
        if family.name.startswith("poller_")
    }


def test_the_list_of_metrics_is_what_a_scrape_shows(poller: Poller) -> None:
    listed = json.loads(poller("reference", "metrics", "--json").stdout)["metrics"]
    shown = families()
    assert len(listed) == len(shown) > 40
    for metric in listed:
        type_, meaning, labels = shown[re.sub("_(total|info)$", "", metric["name"])]
        assert (metric["type"], metric["meaning"]) == (type_, meaning)
        assert set(metric["labels"]) == labels or not labels, "a gauge has no series before a mapping has a status"


def test_the_list_of_metrics_has_the_known_values_of_labels(poller: Poller) -> None:
    listed = json.loads(poller("reference", "metrics", "--json").stdout)["metrics"]
    (deletes,) = [metric for metric in listed if metric["name"] == "poller_delete_failures_total"]
    assert deletes["labels"] == {"mapping": [], "outcome": ["retried", "given_up"]}
    (errors,) = [metric for metric in listed if metric["name"] == "poller_source_errors_total"]
    assert errors["labels"] == {"mapping": [], "code": []}


def test_the_list_of_log_events_says_how_they_are_logged(poller: Poller) -> None:
    listed = {event["event"]: event for event in json.loads(poller("reference", "log", "--json").stdout)["events"]}
    assert listed["source_failed"]["levels"] == ["error", "warning"]
    assert listed["batch_failed"]["once_per"] == ["mapping", "reason"]
    assert listed["batch_failed"]["pause_in_seconds"] == 10
    assert listed["batch_item_failures_ignored"]["pause_in_seconds"] is None
    assert listed["mapping_crashed"]["fields"] == ["mapping", "exception", "retry_in_seconds"]
    assert "library_logged" in listed
    assert (
        'log.log(\n            record.levelno,\n            "library_logged"'
        in (ROOT / "poller" / "telemetry" / "logs.py").read_text()
    )


@pytest.mark.parametrize(("what", "entry"), [("metrics", "poller_retries_total"), ("log", "shard_blocked")])
def test_the_plain_list_shows_each_entry_with_its_meaning_in_a_hundred_columns(
    poller: Poller, what: str, entry: str
) -> None:
    lines = poller("reference", what).stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(entry))
    assert lines[at + 1].startswith("    ")
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("what", ["metrics", "log"])
def test_every_row_of_a_table_has_as_many_cells_as_its_heading(poller: Poller, what: str) -> None:
    blocks = poller("reference", what, "--markdown").stdout.split("\n\n")
    tables = [block.strip().splitlines() for block in blocks if block.startswith("|")]
    assert max(map(len, tables)) > 40
    for table in tables:
        assert len({row.count("|") for row in table}) == 1


def test_the_metrics_in_the_table_of_aws_metrics_exist(poller: Poller) -> None:
    *_, comparison, listed = poller("reference", "metrics", "--markdown").stdout.split("\n\n")
    names = re.findall("poller_[a-z_]+", comparison)
    assert len(names) == 9
    assert set(names) <= set(re.findall("poller_[a-z_]+", listed))
