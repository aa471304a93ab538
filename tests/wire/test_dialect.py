"""Dialects are told apart by what a request says, and by nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.wire.dialect import ASPNETCORE, CLASSIC, CLASSIC_WITHOUT_START, beneath, classify
from persistconn.wire.http import Request

BOTH = frozenset({"classic", "aspnetcore"})


@pytest.mark.parametrize(
    ("method", "path", "query", "dialect"),
    [
        ("GET", "/chat/negotiate", "clientProtocol=2.1", "classic"),
        ("POST", "/chat/negotiate", "clientProtocol=2.1", "classic"),
        ("GET", "/chat/negotiate", "", "classic"),
        ("POST", "/chat/negotiate", "negotiateVersion=1", "aspnetcore"),
        ("POST", "/chat/negotiate", "", "aspnetcore"),
        ("POST", "/chat/hub/negotiate", "negotiateVersion=1", "aspnetcore"),
        ("POST", "/chat/refresh", "id=t", "aspnetcore"),
        ("POST", "/chat/hub/Refresh", "id=t", "aspnetcore"),
        ("GET", "/chat/hub/refresh", "id=t", None),
        ("GET", "/chat//negotiate", "", "classic"),
        ("GET", "/chat/js/Negotiate", "", "classic"),
        ("GET", "/chat/ping", "", "classic"),
        ("GET", "/chat/connect", "", "classic"),
        ("POST", "/chat/Send", "", "classic"),
        ("GET", "/chat", "transport=longPolling&connectionToken=t", "classic"),
        ("POST", "/chat", "connectionToken=t", "classic"),
        ("GET", "/chat/zzz/more", "transport=longPolling", "classic"),
        ("GET", "/chat", "id=t", "aspnetcore"),
        ("POST", "/chat", "id=t", "aspnetcore"),
        ("DELETE", "/chat/", "id=t", "aspnetcore"),
        ("GET", "/chat/hub", "id=t", "aspnetcore"),
        ("GET", "/chat/hub/more", "id=t", None),
        ("GET", "/chatter/connect", "transport=longPolling", None),
        ("GET", "/other", "", None),
    ],
)
def test_the_request_says_which(method: str, path: str, query: str, dialect: str | None) -> None:
    assert classify("/chat", Request(method, path, query), BOTH) == dialect


@pytest.mark.parametrize("only", ["classic", "aspnetcore"])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/chat/negotiate"), ("POST", "/chat/negotiate"), ("GET", "/chat/zzz")]
)
def test_where_only_one_is_allowed_it_is_that_one(only: str, method: str, path: str) -> None:
    assert classify("/chat", Request(method, path), frozenset({only})) == only


def test_where_none_is_allowed_there_is_none() -> None:
    assert classify("/chat", Request("GET", "/chat/negotiate"), frozenset()) is None


def test_the_narrowed_mount_has_no_other_paths_either() -> None:
    assert classify("/chat", Request("GET", "/other"), frozenset({"classic"})) is None


@pytest.mark.parametrize(
    ("mount", "path", "root_path", "rest"),
    [
        ("/echo", "/echo", "", ""),
        ("/echo", "/echo/connect", "", "/connect"),
        ("/echo", "/ECHO//connect", "", "//connect"),
        ("/echo", "/echo2/connect", "", None),
        ("/echo", "/ech", "", None),
        ("/echo/", "/echo/connect", "", "/connect"),
        ("", "/connect", "", "/connect"),
        ("/", "/connect", "", "/connect"),
        ("", "/", "", "/"),
        ("/echo", "/app/echo/connect", "/app", "/connect"),
        ("/echo", "/app/echo/connect", "", None),
    ],
)
def test_a_mount_takes_whole_segments(mount: str, path: str, root_path: str, rest: str | None) -> None:
    assert beneath(mount, Request("GET", path, root_path=root_path)) == rest


@given(st.text(), st.text())
def test_no_path_raises(mount: str, path: str) -> None:
    assert classify(mount, Request("GET", path), BOTH) in (None, "classic", "aspnetcore")


def test_old_clients_differ_in_start_only() -> None:
    assert CLASSIC.needs_start
    assert not CLASSIC_WITHOUT_START.needs_start
    assert CLASSIC.position_on_wire
    assert not CLASSIC.remembers_negotiation
    assert CLASSIC.pings


def test_a_connection_of_aspnetcore_is_made_by_negotiating_and_tells_no_position() -> None:
    assert ASPNETCORE.dialect == "aspnetcore"
    assert ASPNETCORE.remembers_negotiation
    assert not ASPNETCORE.needs_start
    assert not ASPNETCORE.position_on_wire
    assert not ASPNETCORE.pings
