"""What changes in the daemon when its file is read again?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from poller.errors import SettingsError
from poller.model.ids import FunctionName, MappingName
from poller.model.stream import StateKey
from poller.settings.changes import Changes, Difference, Renamed, changes
from poller.settings.values import Settings

Load = Callable[..., Settings]
ChangesOf = Callable[[str, str], Changes]

DAEMON = """
[daemon]
state = "memory:"
http_listen = "127.0.0.1:0"
"""

FILE = """
[functions.store]
handler = "store:handler"
[functions.audit]
url = "http://127.0.0.1:8080"
[functions.bill]
arn = "arn:aws:lambda:eu-west-1:123456789012:function:bill"

[mappings.orders]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:orders"
function_name = "store"
[mappings.returns]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:returns"
function_name = "store"
[mappings.invoices]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:invoices"
function_name = "bill"
[mappings.clicks]
event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
function_name = "audit"
starting_position = "TRIM_HORIZON"
maximum_retry_attempts = 3
destination_config.on_failure.destination_arn = "arn:aws:s3:::failures"
[mappings.users]
event_source_arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/users/stream/2026-01-01T00:00:00.000"
function_name = "audit"
starting_position = "TRIM_HORIZON"
"""

STORE = FunctionName("store")
ALL = ["orders", "returns", "invoices", "clicks", "users"]


def names(difference: Difference[Any]) -> dict[str, list[str]]:
    """Return the lists that are not empty."""
    return {kind: list(names) for kind, names in dataclasses.asdict(difference).items() if names}


def renamed(now: str) -> Renamed:
    """Return the pair of `clicks` and its new name."""
    stream = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
    return Renamed(StateKey(MappingName("clicks"), stream), StateKey(MappingName(now), stream))


@pytest.fixture
def edited(loaded: Load) -> ChangesOf:
    """Return a function that returns the changes after a part of the file is replaced."""

    def changes_of(part: str, other: str) -> Changes:
        text = DAEMON + FILE
        assert part in text
        return changes(loaded(text), loaded(text.replace(part, other, 1)))

    return changes_of


def test_an_unchanged_file_changes_nothing(edited: ChangesOf, loaded: Load) -> None:
    assert edited("[mappings.orders]", "# a comment\n[mappings.orders]\nbatch_size = 10") == Changes(
        mappings=Difference(),
        functions=Difference(),
        events=Difference(),
        options=(),
        needs_restart=(),
        renamed=(),
        settings=loaded(DAEMON + FILE),
    )


def test_a_mapping_is_added_or_removed(loaded: Load) -> None:
    all_of_them, first = loaded(FILE), loaded(FILE.partition("[mappings.returns]")[0])
    others = ["returns", "invoices", "clicks", "users"]
    assert names(changes(first, all_of_them).mappings) == {"added": others}
    assert names(changes(all_of_them, first).mappings) == {"removed": others}


def test_a_mapping_is_replaced_if_one_of_its_options_changes(edited: ChangesOf) -> None:
    found = edited("[mappings.orders]", "[mappings.orders]\nbatch_size = 5")
    assert names(found.mappings) == {"replaced": ["orders"]}
    assert names(found.functions) == {}


def test_a_changed_filter_replaces_its_mapping(edited: ChangesOf) -> None:
    filters = '[mappings.orders]\nfilter_criteria.filters = [{ pattern = { body = { kind = ["a"] } } }]'
    assert names(edited("[mappings.orders]", filters).mappings) == {"replaced": ["orders"]}


def test_a_changed_function_replaces_its_mappings_and_no_others(edited: ChangesOf) -> None:
    found = edited('handler = "store:handler"', 'handler = "store:handler"\ntimeout_in_seconds = 5')
    assert names(found.functions) == {"replaced": ["store"]}
    assert names(found.mappings) == {"replaced": ["orders", "returns"]}


def test_a_mapping_may_change_its_function(edited: ChangesOf) -> None:
    found = edited('function_name = "store"\n[mappings.returns]', 'function_name = "audit"\n[mappings.returns]')
    assert names(found.functions) == {}
    assert names(found.mappings) == {"replaced": ["orders"]}


def test_a_function_that_only_a_mapping_names_is_added_and_removed_with_it(edited: ChangesOf) -> None:
    found = edited('function_name = "bill"', 'function_name = "resize:live"')
    assert names(found.functions) == {"added": ["resize:live"]}
    assert names(found.mappings) == {"replaced": ["invoices"]}


ORDERS_ALONE = FILE.partition("[mappings.returns]")[0]
ORDERS = FILE[FILE.index("[mappings.orders]") : FILE.index("[mappings.returns]")]
RETURNS = FILE[FILE.index("[mappings.returns]") : FILE.index("[mappings.invoices]")]
ELSEWHERE = RETURNS.replace("eu-west-1:123456789012", "eu-north-1:210987654321")
TWO_REGIONS = FILE.replace(RETURNS, ELSEWHERE)


@pytest.mark.parametrize(
    ("text", "mappings"),
    [
        (TWO_REGIONS.replace(ORDERS, ""), {"removed": ["orders"]}),
        (TWO_REGIONS.replace(ORDERS + ELSEWHERE, ELSEWHERE + ORDERS), {}),
        (TWO_REGIONS.replace(ORDERS + ELSEWHERE, ""), {"removed": ["orders", "returns"]}),
    ],
    ids=["it is removed", "it is moved", "all are removed"],
)
def test_a_function_keeps_its_arn_if_the_first_mapping_that_uses_it_goes(
    loaded: Load, text: str, mappings: dict[str, list[str]]
) -> None:
    in_use, written = loaded(TWO_REGIONS), loaded(text)
    found = changes(in_use, written)
    assert in_use.functions[STORE].arn != written.functions[STORE].arn
    assert (names(found.functions), names(found.mappings), names(found.events)) == ({}, mappings, {})
    assert found.settings.functions[STORE] == in_use.functions[STORE]
    assert names(changes(found.settings, written).functions) == {}


def test_a_function_without_mappings_keeps_its_arn_when_it_gets_one(loaded: Load) -> None:
    found = changes(loaded(TWO_REGIONS.replace(ORDERS + ELSEWHERE, "")), loaded(TWO_REGIONS))
    assert (names(found.functions), names(found.mappings)) == ({}, {"added": ["orders", "returns"]})


@pytest.mark.parametrize(
    "changed",
    [ELSEWHERE + "batch_size = 5\n", RETURNS.replace("eu-west-1", "eu-south-1")],
    ids=["an option", "the region"],
)
def test_a_function_keeps_its_arn_if_all_its_mappings_change(loaded: Load, changed: str) -> None:
    without_the_first = TWO_REGIONS.replace(ORDERS, "")
    in_use = changes(loaded(TWO_REGIONS), loaded(without_the_first)).settings
    found = changes(in_use, loaded(without_the_first.replace(ELSEWHERE, changed)))
    assert (names(found.functions), names(found.mappings)) == ({}, {"replaced": ["returns"]})
    assert found.settings.functions[STORE] == in_use.functions[STORE]


@pytest.mark.parametrize(
    ("region", "arn"),
    [
        ("eu-west-1", "arn:aws:lambda:eu-west-1:123456789012:function:resize"),
        ("eu-north-1", "arn:aws:lambda:eu-north-1:210987654321:function:resize"),
    ],
    ids=["the same function in Lambda", "another function in Lambda"],
)
def test_a_function_of_lambda_without_a_table_keeps_its_account_but_not_its_region(
    loaded: Load, region: str, arn: str
) -> None:
    both = TWO_REGIONS.replace("eu-north-1", region)
    text, second = (each.replace('"store"\n', '"resize"\n') for each in (both, both.replace(ORDERS, "")))
    found = changes(loaded(text), loaded(second))
    assert list(found.mappings.removed) == ["orders"]
    assert str(found.settings.functions[FunctionName("resize")].arn) == arn


def test_a_function_of_lambda_gets_the_arn_that_its_table_states(edited: ChangesOf) -> None:
    found = edited("function:bill", "function:other")
    assert (names(found.functions), names(found.mappings)) == ({"replaced": ["bill"]}, {"replaced": ["invoices"]})
    assert found.settings.functions[FunctionName("bill")].arn.resource == "function:other"


@pytest.mark.parametrize(
    ("option", "mappings", "functions"),
    [
        ('region = "eu-west-1"', [], []),
        ('region = "eu-north-1"', ["orders", "returns", "clicks", "users"], ["store", "audit"]),  # it is in their ARNs
        ('endpoint_url = "http://h"', ALL, ["store", "bill"]),
        ('endpoints = { sqs = "http://h" }', ["orders", "returns", "invoices"], []),
        ('endpoints = { lambda = "http://h" }', ["invoices"], ["bill"]),
        ('endpoints = { kinesis = "http://h" }', ["clicks"], []),
        ('endpoints = { dynamodbstreams = "http://h" }', ["users"], []),
        ('endpoints = { s3 = "http://h" }', ["clicks"], []),
        ('endpoints = { sts = "http://h" }', ALL, ["bill"]),
        ('endpoints = { sns = "http://h", dynamodb = "http://h" }', [], []),
    ],
)
def test_a_changed_option_of_the_daemon_replaces_the_mappings_that_use_it(
    edited: ChangesOf, option: str, mappings: list[str], functions: list[str]
) -> None:
    found = edited("[daemon]", f"[daemon]\n{option}")
    assert found.options == (f"daemon.{option.partition(' ')[0]}",)
    assert found.needs_restart == ()
    assert names(found.mappings).get("replaced", []) == mappings
    assert names(found.functions).get("replaced", []) == functions


@pytest.mark.parametrize(
    "option", ['http_hosts = ["poller"]', 'admin_token = "token"', "shutdown_grace_in_seconds = 5"]
)
def test_a_changed_option_that_is_read_when_needed_replaces_nothing(edited: ChangesOf, option: str) -> None:
    found = edited("[daemon]", f"[daemon]\n{option}")
    assert found.options == (f"daemon.{option.partition(' ')[0]}",)
    assert (found.needs_restart, names(found.mappings), names(found.functions)) == ((), {}, {})


@pytest.mark.parametrize(
    ("state", "option", "named"),
    [
        ("dynamodb://leases", 'region = "eu-north-1"', ["daemon.state"]),
        ("dynamodb://leases", 'endpoint_url = "http://h"', ["daemon.state", "mappings.clicks.kcl_table"]),
        ("dynamodb://leases", 'endpoints = { sts = "http://h" }', ["daemon.state", "mappings.clicks.kcl_table"]),
        ("dynamodb://leases", 'endpoints = { dynamodb = "http://h" }', ["daemon.state", "mappings.clicks.kcl_table"]),
        ("dynamodb://leases?region=eu-west-1", 'region = "eu-north-1"', []),
        ("dynamodb://leases?endpoint_url=http://d", 'region = "eu-north-1"', ["daemon.state"]),
        (
            "dynamodb://leases?endpoint_url=http://d",
            'endpoints = { dynamodb = "http://h" }',
            ["mappings.clicks.kcl_table"],
        ),
        ("sqlite:///p.db", 'endpoints = { dynamodb = "http://h" }', ["mappings.clicks.kcl_table"]),
        ("sqlite:///p.db", 'endpoints = { sqs = "http://h" }', []),
    ],
)
def test_a_table_stays_where_it_was_at_the_start_and_is_named_each_time(
    loaded: Load, state: str, option: str, named: list[str]
) -> None:
    """If the daemon used a table elsewhere, all records would come again, or would be skipped."""
    text = DAEMON.replace("memory:", state) + FILE.replace("maximum_retry_attempts = 3", 'kcl_table = "clicks"')
    before, now = loaded(text), loaded(text.replace("[daemon]", f"[daemon]\n{option}"))
    first = changes(before, now)
    second = changes(first.settings, now)
    assert first.needs_restart == second.needs_restart == tuple(named)
    assert first.settings.daemon.tables_at == second.settings.daemon.tables_at == before.daemon.tables_at


@pytest.mark.parametrize(
    ("part", "other", "options"),
    [
        ('state = "memory:"', 'state = "sqlite:///var/lib/p.db"', ["state", "event_queue"]),
        ("[daemon]", '[daemon]\nevent_queue = "sqlite:///var/lib/e.db"', ["event_queue"]),
        ("[daemon]", "[daemon]\nevent_queue_maximum_bytes = 20000000", ["event_queue_maximum_bytes"]),
        ('"127.0.0.1:0"', '"127.0.0.1:9464"', ["http_listen"]),
        ("[daemon]", '[daemon]\napi_listen = "127.0.0.1:9465"', ["api_listen"]),
        ("[daemon]", '[daemon]\nworker = "blue"', ["worker"]),
        ("[daemon]", '[daemon]\nlog_format = "console"', ["log_format"]),
    ],
)
def test_an_option_that_is_read_only_at_the_start_keeps_its_value_and_is_named_each_time(
    edited: ChangesOf, loaded: Load, part: str, other: str, options: list[str]
) -> None:
    found = edited(part, other)
    assert (found.options, found.needs_restart) == ((), tuple(f"daemon.{option}" for option in options))
    assert (names(found.mappings), names(found.functions), names(found.events)) == ({}, {}, {})
    before = loaded(DAEMON + FILE)
    assert found.settings == before
    assert changes(found.settings, loaded((DAEMON + FILE).replace(part, other, 1))).needs_restart == found.needs_restart


@pytest.mark.parametrize(
    ("before", "now"), [(None, "readers"), ("readers", None), ("readers", "others")], ids=["set", "unset", "changed"]
)
def test_a_mapping_cannot_get_another_table_of_kcl_before_a_restart(
    loaded: Load, before: str | None, now: str | None
) -> None:
    def text(table: str | None) -> str:
        return FILE if table is None else FILE.replace("[mappings.clicks]", f'[mappings.clicks]\nkcl_table = "{table}"')

    with pytest.raises(SettingsError) as refused:
        changes(loaded(text(before)), loaded(text(now)))
    faults = ["mappings.clicks.kcl_table: has changed, so the daemon must be restarted"]
    assert refused.value.faults == faults
    assert names(changes(loaded(ORDERS_ALONE), loaded(text(now))).mappings)["added"] == ALL[1:]
    removed = changes(loaded(text(before)), loaded(ORDERS_ALONE)).settings
    still_removed = changes(removed, loaded(ORDERS_ALONE)).settings
    with pytest.raises(SettingsError) as refused:
        changes(still_removed, loaded(text(now)))
    assert refused.value.faults == faults
    assert names(changes(still_removed, loaded(text(before))).mappings)["added"] == ALL[1:]


EVENTS = """
[daemon]
state = "sqlite:///p.db"
[functions.store]
handler = "store:handler"
event_invoke_config.destination_config.on_success.destination = "audit"
event_invoke_config.destination_config.on_failure.destination = "arn:aws:sns:eu-west-1:123456789012:failed"
dead_letter_config.target_arn = "arn:aws:sqs:eu-west-1:123456789012:dead"
[functions.audit]
url = "http://127.0.0.1:8080"
event_invoke_config.event_queue_arn = "arn:aws:sqs:eu-west-1:123456789012:events"
[mappings.orders]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:orders"
function_name = "store"
"""


@pytest.mark.parametrize(
    ("part", "other", "events"),
    [
        ("[daemon]", "[daemon]", []),
        ("[functions.store]", "[functions.store]\nevent_invoke_config.maximum_retry_attempts = 1", ["store"]),
        ("[functions.store]", "[functions.store]\nevent_invoke_config.retry_waits_in_seconds = [0, 0]", ["store"]),
        (":failed", ":other", ["store"]),
        (":dead", ":other", ["store"]),
        (":events", ":other", ["store", "audit"]),  # store's records go to the event queue of audit
        ("8080", "8081", ["audit"]),
        ("[daemon]", '[daemon]\nendpoints = { sns = "http://h" }', ["store"]),
        ("[daemon]", '[daemon]\nendpoints = { sqs = "http://h" }', ["store", "audit"]),
        ("[daemon]", '[daemon]\nendpoints = { events = "http://h" }', []),
    ],
)
def test_the_run_of_a_functions_events_is_replaced_if_its_options_change(
    loaded: Load, part: str, other: str, events: list[str]
) -> None:
    found = changes(loaded(EVENTS), loaded(EVENTS.replace(part, other, 1)))
    assert list(found.events.replaced) == events


def test_options_for_events_replace_neither_the_function_nor_its_mappings(loaded: Load) -> None:
    option = "[functions.store]\nevent_invoke_config.maximum_retry_attempts = 1"
    found = changes(loaded(EVENTS), loaded(EVENTS.replace("[functions.store]", option)))
    assert (names(found.events), names(found.functions), names(found.mappings)) == (
        {"replaced": ["store"]},
        {},
        {},
    )


def test_events_come_and_go_with_their_function(loaded: Load) -> None:
    new = f'{EVENTS}[functions.new]\nurl = "http://new"'
    assert names(changes(loaded(EVENTS), loaded(new)).events) == {"added": ["new"]}
    assert names(changes(loaded(new), loaded(EVENTS)).events) == {"removed": ["new"]}


def test_a_renamed_stream_mapping_begins_anew_with_a_warning(edited: ChangesOf) -> None:
    found = edited("[mappings.clicks]", "[mappings.views]")
    assert names(found.mappings) == {"added": ["views"], "removed": ["clicks"]}
    assert found.renamed == (renamed("views"),)


def test_a_consumer_has_the_positions_of_its_stream(edited: ChangesOf) -> None:
    consumer = "stream/clicks/consumer/poller:1700000000"
    part = FILE[FILE.index("[mappings.clicks]") : FILE.index("stream/clicks") + len("stream/clicks")]
    other = part.replace("[mappings.clicks]", "[mappings.views]").replace("stream/clicks", consumer)
    assert edited(part, other).renamed == (renamed("views"),)


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("[mappings.orders]", "[mappings.sales]"),
        (
            '[mappings.clicks]\nevent_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"',
            '[mappings.views]\nevent_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/views"',
        ),
    ],
    ids=["queue", "another stream"],
)
def test_a_new_name_causes_no_warning_for_a_queue_or_another_stream(edited: ChangesOf, part: str, other: str) -> None:
    found = edited(part, other)
    assert len(found.mappings.added) == len(found.mappings.removed) == 1
    assert found.renamed == ()


def test_a_mapping_that_takes_over_the_stream_of_another_begins_anew_with_a_warning(loaded: Load) -> None:
    """`users` now reads the stream that `clicks` read; the name `users` is not new."""
    before, users = FILE[FILE.index("[functions.audit]") : FILE.index("[functions.bill]")], "[mappings.users]\n"
    clicks = FILE[FILE.index("[mappings.clicks]") : FILE.index("[mappings.users]")]
    in_use = loaded(FILE)
    found = changes(in_use, loaded(before + clicks.replace("[mappings.clicks]\n", users)))
    assert "users" in found.mappings.replaced
    assert found.renamed == (renamed("users"),)


CLICKS = FILE[FILE.index("[mappings.clicks]") : FILE.index("[mappings.users]")]
VIEWS = CLICKS.replace("[mappings.clicks]", "[mappings.views]")
SALES = CLICKS.replace("[mappings.clicks]", "[mappings.sales]")


def test_a_mapping_with_another_name_and_another_function_begins_anew_with_a_warning(edited: ChangesOf) -> None:
    found = edited(CLICKS, VIEWS.replace('"audit"', '"store"'))
    assert names(found.mappings) == {"added": ["views"], "removed": ["clicks"]}
    assert found.renamed == (renamed("views"),)


def test_only_the_mapping_with_the_same_function_is_the_renamed_one(edited: ChangesOf) -> None:
    assert edited(CLICKS, SALES.replace('"audit"', '"store"') + VIEWS).renamed == (renamed("views"),)


def test_two_new_mappings_with_other_functions_are_not_renamed_ones(edited: ChangesOf) -> None:
    both = SALES.replace('"audit"', '"store"') + VIEWS.replace('"audit"', '"bill"')
    assert edited(CLICKS, both).renamed == ()


def test_a_mapping_that_takes_the_positions_of_a_kcl_table_is_not_a_renamed_one(edited: ChangesOf) -> None:
    table = VIEWS.replace("maximum_retry_attempts = 3", 'kcl_table = "application"')
    assert edited(CLICKS, table).renamed == ()


def test_a_second_mapping_of_a_stream_may_be_added_and_stay(loaded: Load) -> None:
    part = FILE[FILE.index("[mappings.clicks]") : FILE.index("[mappings.users]")]
    consumer = part.replace("mappings.clicks", "mappings.views").replace("/clicks", "/clicks/consumer/c:1700000000")
    one, both = DAEMON + FILE, DAEMON + FILE.replace(part, part + consumer)
    added, removed = changes(loaded(one), loaded(both)), changes(loaded(both), loaded(both.replace(part, "")))
    assert (names(added.mappings), names(removed.mappings)) == (
        {"added": ["views"]},
        {"removed": ["clicks"]},
    )
    assert (added.renamed, removed.renamed) == ((), ())
