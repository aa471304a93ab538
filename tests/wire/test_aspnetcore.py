"""ASP.NET Core requests: what each asks for, and what is answered to those that ask wrongly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.errors import RemoteProtocolError
from persistconn.settings import Settings
from persistconn.wire.aspnetcore import (
    MISSING_ID,
    NOT_AN_INTEGER,
    UNKNOWN_ID,
    Attach,
    Intent,
    Negotiate,
    NegotiationError,
    Refresh,
    Send,
    Stop,
    read_request,
    unsupported,
)
from persistconn.wire.http import Headers, Request

SETTINGS = Settings()
STATEFUL = Settings(allow_stateful_reconnect=True)
TOKEN = "mH3-9rKq0eXcW_1uTz8yFg"


def ask(
    method: str,
    path: str,
    query: str = "",
    *,
    accept: str | None = None,
    upgrade: bool = False,
    body: bytes = b"",
    settings: Settings = SETTINGS,
) -> Intent:
    headers = Headers(() if accept is None else ((b"Accept", accept.encode()),))
    return read_request(Request(method, path, query, headers, body, upgrade=upgrade), "/hubs", settings)


def refused(method: str, path: str, query: str = "", *, accept: str | None = None) -> tuple[int, str]:
    with pytest.raises(RemoteProtocolError) as caught:
        ask(method, path, query, accept=accept)
    return caught.value.status, str(caught.value)


# Places -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [("/hubs", ""), ("/hubs/", ""), ("/hubs/chat", "chat"), ("/Hubs/CHAT", "chat"), ("/hubs//chat/", "chat")],
)
def test_the_name_is_the_one_segment_behind_the_mount(path: str, name: str) -> None:
    assert ask("POST", path, f"id={TOKEN}") == Send(name, TOKEN, b"")
    assert ask("POST", f"{path}/negotiate") == Negotiate(name, 0, False)
    assert ask("POST", f"{path}/Refresh", f"id={TOKEN}") == Refresh(name, TOKEN)


@pytest.mark.parametrize(
    "path",
    ["/hubs/chat/more", "/hubs/chat/more/negotiate", "/hubs/negotiate/chat", "/other", "/hubs2", "/hubs/" + "x" * 257],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT"])
def test_there_is_nothing_elsewhere(method: str, path: str) -> None:
    assert refused(method, path, f"id={TOKEN}") == (404, "")


def test_a_mount_may_be_the_root_or_lie_below_one() -> None:
    assert read_request(Request("POST", "/negotiate"), "", SETTINGS) == Negotiate("", 0, False)
    assert read_request(Request("POST", "/chat/negotiate"), "/", SETTINGS) == Negotiate("chat", 0, False)
    below = Request("POST", "/app/hubs/chat/negotiate", root_path="/app")
    assert read_request(below, "/hubs", SETTINGS) == Negotiate("chat", 0, False)


# Negotiate (§1.1) -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "version"),
    [
        ("", 0),
        ("negotiateVersion=0", 0),
        ("negotiateVersion=1", 1),
        ("negotiateVersion=%2B1", 1),
        ("negotiateVersion=+01+", 1),
        ("negotiateVersion=2", 1),
        ("negotiateVersion=2147483647", 1),
        ("NEGOTIATEversion=1", 1),
        ("id=stale&user=ann&negotiateVersion=1", 1),
    ],
)
def test_the_version_is_what_both_know(query: str, version: int) -> None:
    assert ask("POST", "/hubs/chat/negotiate", query) == Negotiate("chat", version, False)


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("", NOT_AN_INTEGER),
        ("abc", "The client requested a non-integer protocol version."),
        ("1.0", NOT_AN_INTEGER),
        ("1e0", NOT_AN_INTEGER),
        ("٣", NOT_AN_INTEGER),
        ("2147483648", NOT_AN_INTEGER),
        ("-2147483649", NOT_AN_INTEGER),
        ("9" * 5000, NOT_AN_INTEGER),
        ("-1", "The client requested version '-1', but the server does not support this version."),
        (
            "-2147483648",
            "The client requested version '-2147483648', but the server does not support this version.",
        ),
    ],
)
def test_a_version_that_cannot_be_is_an_error_within_an_ordinary_answer(version: str, text: str) -> None:
    with pytest.raises(NegotiationError) as caught:
        ask("POST", "/hubs/negotiate", f"negotiateVersion={version}")
    assert (caught.value.status, str(caught.value)) == (200, text)


@pytest.mark.parametrize(
    ("query", "settings", "stateful"),
    [
        ("useStatefulReconnect=true", STATEFUL, True),
        ("USEstatefulReconnect=True+", STATEFUL, True),
        ("useStatefulReconnect=true", SETTINGS, False),
        ("useStatefulReconnect=false", STATEFUL, False),
        ("useStatefulReconnect=1", STATEFUL, False),
        ("useStatefulReconnect", STATEFUL, False),
        ("", STATEFUL, False),
    ],
)
def test_stateful_reconnect_is_for_those_who_ask_where_it_is_allowed(
    query: str, settings: Settings, stateful: bool
) -> None:
    intent = ask("POST", "/hubs/negotiate", query, settings=settings)
    assert intent == Negotiate("", 0, stateful)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("verb", ["negotiate", "refresh"])
def test_negotiate_and_refresh_are_for_post(method: str, verb: str) -> None:
    assert refused(method, f"/hubs/chat/{verb}", f"id={TOKEN}") == (405, "")


# Transports (§2.1) ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "upgrade", "transport"),
    [
        ("text/event-stream", False, "serverSentEvents"),
        ("text/event-stream", True, "serverSentEvents"),
        ("application/json, Text/Event-Stream;q=0.9", False, "serverSentEvents"),
        (None, True, "webSockets"),
        ("*/*", True, "webSockets"),
        (None, False, "longPolling"),
        ("*/*", False, "longPolling"),
        ("Text", False, "longPolling"),
        (",;,text/event-streams", False, "longPolling"),
        ("", False, "longPolling"),
    ],
)
def test_a_get_asks_for_a_transport(accept: str | None, upgrade: bool, transport: str) -> None:
    intent = ask("GET", "/hubs/chat", f"id={TOKEN}&_=17", accept=accept, upgrade=upgrade)
    assert intent == Attach("chat", transport, TOKEN)  # type: ignore[arg-type]


@pytest.mark.parametrize("query", ["", "id=", "access_token=x"])
def test_only_a_websocket_may_come_without_a_negotiation(query: str) -> None:
    assert ask("GET", "/hubs/chat", query, upgrade=True) == Attach("chat", "webSockets", None)


def test_a_post_sends_and_a_delete_stops() -> None:
    assert ask("POST", "/hubs/chat", f"ID={TOKEN}", body=b"{}\x1e") == Send("chat", TOKEN, b"{}\x1e")
    assert ask("DELETE", "/hubs/chat", f"id={TOKEN}") == Stop("chat", TOKEN)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "OPTIONS", "PATCH", "get", ""])
def test_other_methods_are_not_allowed(method: str) -> None:
    assert refused(method, "/hubs/chat", f"id={TOKEN}") == (405, "")


# Ids (§2.2) -------------------------------------------------------------------------------------

NEED_ID = [
    ("GET", "/hubs/chat", None),
    ("GET", "/hubs/chat", "text/event-stream"),
    ("POST", "/hubs/chat", None),
    ("DELETE", "/hubs/chat", None),
    ("POST", "/hubs/chat/refresh", None),
]


@pytest.mark.parametrize(("method", "path", "accept"), NEED_ID)
def test_who_is_it(method: str, path: str, accept: str | None) -> None:
    for query in ("", "id=", "id", "identity=x"):
        assert refused(method, path, query, accept=accept) == (400, "Connection ID required") == (400, MISSING_ID)


@pytest.mark.parametrize(("method", "path", "accept"), NEED_ID)
def test_an_id_that_is_much_longer_than_ours_is_none_of_ours(method: str, path: str, accept: str | None) -> None:
    unknown = (404, "No Connection with that ID")
    assert refused(method, path, "id=" + "x" * 65, accept=accept) == unknown == (404, UNKNOWN_ID)


def test_a_websocket_with_an_id_too_long_is_no_newcomer() -> None:
    with pytest.raises(RemoteProtocolError, match=UNKNOWN_ID):
        ask("GET", "/hubs/chat", "id=" + "x" * 65, upgrade=True)


@pytest.mark.parametrize(
    ("transport", "text"),
    [
        ("webSockets", "WebSockets transport not supported by this end point type"),
        ("serverSentEvents", "ServerSentEvents transport not supported by this end point type"),
        ("longPolling", "LongPolling transport not supported by this end point type"),
    ],
)
def test_a_transport_that_is_off_is_named(transport: str, text: str) -> None:
    assert unsupported(transport) == text


# Anything ---------------------------------------------------------------------------------------

methods = st.sampled_from(["GET", "POST", "DELETE", "OPTIONS"]) | st.text()
paths = st.lists(st.sampled_from(["/", "hubs", "/chat", "/negotiate", "/refresh"]) | st.text(max_size=5)).map("".join)
names = st.sampled_from(["id", "Id", "negotiateVersion", "useStatefulReconnect", "access_token"]) | st.text(max_size=5)
values = st.sampled_from(["1", "-1", "true", "%", "%FF"]) | st.integers().map(str) | st.text(max_size=80)
queries = st.lists(st.tuples(names, values).map("=".join)).map("&".join) | st.text()


@given(methods, paths, queries, st.binary(), st.booleans(), st.binary(max_size=8))
def test_whatever_is_asked_it_is_an_intent_or_the_peers_mistake(
    method: str, path: str, query: str, accept: bytes, upgrade: bool, body: bytes
) -> None:
    request = Request(method, "/hubs" + path, query, Headers(((b"Accept", accept),)), body, upgrade=upgrade)
    try:
        intent = read_request(request, "/hubs", STATEFUL)
    except RemoteProtocolError as error:
        assert error.status in (200, 400, 404, 405)
        assert (error.status == 200) is isinstance(error, NegotiationError)
    else:
        assert "/" not in intent.name
        assert intent.name == intent.name.lower()
