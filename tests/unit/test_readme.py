"""Is what the README shows true?"""

from __future__ import annotations

import re
import sqlite3
from math import ceil
from pathlib import Path
from typing import Any

import orjson
import pytest
from awslambdaric.lambda_context import LambdaContext  # type: ignore[import-untyped]  # it has no types
from typer.testing import CliRunner

import poller
from poller.cli import app
from poller.composition.worker import SAVE_IN_A_TABLE_EVERY_SECONDS
from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS, RENEWALS_PER_DURATION
from poller.engine.leases.messages import (
    EXPECTED_AFTER_REQUEST,
    EXPECTED_AFTER_STOP,
    FAST_READS_PER_DURATION,
    LONGEST_ANNOUNCEMENT,
    READS_PER_DURATION,
)
from poller.model.ids import MappingName, RequestId
from poller.model.invocation import Invocation
from poller.model.stream import ShardId
from poller.settings.arns import RECEIVERS, Receiver
from poller.settings.changes import READ_AT_THE_START
from poller.settings.loading import load
from poller.settings.permissions import CREATE_TABLE, USE_KCL_TABLE
from poller.settings.values import Settings
from poller.targets.client_context import client_context
from tests.command_line import assert_understood, commands_in

ROOT = Path(__file__).parents[2]
IMPORT = re.compile(r"^ *(?:from|import) poller(?:\.(?=\w)| import )([\w, ]+)", flags=re.MULTILINE)
"""Finds the parts that a line imports: `from poller.PART…` or `from poller import PART, PART`."""
README = (ROOT / "README.md").read_text()
OPERATING = (ROOT / "deploy" / "operating.md").read_text()
WORKERS = (ROOT / "deploy" / "workers.md").read_text()
CHAPTER = README.partition("\n## Operating it\n")[2].partition("\n## ")[0]
INVOCATION = Invocation(RequestId("r-1"), b"{}", MappingName("clicks"), 1)


def blocks(language: str, document: str = README) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", document, flags=re.DOTALL | re.MULTILINE)
    return [text for named, text in fences if named == language]


def shown_settings(file: Path, text: str) -> Settings:
    file.write_text(text)
    return load(file, {})


def test_the_minimal_settings_are_valid(tmp_path: Path) -> None:
    settings = shown_settings(tmp_path / "poller.toml", blocks("toml")[0])
    assert [mapping.name for mapping in settings.queue_mappings] == ["new_users"]
    assert not settings.warnings


def test_the_settings_of_asynchronous_events_are_valid(tmp_path: Path) -> None:
    settings = shown_settings(tmp_path / "poller.toml", blocks("toml")[1])
    (function,) = settings.functions.values()
    config = function.event_invoke_config
    assert None not in (config.on_success, config.on_failure, config.dead_letter_arn)
    assert not settings.warnings
    assert len(blocks("toml")) == 2, "each block has a test"


def test_the_function_that_refuses_the_past_accepts_growing_tokens_and_repeated_records() -> None:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE tokens (shard TEXT PRIMARY KEY, token INTEGER)")
    database.execute("CREATE TABLE clicks (id TEXT PRIMARY KEY, data TEXT)")
    [text] = blocks("python", WORKERS)
    names: dict[str, Any] = {"database": database}
    exec(compile(text, "workers.md", "exec"), names)

    def invoke(token: int, *ids: str, shard: str = "shardId-000000000000") -> None:
        custom = orjson.loads(client_context(INVOCATION._replace(shard_id=ShardId(shard), fencing_token=token)))
        records = [{"eventID": each, "eventSourceARN": "arn", "kinesis": {"data": "e30="}} for each in ids]
        names["insert_clicks"]({"Records": records}, LambdaContext("id", custom, None, 0))

    invoke(2, "1", "2")
    invoke(2, "2", "3")
    invoke(5, "4")
    with pytest.raises(RuntimeError, match="another worker"):
        invoke(2, "5")
    invoke(1, "6", shard="shardId-000000000001")
    assert [row[0] for row in database.execute("SELECT id FROM clicks ORDER BY id")] == ["1", "2", "3", "4", "6"]
    database.close()


def test_the_gate_runs_the_test_command_of_the_readme() -> None:
    (command,) = [line for line in README.splitlines() if line.startswith("python3 -m venv") and "pytest" in line]
    assert command in blocks("sh")[1]
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def test_the_options_that_need_a_restart_are_those_that_are_read_at_the_start_alone() -> None:
    (sentence,) = [line for line in OPERATING.splitlines() if "only when it starts" in line]
    assert sorted(re.findall(r"`(\w+)`", sentence)) == sorted(READ_AT_THE_START)


def test_the_drawing_of_the_package_has_each_part_below_the_parts_that_it_imports() -> None:
    drawn = re.findall(r"^ {4}(\w+)(?:/|\.py) ", poller.__doc__ or "", flags=re.MULTILINE)
    package = ROOT / "poller"
    parts = {path.stem for path in package.iterdir() if path.suffix in ("", ".py")}
    assert sorted(drawn) == sorted(parts - {"__init__", "__main__", "__pycache__"})
    wrong = [
        f"{path.relative_to(package)} imports {imported}"
        for path in package.rglob("*.py")
        if (part := path.relative_to(package).parts[0].removesuffix(".py")) in drawn
        for text in IMPORT.findall(path.read_text())
        for imported in re.findall(r"\w+", text)
        if imported in drawn and drawn.index(imported) > drawn.index(part)
    ]
    assert wrong == []


