"""Do the programs, modules and folders that the file names exist on this machine?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from poller.settings.loading import examine
from poller.settings.presence import missing

Missing = Callable[..., list[str]]
NO_MODULE = "its module is neither beside this file nor installed"
STREAM = """
[mappings.m]
event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/s"
function_name = "f"
starting_position = "LATEST"
"""


@pytest.fixture
def missing_of(tmp_path: Path) -> Missing:
    def of(text: str, **environ: str) -> list[str]:
        file = tmp_path / "poller.toml"
        file.write_text(text)
        return list(missing(examine(file, environ), environ))

    return of


def function(options: str) -> str:
    return f"[functions.f]\n{options}"


@pytest.mark.parametrize("module", ["signup", "package.inner", "namespace.inner", "json", "email.mime.text"])
def test_a_module_is_found_beside_the_file_or_installed(missing_of: Missing, tmp_path: Path, module: str) -> None:
    (tmp_path / "signup.py").write_text("raise SystemExit('it was imported')")
    for package in ("package", "namespace"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "inner.py").touch()
    (tmp_path / "package" / "__init__.py").write_text("raise SystemExit('it was imported')")
    assert missing_of(function(f'handler = "{module}:handle"')) == []


@pytest.mark.parametrize("module", ["signup", "json.signup", "package.other", "package.inner.deeper", "__main__.x"])
def test_a_missing_module_causes_a_warning(missing_of: Missing, tmp_path: Path, module: str) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "inner.py").touch()
    assert missing_of(function(f'handler = "{module}:handle"')) == [
        f'functions.f.handler = "{module}:handle": {NO_MODULE}'
    ]


def test_a_module_is_found_on_the_functions_own_path(missing_of: Missing, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "shared.py").touch()
    handler = 'handler = "shared:handle"'
    path = f"/nowhere:{tmp_path / 'lib'}"
    assert len(missing_of(function(handler))) == 1
    assert missing_of(function(f'{handler}\nenvironment = {{ PYTHONPATH = "{path}" }}')) == []
    assert missing_of(function(handler), PYTHONPATH=path) == []


def test_a_program_is_found_on_the_path_or_from_the_folder_of_the_file(missing_of: Missing, tmp_path: Path) -> None:
    program = tmp_path / "bootstrap"
    program.write_text("#!/bin/sh")
    program.chmod(0o755)
    assert missing_of(function('command = ["./bootstrap"]')) == []
    assert missing_of(function('command = ["bootstrap"]'), PATH=str(tmp_path)) == []
    assert missing_of(function(f'command = ["bootstrap"]\nenvironment.PATH = "{tmp_path}"'), PATH="/nowhere") == []
    assert missing_of(function('command = ["bootstrap", "a"]'), PATH="/nowhere") == [
        'functions.f.command = ["bootstrap", "a"]: there is no such program on PATH'
    ]
    assert missing_of(function('handler = "json:loads"\npython = "./bootstrap"')) == []
    assert missing_of(function('handler = "json:loads"\npython = "./none"')) == [
        'functions.f.python = "./none": there is no such program; a relative path begins at the folder of this file'
    ]
    program.chmod(0o644)
    assert missing_of(function('command = ["./bootstrap"]')) == [
        'functions.f.command = ["./bootstrap"]: is not executable'
    ]
    assert missing_of(function('command = ["/nowhere/program"]')) == [
        'functions.f.command = ["/nowhere/program"]: there is no such program'
    ]


def test_a_missing_folder_of_the_state_causes_a_warning_if_a_stream_needs_it(missing_of: Missing) -> None:
    state = '[daemon]\nstate = "sqlite://${FOLDER}/poller.db"\n'
    assert missing_of(state + STREAM, FOLDER="nowhere") == [
        'daemon.state = "sqlite://${FOLDER}/poller.db": its folder does not exist'
    ]
    assert missing_of(state, FOLDER="nowhere") == []
    assert missing_of(state + STREAM, FOLDER=".") == []
    assert missing_of('[daemon]\nstate = "memory:"\n' + STREAM) == []
    assert missing_of(STREAM) == []


def test_the_folder_of_the_event_queue_is_asked_for_where_the_file_names_it(missing_of: Missing) -> None:
    queue = '[daemon]\nevent_queue = "sqlite://${FOLDER}/events.db"\n'
    assert missing_of(queue, FOLDER="nowhere") == [
        'daemon.event_queue = "sqlite://${FOLDER}/events.db": its folder does not exist'
    ]
    assert missing_of(queue, FOLDER=".") == []
    assert missing_of('[daemon]\nstate = "sqlite://nowhere/poller.db"') == []


def test_other_kinds_of_functions_need_nothing_on_this_machine(missing_of: Missing) -> None:
    assert missing_of(function('url = "http://127.0.0.1:1"')) == []
