"""Does every metric have a name that Prometheus's conventions allow?

Source: Prometheus, "Metric and label naming" and "Histograms and summaries".
"""

from __future__ import annotations

import re

import pytest

from poller.telemetry.reference import MetricEntry, metric_entries

SNAKE_CASE = "[a-z]+(_[a-z]+)*"
UNITS = {"bytes", "seconds"}
OTHER_UNITS = {"days", "gib", "hours", "kb", "kib", "mb", "mib", "milliseconds", "minutes", "ms", "percent", "us"}
TIMES = {"age", "duration", "silence", "time", "timestamp"}
SUFFIX_OF_A_SERIES = {"bucket", "count", "created", "sum"}

EVERY_METRIC = pytest.mark.parametrize("metric", metric_entries(), ids=lambda one: one.name)


@EVERY_METRIC
def test_a_metric_and_its_labels_have_names_in_snake_case(metric: MetricEntry) -> None:
    names = [metric.name, *metric.labels]
    assert [name for name in names if not re.fullmatch(SNAKE_CASE, name)] == []
    assert metric.name.startswith("poller_")
    assert not metric.labels.keys() & {"le", "quantile", "job", "instance"}, "Prometheus itself sets these labels"


@EVERY_METRIC
def test_the_suffix_of_a_metric_tells_its_type(metric: MetricEntry) -> None:
    assert metric.name.endswith("_total") == (metric.type == "counter")
    assert metric.name.endswith("_info") == (metric.type == "info")
    assert metric.name.rpartition("_")[2] not in SUFFIX_OF_A_SERIES


@EVERY_METRIC
def test_the_unit_of_a_metric_is_a_base_unit_and_stands_last(metric: MetricEntry) -> None:
    *before, last = metric.name.removesuffix("_total").split("_")
    assert not OTHER_UNITS & {*before, last}
    assert not UNITS & set(before)
    assert last in UNITS | {"records"} or metric.type != "histogram"
    assert last == "seconds" or not TIMES & {*before, last}
