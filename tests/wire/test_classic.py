"""Classic requests: what each asks for, and what is answered to those that ask wrongly."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.errors import RemoteProtocolError
from persistconn.settings import Settings
from persistconn.wire.classic import (
    INCORRECT_ID,
    MISSING_TOKEN,
    NOT_A_WEBSOCKET,
    UNKNOWN_TRANSPORT,
    USER_CHANGED,
    Abort,
    Attach,
    Intent,
    Negotiate,
    Ping,
    ProtocolVersion,
    Send,
    Start,
    format_cursor,
    parse_cursor,
    read_data,
    read_request,
    same_user,
)
from persistconn.wire.dialect import CLASSIC, CLASSIC_WITHOUT_START
from persistconn.wire.http import Chunk, Headers, Query, Request
from persistconn.wire.transports import EVENT_STREAM, LONG_POLLING, WEBSOCKETS

SETTINGS = Settings()
JSONP = Settings(jsonp=True)
V2 = ProtocolVersion.parse("2.1")
POLL = "transport=longPolling&clientProtocol=2.1&connectionToken=tok"
STREAM = "transport=serverSentEvents&clientProtocol=2.1&connectionToken=tok"
SOCKET = "transport=webSockets&clientProtocol=2.1&connectionToken=tok"


def get(path: str, query: str = "", body: bytes = b"", *, settings: Settings = SETTINGS, **more: Any) -> Intent:
    return read_request(Request(more.pop("method", "GET"), path, query, body=body, **more), "/signalr", settings)


def refused(path: str, query: str = "", body: bytes = b"", *, settings: Settings = SETTINGS) -> tuple[int, str]:
    with pytest.raises(RemoteProtocolError) as caught:
        get(path, query, body, settings=settings)
    return caught.value.status, str(caught.value)


# Versions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("1.2", "1.2"),
        ("1.3", "1.3"),
        ("1.4", "1.4"),
        ("1.5", "1.5"),
        ("2.0", "2.0"),
        ("2.1", "2.0"),
        ("2.2", "2.0"),
        ("0.9", "1.2"),
        ("1.0", "1.2"),
        ("1.10", "1.10"),
        ("1.5.0", "1.5.0"),
        ("1.5.0.7", "1.5.0.7"),
        ("2.0.0", "2.0"),
        ("99.0", "2.0"),
        ("abc", "1.2"),
        (None, "1.2"),
        ("", "1.2"),
        ("2", "1.2"),
        ("1337", "1.2"),
        (".1337", "1.2"),
        ("1.5.0.0.0", "1.2"),
        ("1.5 ", "1.2"),
        ("+1.5", "1.2"),
        ("1.٥", "1.2"),
        ("1.2147483648", "1.2"),
        ("9" * 5000 + ".0", "1.2"),
    ],
)
def test_the_clients_version_is_echoed_between_1_2_and_2_0(asked: str | None, answered: str) -> None:
    assert str(ProtocolVersion.parse(asked)) == answered


@given(st.text("0123456789.") | st.text() | st.none())
def test_no_version_raises(asked: str | None) -> None:
    assert (1, 2) <= ProtocolVersion.parse(asked).number <= (2, 0)


def test_what_depends_on_the_version() -> None:
    old, start, new = (ProtocolVersion.parse(text) for text in ("1.3", "1.4", "2.0"))
    assert (old.needs_start, start.needs_start, new.needs_start) == (False, True, True)
    assert (old.knows_redirects, start.knows_redirects, new.knows_redirects) == (False, False, True)
    assert (old.traits, start.traits) == (CLASSIC_WITHOUT_START, CLASSIC)


# Negotiate and ping -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/signalr/negotiate", "/signalr"),
        ("/SignalR/NEGOTIATE", "/SignalR"),
        ("/signalr//negotiate", "/signalr/"),
        ("/signalr/js/negotiate", "/signalr/js"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_negotiate_knows_its_path_as_seen_from_outside(path: str, url: str, method: str) -> None:
    assert get(path, "clientProtocol=2.1&_=1700000000000", method=method) == Negotiate(url, V2, None)


@pytest.mark.parametrize(
    ("mount", "path", "root_path", "url"),
    [
        ("", "/negotiate", "", ""),
        ("", "//evil.example/negotiate", "", "/evil.example"),
        ("/echo", "/app/echo/negotiate", "/app", "/app/echo"),
        ("/é cho", "/é cho/negotiate", "", "/%C3%A9%20cho"),
        ("/a?b", "/a?b/negotiate", "", "/a%3Fb"),
    ],
)
def test_the_url_is_a_path_for_clients(mount: str, path: str, root_path: str, url: str) -> None:
    assert read_request(Request("GET", path, root_path=root_path), mount, SETTINGS) == Negotiate(
        url, ProtocolVersion((1, 2)), None
    )


def test_ping_needs_nothing() -> None:
    assert get("/signalr/ping") == Ping(None)
    assert get("/signalr/PING", "name=ann") == Ping(None)


def test_a_mount_that_is_called_like_a_verb_is_no_verb() -> None:
    intent = read_request(Request("GET", "/api/ping", POLL), "/api/ping", SETTINGS)
    assert isinstance(intent, Attach)


# Who asks wrongly -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/signalr/connect", "/signalr/start", "/signalr/send", "/signalr/abort", "/signalr/zzz"]
)
@pytest.mark.parametrize("transport", ["", "transport=", "transport=carrierPigeon", "transport=web%20Sockets"])
def test_an_unknown_transport_comes_first(path: str, transport: str) -> None:
    assert refused(path, f"{transport}&connectionToken=tok") == (400, "Protocol error: Unknown transport.")


@pytest.mark.parametrize("path", ["/signalr/connect", "/signalr/start", "/signalr/send", "/signalr/abort", "/signalr"])
@pytest.mark.parametrize("token", ["", "&connectionToken="])
def test_then_a_missing_token(path: str, token: str) -> None:
    answer = refused(path, f"transport=serverSentEvents{token}")
    assert answer == (400, "Protocol error: Missing connection token.")


def test_the_genuine_servers_words() -> None:
    assert UNKNOWN_TRANSPORT == "Protocol error: Unknown transport."
    assert MISSING_TOKEN == "Protocol error: Missing connection token."
    assert INCORRECT_ID == "The ConnectionId is in the incorrect format."
    assert USER_CHANGED == (
        "Unrecognized user identity.  The user identity cannot change during an active SignalR connection."
    )
    assert NOT_A_WEBSOCKET == "Not a valid web socket request."


# JSONP ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/signalr/negotiate", "/signalr/ping", "/signalr/connect", "/signalr/zzz"])
def test_jsonp_is_refused_before_anything_else(path: str) -> None:
    assert refused(path, "callback=cb") == (403, "Forbidden: JSONP is disabled.")
    assert refused(path, "callback=%3Cscript%3E") == (403, "Forbidden: JSONP is disabled.")


def test_an_empty_callback_is_none() -> None:
    assert get("/signalr/ping", "callback=") == Ping(None)


@pytest.mark.parametrize(
    "callback",
    ["cb", "$", "_", "jQuery1124_17.cb", "a.b.c", "été", "\u2163", "a\u0301", "x\u200dy", "$1", "functions", "中文.z9"],
)
def test_a_callback_is_a_dotted_list_of_identifiers(callback: str) -> None:
    assert get("/signalr/ping", urlencode({"callback": callback}), settings=JSONP) == Ping(callback)


@pytest.mark.parametrize(
    "callback",
    [
        "alert(1)",
        "a b",
        "1a",
        "a.",
        ".a",
        "a..b",
        "a-b",
        "a[0]",
        "function",
        "a.delete",
        "null",
        "\u0301a",
        "\u200da",
        "☕",
        "a;b",
        "<script>",
        "a\n",
        " a",
        "a" * 257,
    ],
)
def test_a_callback_that_would_run_code_is_refused(callback: str) -> None:
    answer = refused("/signalr/ping", urlencode({"callback": callback}), settings=JSONP)
    assert answer == (400, "The callback is not a dotted list of JavaScript identifiers.")


def test_jsonp_clients_get_all_there_is() -> None:
    assert get("/signalr/negotiate", "clientProtocol=2.1&callback=cb", settings=JSONP) == Negotiate(
        "/signalr", V2, "cb"
    )
    assert get("/signalr/start", f"{POLL}&callback=cb", settings=JSONP) == Start("longPolling", "tok", V2, "cb")
    assert get("/signalr/send", f"{POLL}&callback=cb&data=a+b", settings=JSONP) == Send(
        "longPolling", "tok", "a b", V2, "cb"
    )
    attach = get("/signalr/connect", f"{POLL}&callback=cb", settings=JSONP)
    assert isinstance(attach, Attach)
    assert attach.kind == "connect"
    assert attach.framing.frame(b"{}") == Chunk(b"cb({});")


# Start, send, abort -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_start_and_abort_come_by_any_method(method: str) -> None:
    assert get("/signalr/start", SOCKET, method=method) == Start("webSockets", "tok", V2, None)
    assert get("/signalr/abort", SOCKET, method=method) == Abort("webSockets", "tok", V2)


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b"data=hello", "hello"),
        (b"data=a+b%20c", "a b c"),
        (b"data=%7B%22H%22%3A%22chathub%22%7D", '{"H":"chathub"}'),
        (b"data=", ""),
        (b"", None),
        (b"other=1", None),
        (b'{"json":1}', None),
        (b"x=1&data=2&data=3", "2"),
        (b"data=a=b", "a=b"),
        ("data=é".encode(), "é"),
        (b"d%61ta=1", "1"),
        (b"data=100%", "100%"),
    ],
)
def test_a_message_comes_in_a_form_whatever_its_type_says(body: bytes, data: str | None) -> None:
    headers = ((b"Content-Type", b"application/json; charset=UTF-8"),)
    for told in (Headers(), Headers(headers)):
        intent = get("/signalr/send", STREAM, body, method="POST", headers=told)
        assert intent == Send("serverSentEvents", "tok", data, V2, None)


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_arrives(text: str) -> None:
    for body in (quote(text, safe=""), quote_plus(text)):
        intent = get(
            "/signalr/send", STREAM, b"data=" + body.encode(), method="POST", settings=Settings(max_message_size=None)
        )
        assert isinstance(intent, Send)
        assert intent.data == text


def test_only_long_polling_may_send_in_the_query() -> None:
    intent = get("/signalr/send", f"{POLL}&data=query")
    assert isinstance(intent, Send)
    assert intent.data == "query"
    intent = get("/signalr/send", f"{POLL}&data=query", b"data=form")
    assert isinstance(intent, Send)
    assert intent.data == "form"
    intent = get("/signalr/send", f"{STREAM}&data=query")
    assert isinstance(intent, Send)
    assert intent.data is None


@pytest.mark.parametrize("body", [b"data=\xff", b"data=%FF", b"data=%ED%A0%80", b"%FF=1", b"data=\xc3"])
def test_a_form_that_is_no_utf8_is_refused(body: bytes) -> None:
    assert refused("/signalr/send", STREAM, body) == (400, "The form in the body is not valid UTF-8.")


def test_a_message_is_measured_as_utf8_and_decoded() -> None:
    small = Settings(max_message_size=8)
    assert get("/signalr/send", STREAM, b"data=" + b"%41" * 8, settings=small)
    assert get("/signalr/send", STREAM, "data=éé".encode(), settings=small)
    answer = (413, "The message is larger than 8 bytes (max_message_size).")
    assert refused("/signalr/send", STREAM, b"data=" + b"A" * 9, settings=small) == answer
    assert refused("/signalr/send", STREAM, "data=ééééé".encode(), settings=small) == answer
    assert refused("/signalr/send", f"{POLL}&data=123456789", settings=small) == answer


# Attach -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "poll", "stream"),
    [
        ("/signalr/connect", "connect", "connect"),
        ("/signalr//Connect", "connect", "connect"),
        ("/signalr/reconnect", "reconnect", "reconnect"),
        ("/signalr/poll", "poll", "reconnect"),
        ("/signalr", "poll", "reconnect"),
        ("/signalr/", "poll", "reconnect"),
        ("/signalr/zzz", "poll", "reconnect"),
        ("/signalr/connect/more", "poll", "reconnect"),
    ],
)
def test_every_other_path_receives(path: str, poll: str, stream: str) -> None:
    assert get(path, POLL) == Attach(poll, LONG_POLLING, "tok", None, None, V2)  # type: ignore[arg-type]
    assert get(path, STREAM) == Attach(stream, EVENT_STREAM, "tok", None, None, V2)  # type: ignore[arg-type]
    assert get(path, SOCKET, upgrade=True) == Attach(stream, WEBSOCKETS, "tok", None, None, V2)  # type: ignore[arg-type]


def test_a_websocket_must_be_one() -> None:
    assert refused("/signalr/connect", SOCKET) == (400, "Not a valid web socket request.")


def test_names_of_transports_ignore_case() -> None:
    attach = get("/signalr/connect", "transport=SERVERsentEVENTS&connectionToken=tok&clientProtocol=1.3")
    assert attach == Attach("connect", EVENT_STREAM, "tok", None, None, ProtocolVersion((1, 3)))


def test_a_forever_frame_has_a_number() -> None:
    query = "transport=foreverFrame&connectionToken=tok"
    attach = get("/signalr/connect", f"{query}&frameId=7")
    assert isinstance(attach, Attach)
    assert attach.framing.name == "foreverFrame"
    assert refused("/signalr/connect", query) == (500, "The supplied frameId is in the incorrect format.")


FIELDS = st.lists(
    st.tuples(
        st.sampled_from(["messageId", "message%49d", "messageid", "amp%26messageId", "x&messageId", "tid", ""]),
        st.sampled_from(["e7-1", "e7-2", "e7%2D3", "e7+4", "%26messageId=e7-5", ""]),
    ),
    max_size=4,
)


@given(FIELDS, FIELDS)
def test_the_position_is_the_first_that_is_quoted(before: list[tuple[str, str]], after: list[tuple[str, str]]) -> None:
    text = "&".join(f"{name}={value}" for name, value in before) + f"&{POLL}&"
    text += "&".join(f"{name}={value}" for name, value in after)
    asked = get("/signalr/poll", text)
    assert isinstance(asked, Attach)
    assert asked.cursor == (Query(text).find("messageId") or None)
    assert asked.token == Query(text)["connectionToken"]


def test_a_client_that_comes_back_quotes_cursor_and_groups() -> None:
    query = f"{SOCKET}&groupsToken=g1&messageId=e7-1&connectionData=[{{name:x}}]&tid=3"
    assert get("/signalr/reconnect", query, upgrade=True) == Attach("reconnect", WEBSOCKETS, "tok", "e7-1", "g1", V2)


def test_long_polling_quotes_them_in_the_query_or_else_in_the_form() -> None:
    form = b"messageId=e7-1&groupsToken=g1"
    assert get("/signalr/poll", POLL, form) == Attach("poll", LONG_POLLING, "tok", "e7-1", "g1", V2)
    both = get("/signalr/poll", f"{POLL}&messageId=e7-9&groupsToken=g9", form)
    assert both == Attach("poll", LONG_POLLING, "tok", "e7-9", "g9", V2)


def test_empty_ones_are_none() -> None:
    assert get("/signalr/poll", f"{POLL}&groupsToken=", b"messageId=") == Attach(
        "poll", LONG_POLLING, "tok", None, None, V2
    )


def test_other_transports_have_no_form() -> None:
    assert get("/signalr/connect", STREAM, b"messageId=e7-1\xff") == Attach(
        "connect", EVENT_STREAM, "tok", None, None, V2
    )


def test_a_poll_with_a_broken_form_is_refused() -> None:
    assert refused("/signalr/poll", POLL, b"messageId=%FF") == (400, "The form in the body is not valid UTF-8.")


words = st.sampled_from(["/signalr", "/connect", "/send", "/start", "/negotiate", "/", "//", "/poll", "/abort"])
parameters = st.sampled_from([POLL, STREAM, SOCKET, "callback=cb", "frameId=1", "transport=foreverFrame", "&&==%"])


@given(
    st.lists(words | st.text(), max_size=4), st.lists(parameters | st.text(), max_size=4), st.binary(), st.booleans()
)
def test_any_request_is_an_intent_or_refused(path: list[str], query: list[str], body: bytes, upgrade: bool) -> None:
    request = Request("POST", "".join(path), "&".join(query), body=body, upgrade=upgrade)
    for settings in (SETTINGS, JSONP):
        answer: Intent | int
        try:
            answer = read_request(request, "/signalr", settings)
        except RemoteProtocolError as refusal:
            answer = refusal.status
        assert isinstance(answer, Intent) or answer in (400, 403, 413, 500)


# Cursors ----------------------------------------------------------------------------------------


@given(st.text("abcxyz0189_", min_size=1, max_size=16), st.integers(0, 10**18 - 1))
def test_a_cursor_comes_back(epoch: str, position: int) -> None:
    assert parse_cursor(format_cursor(epoch, position)) == (epoch, position)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "-",
        "e-",
        "-1",
        "e--1",
        "e-01",
        "e-+1",
        "e-1 ",
        "e-1\n",
        "E-1",
        "e-1-2",
        "e-١",
        "é-1",
        "e-" + "9" * 19,
        "e-" + "9" * 5000,
        "e" * 17 + "-1",
        "d-19EDED-M1,26|N5,0",
        "\ud800",
    ],
)
def test_a_foreign_cursor_is_none(text: str | None) -> None:
    assert parse_cursor(text) is None


@given(st.text())
def test_no_cursor_raises(text: str) -> None:
    found = parse_cursor(text)
    assert found is None or format_cursor(*found) == text


# Users and data ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "user", "same"),
    [
        ("", None, True),
        ("", "", True),
        ("ann", "ann", True),
        ("Ann", "aNN", True),
        ("ann", "bob", False),
        ("ann", None, False),
        ("", "ann", False),
    ],
)
def test_users_ignore_case(told: str, user: str | None, same: bool) -> None:
    assert same_user(told, user) is same


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("hello", "hello"),
        ('"hello"', "hello"),
        ("42", 42),
        ("4.5", 4.5),
        ("true", True),
        ("null", None),
        ("[1,2]", [1, 2]),
        (' {"x": null} ', {"x": None}),
        ("", ""),
        ("{", "{"),
        ('{"x":1} tail', '{"x":1} tail'),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("01", "01"),
        ("'x'", "'x'"),
        ('"\\ud83d\\ude00"', "😀"),
        ("\ud800", "\ud800"),
    ],
)
def test_json_is_its_value_and_anything_else_is_text(text: str, value: object) -> None:
    assert read_data(text) == value


@pytest.mark.parametrize("depth", [101, 1_000, 30_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"x":', "}"), ('[{"x":', "}]")])
def test_what_is_nested_too_deeply_stays_text(depth: int, opening: str, closing: str) -> None:
    text = opening * depth + "1" + closing * depth
    assert read_data(text) == text


def test_a_hundred_levels_are_not_too_deep() -> None:
    text = "[" * 100 + "]" * 100
    assert json.dumps(read_data(text)) == text


def test_many_brackets_are_not_deep() -> None:
    assert read_data(json.dumps([[]] * 200)) == [[]] * 200
    assert read_data(json.dumps("[" * 200)) == "[" * 200


def test_numbers_beyond_all_measure_do_not_raise() -> None:
    for text in ("9" * 10_000, "1e999", "-" + "9" * 5_000, "1" * 400 + ".5"):
        read_data(text)


@given(st.text() | st.text('[]{}":,\\u0123456789dD tfn'))
def test_no_text_raises(text: str) -> None:
    try:
        expected = json.loads(text, parse_constant=lambda name: text)
    except ValueError:
        expected = text
    value = read_data(text)
    assert value in (expected, text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")), st.lists
    )
)
def test_every_value_is_read(value: object) -> None:
    assert read_data(json.dumps(value)) == value
