"""Did a page of another site send a request to a server of poller?"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from poller.http.another_site import is_of_another_site


def request(*, origins: Sequence[str], fetch_sites: Sequence[str], hosts: Sequence[str]) -> web.Request:
    named = (("Origin", origins), ("Sec-Fetch-Site", fetch_sites), ("Host", hosts))
    return make_mocked_request("GET", "/", CIMultiDict((name, value) for name, values in named for value in values))


@pytest.mark.parametrize(
    ("origins", "fetch_sites"),
    [
        ([], []),
        (["http://127.0.0.1:9464"], []),
        (["https://127.0.0.1:9464"], ["same-origin"]),
        (["HTTP://127.0.0.1:9464"], []),
        ([], ["none"]),
    ],
)
def test_programs_and_our_own_page_may_send_requests(origins: list[str], fetch_sites: list[str]) -> None:
    assert not is_of_another_site(request(origins=origins, fetch_sites=fetch_sites, hosts=["127.0.0.1:9464"]))


@pytest.mark.parametrize(
    ("origins", "fetch_sites"),
    [
        (["http://evil.example"], []),
        (["http://evil.example:9464"], []),
        (["http://127.0.0.1"], []),
        (["http://127.0.0.1:8080"], ["same-site"]),
        (["http://127.0.0.1:9464", "http://evil.example"], []),
        (["null"], []),
        ([""], []),
        (["http://[::1"], []),
        (["http://127.0.0.1:9464@evil.example"], []),
        (["http://127.0.0.1:9464"], ["cross-site"]),
        ([], ["cross-site"]),
        ([], ["same-site"]),
        ([], ["none", "cross-site"]),
        ([], [""]),
    ],
)
def test_a_page_of_another_site_may_not_send_requests(origins: list[str], fetch_sites: list[str]) -> None:
    assert is_of_another_site(request(origins=origins, fetch_sites=fetch_sites, hosts=["127.0.0.1:9464"]))


@pytest.mark.parametrize("hosts", [[], ["127.0.0.1:9464", "evil.example"], [""]])
def test_an_origin_is_ours_only_if_it_equals_the_one_host_of_the_request(hosts: list[str]) -> None:
    assert is_of_another_site(request(origins=["http://evil.example"], fetch_sites=[], hosts=hosts))


def test_host_names_are_compared_without_case() -> None:
    assert not is_of_another_site(
        request(origins=["http://Poller.internal"], fetch_sites=[], hosts=["poller.INTERNAL"])
    )
