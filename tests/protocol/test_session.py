"""The two tables: every (state, input), and the joint rules."""

from __future__ import annotations

import itertools

import pytest

from persistconn.errors import LocalProtocolError
from persistconn.protocol.session import APP, JOINT, LINK, TIMERS, App, AppInput, Link, LinkInput, Session
from persistconn.protocol.statistics import Tally
from persistconn.wire.dialect import CLASSIC
from persistconn.wire.http import Request


def session() -> Session:
    return Session("id", 0, "/echo", Request("GET", "/echo/connect"), "", CLASSIC, Tally("classic", ""))


@pytest.mark.parametrize(("state", "what"), list(itertools.product(Link, LinkInput)))
def test_every_input_of_every_link_state_moves_by_the_table_or_raises(state: Link, what: LinkInput) -> None:
    one = session()
    one.link = state
    if (state, what) in LINK:
        one.turn(what)
        assert one.link is LINK[state, what]
    else:
        with pytest.raises(LocalProtocolError, match=f"{what.name} is not possible in {state.name}"):
            one.turn(what)
        assert one.link is state


@pytest.mark.parametrize(("state", "what"), list(itertools.product(App, AppInput)))
def test_every_input_of_every_app_state_moves_by_the_table_or_raises(state: App, what: AppInput) -> None:
    one = session()
    one.app = state
    if (state, what) in APP:
        one.tell(what)
        assert one.app is APP[state, what]
    else:
        with pytest.raises(LocalProtocolError, match=f"{what.name} is not possible in {state.name}"):
            one.tell(what)
        assert one.app is state


@pytest.mark.parametrize(("link", "app"), list(itertools.product(Link, App)))
def test_joint_rules_settle_in_one_step(link: Link, app: App) -> None:
    one = session()
    one.link, one.app = link, app
    assert one.settle() is JOINT.get((link, app))
    assert one.settle() is None


def test_nothing_leaves_the_last_states() -> None:
    assert not [key for key in LINK if key[0] is Link.GONE]
    assert not [key for key in APP if key[0] is App.DEAD]


def test_every_state_says_which_timers_it_has() -> None:
    assert set(TIMERS) == set(Link)


def test_a_session_shows_its_states() -> None:
    assert repr(session()) == "<Session id IDLE UNBORN>"
