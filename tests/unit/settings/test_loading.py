"""Is every fault reported at once, with its path, its value and the rule?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from poller.errors import SettingsError
from poller.model.function import ChildProcess
from poller.model.ids import FunctionName
from poller.settings.loading import examine, load, state_of
from poller.settings.values import Settings

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]

TEN_FAULTS = """
[daemon]
regoin = "eu-west-1"

[functions.both]
handler = "signup.functions:insert_records"
url = "http://127.0.0.1:8080"

[functions.secret]
url = "http://127.0.0.1:8080"
headers = { Authorization = "Bearer ${TOKEN}" }

[mappings.large]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:large"
function_name = "both"
batch_size = 20000

[mappings.waiting]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:waiting"
function_name = "both"
batch_size = 100

[mappings.nowhere]
event_source_arn = "buffer-queue"
function_name = "both"

[mappings.picky]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:picky"
function_name = "both"
filter_criteria.filters = [{ pattern = { body = "signup" } }]

[mappings.first]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:shared"
function_name = "both"

[mappings.second]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:shared"
function_name = "both"
starting_position = "LATEST"

[mappings.orphan]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:orphan"
function_name = "no such function"
"""


def test_a_file_with_ten_faults_names_all_ten(faults: Faults) -> None:
    assert faults(TEN_FAULTS) == [
        "daemon.regoin: unknown key; did you mean region?",
        "functions.both: has url and handler; a function has exactly one of arn, url, urls, command, handler",
        'functions.secret.headers.Authorization = "Bearer ${TOKEN}": the environment has no variable TOKEN',
        "mappings.large.batch_size = 20000: must be a whole number of records from 1 to 10000",
        "mappings.waiting.batch_size = 100: "
        "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        'mappings.nowhere.event_source_arn = "buffer-queue": '
        "is not an ARN (arn:partition:service:region:account:resource)",
        "mappings.picky.filter_criteria.filters[0].pattern: "
        'Invalid filter pattern definition. "body" must be an object or an array (at body).',
        "mappings.second: An event source mapping with SQS arn "
        '(" arn:aws:sqs:eu-west-1:123456789012:shared ") and function (" both ") already exists. '
        "It is mappings.first",
        'mappings.second.starting_position = "LATEST": '
        "Unsupported StartingPosition parameter for given event source mapping type. "
        "It is for a Kinesis stream and a DynamoDB stream, not for an SQS queue",
        'mappings.orphan.function_name = "no such function": '
        "names no function: neither a key of [functions] nor a Lambda function's name or ARN",
    ]


def test_a_value_that_cannot_be_read_is_reported_once(faults: Faults) -> None:
    """Neither "is required" nor the rules that read the value are reported too."""
    text = """
        [functions.f]
        url = 5
        [mappings.m]
        event_source_arn = 5
        function_name = 5
        batch_size = 100
        maximum_batching_window_in_seconds = "5"
    """
    assert [fault.partition(" = ")[0] for fault in faults(text)] == [
        "functions.f.url",
        "mappings.m.event_source_arn",
        "mappings.m.function_name",
        "mappings.m.maximum_batching_window_in_seconds",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("daemon = 3", "daemon = 3: must be a table"),
        ("functions = []", "functions = []: must be a table"),
        ("[mappings]\nm = true", "mappings.m = true: must be a table"),
        ("[mapping.m]", "mapping: unknown key; did you mean mappings?"),
        ("what = 1", "what: unknown key; the known keys are daemon, functions, mappings"),
        ("[daemon]\nregion = 3", "daemon.region = 3: must be text, in quotes"),
        ("[Daemon]", "Daemon: unknown key; did you mean daemon?"),
        ('[functions."a b"]', 'functions."a b": a name has 1 to 64 letters, digits, hyphens and underscores'),
    ],
)
def test_a_value_of_a_wrong_type_is_reported(faults: Faults, text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_the_fault_of_an_unknown_key_names_the_table_that_has_it(
    mapping_faults: Callable[[str, str], list[str]],
) -> None:
    assert mapping_faults("queue", "destination_arn = 'a'\nmaximum_concurrency = 4\nBatchSize = 4") == [
        "destination_arn: unknown key; did you mean destination_config.on_failure.destination_arn?",
        "maximum_concurrency: unknown key; did you mean scaling_config.maximum_concurrency?",
        "BatchSize: unknown key; did you mean batch_size?",
    ]


def test_an_unknown_key_deep_in_a_table_is_compared_with_that_tables_keys(
    mapping_faults: Callable[[str, str], list[str]],
) -> None:
    assert mapping_faults(
        "queue", "filter_criteria.filters = [{ patern = '{}', pattern = '{\"body\": [\"a\"]}' }]"
    ) == ["filter_criteria.filters[0].patern: unknown key; did you mean pattern?"]


@pytest.mark.parametrize(
    "option", ["provisioned_poller_config = {}", "metrics_config = {}", "tags = {}", "kms_key_arn = 'a'", "topics = []"]
)
def test_an_option_that_only_awss_own_mappings_have_is_reported_as_such(
    mapping_faults: Callable[[str, str], list[str]], option: str
) -> None:
    (fault,) = mapping_faults("queue", option)
    assert fault.startswith(option.partition(" ")[0])
    assert fault.endswith(": is an option of AWS's own mappings and has no meaning here; leave it out")


def test_an_abbreviated_key_that_fits_several_is_not_guessed(faults: Faults) -> None:
    assert faults("[mappings.m]\nmaximum = 1")[0].startswith("mappings.m.maximum: unknown key; the known keys are ")


def test_a_function_named_like_an_option_does_not_confuse_the_search_for_the_nearest_key(faults: Faults) -> None:
    assert faults('[functions.url]\nurl = "http://a"\nheadrs = {}') == [
        "functions.url.headrs: unknown key; did you mean headers?"
    ]


def test_a_long_value_is_shortened_in_a_fault(faults: Faults) -> None:
    (fault,) = faults(f'[daemon]\nendpoint_url = "{"x" * 500}"')
    assert len(fault) < 200


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ('url = "http://me:s3cret@"', 'functions.f.url = "http://***@": '),
        ('url = "http://me:s3/cret@host"', 'functions.f.url = "http://***": '),
        ('headers = { A = "s3cret\\n" }', 'functions.f.headers.A = "***": '),
        ('command = "run --token=s3cret"', 'functions.f.command = "run --token=***": '),
        ('command = ["run", "--token", "s3\\u0000"]', "functions.f.command[2]: must not hold "),
        ('ulr = "http://me:s3cret@host"', "functions.f.ulr: unknown key"),
        ("api_keys = ['s3cret']", "functions.f.api_keys: unknown key"),
    ],
)
def test_a_fault_shows_no_secret(faults: Faults, option: str, shown: str) -> None:
    found = faults(f"[functions.f]\n{option}")
    assert [fault for fault in found if fault.startswith(shown)]
    assert "s3" not in str(found)


def test_broken_toml_is_reported_with_line_and_column(faults: Faults, tmp_path: Path) -> None:
    file = tmp_path / "poller.toml"
    assert faults("[daemon]\nregion eu-west-1") == [
        f"{file}: line 2, column 8: not TOML: Expected '=' after a key in a key/value pair"
    ]
    (at_the_end,) = faults('[daemon]\nregion = "eu')
    assert at_the_end.startswith(f"{file}: line 2, column 13: not TOML: ")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (f"[daemon]\nx = {'9' * 5000}", "not TOML that can be read: Exceeds the limit"),
        (f"[daemon]\nx = {'[' * 3000}", "is nested too deeply"),
        (f"[daemon]\nregion = {'[' * 400}{']' * 400}", "is nested too deeply"),
        (f"[daemon]\n{'x.' * 3000}x = 1", "is nested too deeply"),
    ],
)
def test_a_file_that_is_too_large_is_a_fault(faults: Faults, tmp_path: Path, text: str, rule: str) -> None:
    (fault,) = faults(text)
    assert fault.startswith(f"{tmp_path / 'poller.toml'}: {rule}")
    assert "99999" not in fault


def test_a_file_that_is_nested_too_deeply_is_a_fault_even_if_only_the_state_is_read(tmp_path: Path) -> None:
    file = tmp_path / "poller.toml"
    file.write_text(f"[daemon]\nx = {'[' * 3000}")
    with pytest.raises(SettingsError) as caught:
        state_of(file, {})
    assert caught.value.faults == [f"{file}: is nested too deeply"]


def test_a_huge_number_is_a_fault_in_every_option(faults: Faults) -> None:
    """A hexadecimal number has no limit in TOML."""
    huge = f"0x{'f' * 10_000}"
    found = faults(f"""
        [daemon]
        region = {huge}
        [functions.f]
        url = "http://a"
        timeout_in_seconds = {huge}
        [mappings.m]
        event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/s"
        function_name = "f"
        starting_position = "AT_TIMESTAMP"
        starting_position_timestamp = {huge}
        batch_size = {huge}
        filter_criteria.filters = [{{ pattern = {{ data = {{ a = [{huge}] }} }} }}]
    """)
    assert len(found) == 5
    assert all(len(fault) < 300 for fault in found)


def test_a_byte_order_mark_is_skipped(loaded: Load) -> None:
    assert loaded('\ufeff[daemon]\nregion = "eu-west-1"').daemon.region == "eu-west-1"


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'region = "\xe9"')
    for file, rule in (
        (tmp_path / "absent.toml", "there is no such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (latin, "byte 11 is not UTF-8, and a TOML file must be UTF-8"),
    ):
        with pytest.raises(SettingsError) as caught:
            load(file, {})
        assert caught.value.faults == [f"{file}: {rule}"]


def test_a_named_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "poller.toml"
    os.mkfifo(pipe)
    with pytest.raises(SettingsError) as caught:
        load(pipe, {})
    assert caught.value.faults == [f"{pipe}: is a named pipe, not a file"]


def test_an_anonymous_pipe_is_read() -> None:
    """As in `poller check -c <(sops -d poller.toml)`."""
    reading, writing = os.pipe()
    os.write(writing, b'[daemon]\nregion = "eu-west-1"')
    os.close(writing)
    try:
        assert load(Path(f"/dev/fd/{reading}"), {}).daemon.region == "eu-west-1"
    finally:
        os.close(reading)


def test_an_empty_file_is_valid_and_causes_a_warning(loaded: Load) -> None:
    settings = loaded("")
    assert (settings.functions, settings.queue_mappings, settings.stream_mappings) == ({}, (), ())
    assert settings.warnings == ("mappings: there are none, so there is nothing to do",)


def test_the_settings_have_only_plain_values(loaded: Load) -> None:
    """No value of pydantic, and no text with its origin, leaves settings/."""
    settings = loaded('[daemon]\nendpoints = { sqs = "http://${HOST}" }', HOST="h")
    assert type(settings.daemon.endpoints) is dict
    assert [type(url) for url in settings.daemon.endpoints.values()] == [str]
    assert isinstance(settings.functions, Mapping)


def test_a_copy_of_the_file_is_read_as_if_it_stood_in_the_place_of_the_file(tmp_path: Path) -> None:
    """The names of files in it are relative to the original, whose name the faults have."""
    (tmp_path / "private").mkdir()
    copy, file = tmp_path / "private" / "settings.toml", tmp_path / "poller.toml"
    copy.write_text('[functions.store]\ncommand = ["./store"]\n')
    file.write_text("faulty")
    found = examine(file, {}, copy=copy)
    kind = found.settings.functions[FunctionName("store")].kind
    assert isinstance(kind, ChildProcess)
    assert kind.directory == str(tmp_path)
    assert found.settings.daemon.state == f"sqlite://{tmp_path}/poller.db"
    assert found.text == copy.read_text()
    copy.write_text("a = ")
    with pytest.raises(SettingsError, match=rf"^{file}: "):
        load(file, {}, copy=copy)
