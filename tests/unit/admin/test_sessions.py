"""How long does a session of the page last, and what protects its forms?"""

from __future__ import annotations

from poller.admin.sessions import LASTS_IN_SECONDS, MAXIMUM_SESSIONS, Sessions


class SetClock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_session_lasts_for_its_time_and_for_the_token_with_which_it_began() -> None:
    clock = SetClock()
    sessions = Sessions(clock)
    session = sessions.begin("s3cret")
    assert sessions.is_valid(session, "s3cret")
    assert not sessions.is_valid(session, "another token")
    assert not sessions.is_valid("", "s3cret")
    clock.now += LASTS_IN_SECONDS
    assert not sessions.is_valid(session, "s3cret")


def test_a_session_that_is_ended_is_not_valid_and_the_others_are() -> None:
    sessions = Sessions(SetClock())
    one, other = sessions.begin("s3cret"), sessions.begin("s3cret")
    sessions.end(one)
    assert (sessions.is_valid(one, "s3cret"), sessions.is_valid(other, "s3cret")) == (False, True)


def test_the_oldest_of_too_many_sessions_ends() -> None:
    sessions = Sessions(SetClock())
    begun = [sessions.begin("s3cret") for _ in range(MAXIMUM_SESSIONS + 1)]
    assert [sessions.is_valid(each, "s3cret") for each in begun] == [False] + [True] * MAXIMUM_SESSIONS


def test_each_session_has_its_own_proof_that_no_other_server_knows() -> None:
    sessions = Sessions(SetClock())
    proofs = {sessions.proof(""), sessions.proof("a"), sessions.proof("b"), Sessions(SetClock()).proof("a")}
    assert len(proofs) == 4
    assert sessions.proof("a") == sessions.proof("a")
