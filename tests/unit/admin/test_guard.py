"""Which requests are refused before anything else is done?"""

from __future__ import annotations

import pytest

from poller.admin.guard import NO_TOKEN_IS_SET, WRONG_TOKEN, Access, Denial, is_of_another_site, refused_change


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
    assert not is_of_another_site(origins=origins, fetch_sites=fetch_sites, hosts=["127.0.0.1:9464"])


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
    assert is_of_another_site(origins=origins, fetch_sites=fetch_sites, hosts=["127.0.0.1:9464"])


@pytest.mark.parametrize("hosts", [[], ["127.0.0.1:9464", "evil.example"], [""]])
def test_an_origin_is_ours_only_if_it_equals_the_one_host_of_the_request(hosts: list[str]) -> None:
    assert is_of_another_site(origins=["http://evil.example"], fetch_sites=[], hosts=hosts)


def test_host_names_are_compared_without_case() -> None:
    assert not is_of_another_site(origins=["http://Poller.internal"], fetch_sites=[], hosts=["poller.INTERNAL"])


@pytest.mark.parametrize(
    ("token", "is_loopback", "denial"), [(None, True, None), (None, False, NO_TOKEN_IS_SET), ("t", True, WRONG_TOKEN)]
)
def test_a_change_needs_no_token_only_on_loopback_and_only_if_no_token_is_set(
    token: str | None, is_loopback: bool, denial: Denial | None
) -> None:
    assert refused_change(authorizations=[], token=token, is_loopback=is_loopback) == denial


@pytest.mark.parametrize("is_loopback", [True, False])
@pytest.mark.parametrize("authorization", ["Bearer s3cret", "bearer s3cret", "Bearer  s3cret "])
def test_the_token_allows_a_change(authorization: str, is_loopback: bool) -> None:
    assert refused_change(authorizations=[authorization], token="s3cret", is_loopback=is_loopback) is None


@pytest.mark.parametrize(
    "authorizations",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        ["Bearer s3cre"],
        ["Bearer s3cret2"],
        ["Bearer S3cret"],
        ["Basic s3cret"],
        ["s3cret"],
        ["Bearer s3crét"],
        ["Bearer \udcff"],
        ["Bearer s3cret", "Bearer s3cret"],
    ],
)
def test_any_other_authorization_is_refused(authorizations: list[str]) -> None:
    for is_loopback in (True, False):
        assert refused_change(authorizations=authorizations, token="s3cret", is_loopback=is_loopback) == WRONG_TOKEN


def test_no_text_of_the_guard_shows_the_token() -> None:
    assert "s3cret" not in repr(Access(admin_token="s3cret"))
