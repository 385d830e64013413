"""Do the alerts, the runbook and the dashboard agree with the program, with each other, and with Prometheus?"""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from deploy.dashboard import dashboard
from poller.telemetry.reference import event_entries, metric_entries
from tests.command_line import assert_understood, commands_in

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS, RULE_TESTS = DEPLOY / "prometheus-alerts.yml", DEPLOY / "prometheus-alerts-test.yml"
RUNBOOK = (DEPLOY / "runbook.md").read_text()
ENTRIES = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, flags=re.MULTILINE | re.DOTALL))

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not installed")
"""Together with the mark `slow`, because each such test starts a process."""


@cache
def alerts() -> dict[str, dict[str, Any]]:
    """The rule of each alert, by the alert's name."""
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


@cache
def rule_tests() -> list[dict[str, Any]]:
    tests: list[dict[str, Any]] = yaml.safe_load(RULE_TESTS.read_text())["tests"]
    return tests


def fired() -> dict[str, set[str]]:
    """The labels of each alert that fires in one of the rule tests."""
    samples = [
        re.findall(r'(\w+)="([^"]*)"', sample["labels"])
        for test in rule_tests()
        for query in test["promql_expr_test"]
        for sample in query["exp_samples"]
    ]
    return {dict(labels)["alertname"]: {name for name, _ in labels} for labels in samples}


def expressions_of_the_dashboard() -> dict[str, list[str]]:
    """The expressions of each panel, with a choice and a length of time in place of the dashboard's variables."""
    chosen = {"$mapping": ".*", "$function": ".*", "$__rate_interval": "5m"}
    return {
        panel["title"]: [
            re.sub(r"\$\w+", lambda match: chosen[match[0]], target["expr"]) for target in panel.get("targets", ())
        ]
        for panel in dashboard()["panels"]
    }


def asked_series(expression: str) -> set[str]:
    """The names of the series in an expression."""
    return set(re.findall(r"\b(?:poller|process)_\w+|\bup\b", expression))


def known_series() -> set[str]:
    names = {"up"}  # Prometheus' own
    registry = CollectorRegistry()
    names |= {sample.name for family in ProcessCollector(registry=registry).collect() for sample in family.samples}
    for entry in metric_entries():
        names |= {entry.name} if entry.type != "histogram" else {f"{entry.name}_{part}" for part in ("bucket", "sum")}
    return names


def test_every_metric_of_the_alerts_and_of_the_dashboard_exists() -> None:
    expressions = [rule["expr"] for rule in alerts().values()] + [*chain(*expressions_of_the_dashboard().values())]
    asked = set().union(*map(asked_series, expressions))
    assert len(asked) > 50
    assert asked - known_series() == set()


def test_every_label_value_that_the_alerts_ask_for_exists() -> None:
    known = {value for entry in metric_entries() for values in entry.labels.values() for value in values} | {"poller"}
    asked = {
        value
        for rule in alerts().values()
        for text in re.findall(r'\w+(?:=~|!=|=)"([^"]+)"', rule["expr"])
        for value in text.split("|")
    }
    assert {"throttled", "stuck", "out_of_memory"} <= asked
    assert asked - known == set()


def test_every_alert_fires_in_a_rule_test() -> None:
    assert set(fired()) == set(alerts())


def test_the_healthy_daemon_of_the_rule_tests_has_every_series_of_the_alerts() -> None:
    healthy = {series["series"].partition("{")[0] for series in rule_tests()[0]["input_series"]}
    assert set().union(*(asked_series(rule["expr"]) for rule in alerts().values())) == healthy
    assert [query["exp_samples"] for query in rule_tests()[0]["promql_expr_test"]] == [[]] * 4


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_what_happened_and_names_only_labels_that_it_has(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= fired()[name]


@needs_promtool
@pytest.mark.slow
def test_prometheus_accepts_the_rules() -> None:
    promtool("check", "rules", str(ALERTS))


@needs_promtool
@pytest.mark.slow
def test_each_alert_fires_in_its_trouble_and_none_fires_for_a_healthy_daemon() -> None:
    promtool("test", "rules", str(RULE_TESTS))


@needs_promtool
@pytest.mark.slow
def test_prometheus_accepts_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    expressions = chain(*expressions_of_the_dashboard().values())
    rules = [{"record": f"panel_{number}", "expr": expression} for number, expression in enumerate(expressions)]
    file = tmp_path / "panels.yml"
    file.write_bytes(orjson.dumps({"groups": [{"name": "panels", "rules": rules}]}))  # JSON is YAML
    promtool("check", "rules", str(file))


def promtool(*arguments: str) -> None:
    ended = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_dashboard_is_what_the_script_prints() -> None:
    kept = orjson.loads((DEPLOY / "grafana-dashboard.json").read_bytes())
    assert kept == dashboard(), "run: .venv/bin/python deploy/dashboard.py > deploy/grafana-dashboard.json"


def test_every_panel_has_a_title_of_its_own_and_room_of_its_own() -> None:
    panels = dashboard()["panels"]
    squares = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len({panel["title"] for panel in panels}) == len(panels) > 40
    assert len(set(squares)) == len(squares)
    assert max(x for x, _ in squares) == 23


def test_the_runbook_has_an_entry_for_each_alert_in_the_same_order() -> None:
    assert list(ENTRIES) == list(alerts())


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_of_the_runbook_says_what_the_alert_means_what_to_look_at_and_what_to_do(name: str) -> None:
    assert re.findall(r"^\*\*(.+?)\*\*", ENTRIES[name], flags=re.MULTILINE) == ["It means", "Look at", "Do"]
    assert "\n```sh\n" in ENTRIES[name]
    assert set(re.findall(r"\bPoller[A-Z]\w+", ENTRIES[name])) <= set(alerts())


def test_the_runbook_names_only_log_events_that_exist() -> None:
    events = set(re.findall(r"^log (\w+)", RUNBOOK, flags=re.MULTILINE))
    assert "shard_blocked" in events
    assert events - {entry.event for entry in event_entries()} == set()


def test_the_entry_of_a_paused_mapping_looks_for_the_event_that_says_who_paused_it() -> None:
    [event] = re.findall(r"grep (\w+_\w+)\b", ENTRIES["PollerMappingPaused"])
    [fields] = [entry.fields for entry in event_entries() if entry.event == event]
    assert {"by", "change", "mapping"} <= set(fields)


@pytest.mark.parametrize("line", commands_in(RUNBOOK))
def test_the_command_line_understands_every_command_of_the_runbook(line: str) -> None:
    assert_understood(line)
