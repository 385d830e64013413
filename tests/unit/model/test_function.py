from __future__ import annotations

import pytest

from poller.model.function import is_emulator


@pytest.mark.parametrize(
    "url",
    [
        "http://audit:8080/2015-03-31/functions/function/invocations",
        "http://audit:8080/2015-03-31/functions/function/invocations/",
        "http://audit:8080/2015-03-31/functions/function/invocations?Qualifier=live",
        "https://user:secret@host/rie/f/2015-03-31/functions/function/invocations",
        "http://host/rie/2015-03-31/functions/resize/invocations//?a=/b#c",
    ],
)
def test_a_path_that_ends_like_invokes_is_an_emulators(url: str) -> None:
    assert is_emulator(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "http://host/",
        "http://host/2015-03-31/functions/invocations",
        "http://host/2015-03-31/functions/a/b/invocations",
        "http://host/2015-03-31/functions/function/invocations/log",
        "http://host/x2015-03-31/functions/function/invocations",
        "http://host/?then=/2015-03-31/functions/function/invocations",
        "http://host/hook#/2015-03-31/functions/function/invocations",
    ],
)
def test_any_other_path_is_a_services_own(url: str) -> None:
    assert not is_emulator(url)