def test_the_map_names_exactly_the_files_that_exist() -> None:
    (shown,) = [block for block in blocks("") if block.startswith("poller/")]
    drawn = set(re.findall(r"^  (\S+)", shown, flags=re.MULTILINE))
    there = {
        path.name + ("/" if path.is_dir() else "")
        for path in (ROOT / "poller").iterdir()
        if not path.name.startswith("_") and path.name != "py.typed"
    }
    assert drawn == there


@pytest.mark.parametrize("receiver", RECEIVERS.values(), ids=RECEIVERS)
def test_the_permissions_name_the_action_of_every_destination(receiver: Receiver) -> None:
    permissions = README.partition("\n## Permissions\n")[2].partition("\n## ")[0]
    assert f"`{receiver.action}`" in permissions, "name the action in the section Permissions"


def test_the_permissions_name_what_a_table_of_leases_needs() -> None:
    permissions = README.partition("\n## Permissions\n")[2].partition("\n## ")[0]
    for action in (*USE_KCL_TABLE, *CREATE_TABLE):
        assert f"`{action}`" in permissions


@pytest.mark.parametrize("document", ["README.md", *(f"deploy/{file.name}" for file in (ROOT / "deploy").glob("*.md"))])
def test_every_link_leads_somewhere(document: str) -> None:
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", (ROOT / document).read_text()):
        file = (ROOT / document).parent / target if target else ROOT / document
        assert file.exists(), target
        assert not heading or heading in headings(file), f"{target}#{heading}"


def headings(file: Path) -> set[str]:
    """The headings of a document as a link names them: GitHub writes them in lower case, with hyphens."""
    return {each.lower().replace(" ", "-") for each in re.findall(r"^#+ (.+)$", file.read_text(), flags=re.MULTILINE)}


def test_the_chapter_of_the_operator_is_at_most_a_page() -> None:
    assert len(CHAPTER.strip().splitlines()) <= 50
    for step in ("See", "Act", "Roll out", "Bring"):
        assert f"\n**{step}**" in CHAPTER
    for file in ("runbook.md", "operating.md", "workers.md", "README.md"):
        assert f"(deploy/{file})" in CHAPTER


def test_the_readme_says_in_short_how_to_go_from_one_worker_to_several_and_what_the_end_of_one_costs() -> None:
    section = README.partition("\n## Several workers\n")[2].partition("\n## ")[0]
    assert len(section.strip().splitlines()) <= 20
    for option in ("--workers", 'state = "dynamodb://'):
        assert option in section
    assert f"no reader for up to {2 * LEASE_DURATION_IN_SECONDS:g} seconds" in section
    assert ceil(SAVE_IN_A_TABLE_EVERY_SECONDS) == 4
    assert "the records of its last four seconds" in section
    assert "(deploy/workers.md)" in section


@pytest.mark.parametrize("line", sorted({*commands_in(README), *commands_in(OPERATING), *commands_in(WORKERS)}))
def test_the_command_line_understands_every_command_of_the_documents(line: str) -> None:
    assert_understood(line)


@pytest.mark.parametrize("what", ["metrics", "log"])
def test_the_lists_of_metrics_and_log_events_are_what_the_program_prints(what: str) -> None:
    printed = CliRunner().invoke(app, ["reference", what, "--markdown"]).stdout
    kept = (ROOT / "deploy" / f"{what}.md").read_text()
    assert kept == printed, f"run: .venv/bin/poller reference {what} --markdown > deploy/{what}.md"


SECONDS_A_DAY = 86_400

UNITS_OF_A_SCAN = 1 / 4 * 0.5
"""For each KB. Source: Amazon DynamoDB Developer Guide, "Read/write capacity mode": 4 KB a unit, half if eventual."""


def test_the_cost_of_a_table_is_that_of_the_constants() -> None:
    """KCL renews every third of its `failoverTimeMillis` less 25 ms, and scans every two of them and 50 ms.

    Source: amazon-kinesis-client, `LeaseCoordinator`.
    """
    renewals = SECONDS_A_DAY * RENEWALS_PER_DURATION / LEASE_DURATION_IN_SECONDS
    scans = SECONDS_A_DAY / LEASE_DURATION_IN_SECONDS
    reads = SECONDS_A_DAY * READS_PER_DURATION / LEASE_DURATION_IN_SECONDS
    kcl_renewals, kcl_scans = SECONDS_A_DAY / (10 / 3 - 0.025), SECONDS_A_DAY / ((10 + 0.025) * 2)
    section = WORKERS.partition("\n## Several daemons\n")[2].partition("\n## ")[0]
    assert f"| poller | {renewals:,.0f} | {scans * UNITS_OF_A_SCAN:,.0f} |" in section
    assert f"and without checkpoints | {kcl_renewals:,.0f} | {kcl_scans * UNITS_OF_A_SCAN:,.0f} |" in section
    assert f"for {renewals:,.0f} write units and {reads:,.0f} read units a day" in section
    after_stop, after_request, stop = (
        part * LEASE_DURATION_IN_SECONDS for part in (EXPECTED_AFTER_STOP, EXPECTED_AFTER_REQUEST, LONGEST_ANNOUNCEMENT)
    )
    assert f"for {after_stop:g} seconds after another daemon announces its stop" in section
    fast_reads = FAST_READS_PER_DURATION / LEASE_DURATION_IN_SECONDS
    assert f"reads its row {fast_reads:g} times a second" in section
    assert f"and for {after_request:g} seconds after it asks for shards" in section
    assert stop == 2
    assert "which takes up to two seconds" in section
    assert f"a lease of {LEASE_DURATION_IN_SECONDS:g} seconds" in section
    assert f"for up to {2 * LEASE_DURATION_IN_SECONDS:g} seconds" in section
