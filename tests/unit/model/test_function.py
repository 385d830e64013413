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
def test_a_url_whose_path_ends_like_that_of_invoke_is_an_emulator(url: str) -> None:
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
def test_a_url_with_any_other_path_is_an_http_service(url: str) -> None:
    assert not is_emulator(url)
