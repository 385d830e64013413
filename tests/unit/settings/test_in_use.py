"""Which settings does the daemon use, and what would a reload change?"""

from __future__ import annotations

from pathlib import Path

import pytest

from poller.model.ids import MappingName
from poller.model.status import ShownSettings
from poller.settings.in_use import TextInUse, shown_settings
from poller.settings.loading import examine

TEXT = """
[daemon]
region = "${REGION}"
http_listen = "127.0.0.1:9464"
[functions.f]
url = "http://me:s3cret@host"
"""
ENVIRON = {"REGION": "eu-west-1"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "poller.toml"
    path.write_text(TEXT)
    return path


def shown(file: Path, *, not_replaced: tuple[MappingName, ...] = ()) -> ShownSettings:
    in_use = TextInUse(TEXT, examine(file, ENVIRON).settings.daemon, not_replaced)
    return shown_settings(in_use, file, ENVIRON)


def test_there_is_no_note_while_the_file_has_the_settings_in_use(file: Path) -> None:
    toml, notes = shown(file)
    assert notes == ()
    assert 'region = "${REGION}"' in toml.splitlines()
    assert 'url = "http://***@host"' in toml.splitlines()
    assert "shutdown_grace_in_seconds = 30" in toml


def test_a_changed_file_is_noted_and_the_settings_in_use_are_shown(file: Path) -> None:
    in_use = TextInUse(TEXT, examine(file, ENVIRON).settings.daemon)
    file.write_text(TEXT + "timeout_in_seconds = 7\n")
    toml, notes = shown_settings(in_use, file, ENVIRON)
    assert notes == (f"{file} has changed since then; `poller reload` applies it",)
    assert "timeout_in_seconds = 7" not in toml
    assert 'url = "http://***@host"' in toml.splitlines()


def test_the_faults_of_a_changed_file_are_noted_without_secrets(file: Path) -> None:
    in_use = TextInUse(TEXT, examine(file, ENVIRON).settings.daemon)
    file.write_text(TEXT.replace("@host", "@"))
    toml, notes = shown_settings(in_use, file, ENVIRON)
    assert notes[0] == f"{file} has faults now, so `poller reload` changes nothing"
    assert notes[1].startswith('functions.f.url = "http://***@": ')
    assert 'url = "http://***@host"' in toml.splitlines()


def test_the_settings_in_use_are_shown_although_the_file_was_deleted(file: Path) -> None:
    in_use = TextInUse(TEXT, examine(file, ENVIRON).settings.daemon)
    file.unlink()
    toml, notes = shown_settings(in_use, file, ENVIRON)
    assert notes[1:] == (f"{file}: there is no such file",)
    assert 'url = "http://***@host"' in toml.splitlines()


def test_an_option_that_waits_for_a_restart_is_noted(file: Path) -> None:
    at_start = examine(file, ENVIRON).settings.daemon
    text = TEXT.replace(":9464", ":9465").replace("${REGION}", "eu-west-2")
    file.write_text(text)
    _, notes = shown_settings(TextInUse(text, at_start), file, ENVIRON)
    assert notes == ("daemon.http_listen: the value below takes effect at the next restart",)


def test_a_mapping_that_was_not_replaced_is_noted(file: Path) -> None:
    _, notes = shown(file, not_replaced=(MappingName("m"),))
    assert notes == ("mappings.m: the last reload failed to replace the mapping, so it still has its former options",)
