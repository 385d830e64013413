"""Is the folder of the workers private, and does none stay for ever?"""

from __future__ import annotations

import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from poller.workers.folder import LOCK, PREFIX, private_folder


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files with a short path. Those of pytest are longer."""
    with tempfile.TemporaryDirectory() as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


def test_a_socket_has_room_in_the_folder_however_long_the_path_of_temporary_files_is(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = place / ("long" * 20)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with private_folder() as folder, socket.socket(socket.AF_UNIX) as listener:
        private = folder / ".12345678"  # a socket is made there, and then gets its name
        private.mkdir()
        listener.bind(str(private / "s"))
        assert (private / "s").is_socket()


def test_only_the_user_may_enter_and_the_folder_is_removed(place: Path) -> None:
    with private_folder() as folder:
        (folder / "settings.toml").write_text("")
        assert folder.parent == place
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(place.iterdir()) == []


def test_the_folder_of_a_parent_that_was_killed_is_removed(place: Path) -> None:
    left = place / f"{PREFIX}left"
    left.mkdir()
    (left / LOCK).write_text("")
    with private_folder() as folder:
        assert list(place.iterdir()) == [folder]


def test_the_folders_of_others_stay(place: Path) -> None:
    """Those of a parent that lives, those that are new, links, and all with other names."""
    (place / f"{PREFIX}new").mkdir()
    other = place / "poller-demo-1"
    other.mkdir()
    (other / "file").write_text("")
    (place / f"{PREFIX}link").symlink_to(other)
    with private_folder() as first, private_folder():
        assert first.exists()
    assert sorted(path.name for path in place.iterdir()) == ["poller-demo-1", f"{PREFIX}link", f"{PREFIX}new"]
    assert (other / "file").exists()
