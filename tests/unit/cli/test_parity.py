"""Does `poller reference parity` say what poller does with each parameter of AWS Lambda, and which test shows it?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.model import Shape, StructureShape

from poller.cli.parity import ABSENT, DIFFERENCES, as_markdown, parameters
from poller.errors import SettingsError
from poller.settings.api_request import with_mapping
from poller.settings.loading import load
from tests.parity import WRITTEN, as_json, marked_tests
from tests.unit.cli.conftest import Poller

ROOT = Path(__file__).parents[3]
CALLS = sorted({parameter.call for parameter in parameters()})


def members(shape: Shape, names: tuple[str, ...] = ()) -> list[str]:
    """The names of all parameters below a shape that have no parameters of their own, with dots."""
    if not isinstance(shape, StructureShape):
        return [".".join(names)]
    return [leaf for name, member in shape.members.items() for leaf in members(member, (*names, name))]


@pytest.mark.parametrize("call", CALLS)
def test_every_parameter_of_the_call_is_listed_and_no_other(call: str) -> None:
    shape = botocore.session.get_session().get_service_model("lambda").operation_model(call).input_shape
    assert shape is not None
    listed = [parameter.name for parameter in parameters() if parameter.call == call]
    known = members(shape)
    assert [name for name in known if not any(f"{name}.".startswith(f"{one}.") for one in listed)] == []
    assert [one for one in listed if not any(f"{name}.".startswith(f"{one}.") for name in known)] == []
    assert len(listed) == len(set(listed))


def test_every_entry_has_a_test_and_every_marker_an_entry() -> None:
    keys = {one.marker for one in parameters()} | {one.key for one in DIFFERENCES}
    assert set(marked_tests()) == keys


def test_the_file_of_tests_is_up_to_date() -> None:
    assert WRITTEN.read_text(encoding="utf-8") == as_json(marked_tests()), "run python -m tests.parity"


@pytest.mark.parity("CreateEventSourceMapping: refused")
@pytest.mark.parametrize("name", ABSENT)
def test_a_parameter_without_an_option_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    file = tmp_path / "poller.toml"
    file.write_text("")
    value: Any = "x"
    for part in reversed(name.split(".")):
        value = {part: value}
    with pytest.raises(SettingsError) as caught:
        with_mapping(load(file, {}), "new", value, {})
    assert any(fault.startswith(f"{name} = ") for fault in caught.value.faults), caught.value.faults


def test_the_readme_has_the_tables_that_the_command_prints(poller: Poller) -> None:
    printed = poller("reference", "parity", "--markdown").stdout
    assert printed == as_markdown() + "\n"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for table in as_markdown().split("\n\n"):
        assert table in readme, "put the tables of .venv/bin/poller reference parity --markdown into README.md"


def test_the_list_for_people_and_the_one_for_programs_have_the_same_entries(poller: Poller) -> None:
    listed = json.loads(poller("reference", "parity", "--json").stdout)
    assert [one["name"] for one in listed["parameters"]] == [one.name for one in parameters()]
    assert [one["key"] for one in listed["differences"]] == [one.key for one in DIFFERENCES]
    lines = poller("reference", "parity").stdout.splitlines()
    for one in parameters():
        assert any(line.startswith(f"{one.key}  ") for line in lines)
