"""With which settings does a worker start?"""

from __future__ import annotations

import io

import pytest

from poller.errors import SettingsError
from poller.settings.in_use import InUse
from poller.settings.loading import examine
from poller.workers.starting import handed, received
from tests.unit.settings.explained import EXAMPLE
from tests.unit.settings.test_example import ENVIRON


def test_a_worker_receives_the_settings_that_its_parent_has_handed_to_it() -> None:
    """The example has every option."""
    in_use = InUse.of(examine(EXAMPLE, ENVIRON))
    assert received(io.BytesIO(handed(in_use))) == in_use


def test_a_worker_of_another_version_of_poller_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = handed(InUse.of(examine(EXAMPLE, ENVIRON)))
    monkeypatch.setattr("poller.workers.starting.__version__", "9.9.9")
    with pytest.raises(SettingsError, match=r"from version \d\S* to 9\.9\.9, so the daemon must be restarted"):
        received(io.BytesIO(settings))
