"""Which requests are refused before anything else is done?"""

from __future__ import annotations

import pytest

from poller.admin.guard import NO_TOKEN_IS_SET, WRONG_TOKEN, Access, Denial, refused_change


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
