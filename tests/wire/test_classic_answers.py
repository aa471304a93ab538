"""What classic clients read from us, byte by byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.errors import RemoteProtocolError
from persistconn.settings import Settings
from persistconn.wire.classic import ProtocolVersion
from persistconn.wire.classic_answers import (
    aborted,
    empty_answer,
    envelope,
    json_answer,
    negotiate_answer,
    pong,
    refusal,
    started,
    text_answer,
)
from persistconn.wire.http import Chunk, End, Head

V2 = ProtocolVersion.parse("2.1")
GUARDS = ((b"X-Content-Type-Options", b"nosniff"), (b"Cache-Control", b"no-cache, no-store"))
CORS = ((b"Access-Control-Allow-Origin", b"https://app.test"),)


# Envelopes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (envelope("e-0"), b'{"C":"e-0","M":[]}'),
        (envelope("e-0", init=True), b'{"C":"e-0","S":1,"M":[]}'),
        (envelope("e-1", [b'"plain text"']), b'{"C":"e-1","M":["plain text"]}'),
        (envelope("e-3", [b'"hi"', b"2", b'{"x":null}']), b'{"C":"e-3","M":["hi",2,{"x":null}]}'),
        (envelope("e-3", should_reconnect=True), b'{"C":"e-3","T":1,"M":[]}'),
        (envelope("e-3", groups_token="gT-_"), b'{"C":"e-3","G":"gT-_","M":[]}'),
        (envelope("e-3", groups_token=""), b'{"C":"e-3","G":"","M":[]}'),
        (envelope("e-3", poll_delay=1.5), b'{"C":"e-3","L":1500,"M":[]}'),
        (envelope("e-3", error='no "more" ☕'), rb'{"C":"e-3","E":"no \"more\" \u2615","M":[]}'),
        (envelope("e-3", disconnect=True), b'{"C":"e-3","D":1,"M":[]}'),
        (
            envelope(
                "e-9",
                (b"1", b"2"),
                init=True,
                should_reconnect=True,
                groups_token="g",
                poll_delay=2,
                error="x",
                disconnect=True,
            ),
            b'{"C":"e-9","S":1,"T":1,"G":"g","L":2000,"E":"x","D":1,"M":[1,2]}',
        ),
    ],
)
def test_an_envelope_has_its_keys_in_order_and_no_others(written: bytes, expected: bytes) -> None:
    assert written == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(json_values, max_size=4), st.booleans(), st.booleans(), st.none() | st.text())
def test_an_envelope_is_json_and_ascii(values: list[Any], init: bool, reconnect: bool, error: str | None) -> None:
    payloads = [json.dumps(value).encode() for value in values]
    read = json.loads(envelope("e-1", payloads, init=init, should_reconnect=reconnect, error=error).decode("ascii"))
    expected: dict[str, object] = {"C": "e-1", "M": values}
    if init:
        expected["S"] = 1
    if reconnect:
        expected["T"] = 1
    if error is not None:
        expected["E"] = error
    assert read == expected


# Negotiate, start, ping -------------------------------------------------------------------------


def test_negotiate_tells_everything_as_the_genuine_server_does() -> None:
    answer = negotiate_answer("/signalr", "id1", "tok", ProtocolVersion.parse("1.5"), Settings())
    assert answer == (
        b'{"Url":"/signalr","ConnectionToken":"tok","ConnectionId":"id1","KeepAliveTimeout":20.0,'
        b'"DisconnectTimeout":30.0,"ConnectionTimeout":110.0,"TryWebSockets":true,"ProtocolVersion":"1.5",'
        b'"TransportConnectTimeout":5.0,"LongPollDelay":0.0}'
    )


def test_time_outs_are_numbers_with_a_point_whatever_the_settings_hold() -> None:
    settings = Settings(keep_alive=3, disconnect_timeout=12, connection_timeout=50, transport_connect_timeout=4)
    answer = negotiate_answer("/e", "id1", "tok", V2, settings, try_websockets=False)
    assert b'"KeepAliveTimeout":6.0,"DisconnectTimeout":12.0,"ConnectionTimeout":50.0,"TryWebSockets":false' in answer
    assert b'"ProtocolVersion":"2.0","TransportConnectTimeout":4.0,' in answer


def test_no_keep_alive_is_null() -> None:
    answer = json.loads(negotiate_answer("/e", "id1", "tok", V2, Settings(keep_alive=None)))
    assert answer["KeepAliveTimeout"] is None


def test_negotiate_may_tell_an_error() -> None:
    answer = negotiate_answer("/e", "id1", "tok", V2, Settings(), error="quota exceeded", redirect_url="https://h2")
    assert answer == b'{"ProtocolVersion":"2.0","Error":"quota exceeded"}'


def test_negotiate_may_send_clients_elsewhere() -> None:
    def answer(access_token: str | None = None) -> bytes:
        url = "https://h2/signalr?asrs=1"
        return negotiate_answer("/e", "id1", "tok", V2, Settings(), redirect_url=url, access_token=access_token)

    assert answer() == b'{"ProtocolVersion":"2.0","RedirectUrl":"https://h2/signalr?asrs=1"}'
    assert answer("jwt") == (b'{"ProtocolVersion":"2.0","RedirectUrl":"https://h2/signalr?asrs=1","AccessToken":"jwt"}')


def test_ping_and_start_are_answered_as_recorded() -> None:
    assert pong() == b'{ "Response": "pong" }'
    assert started() == b'{ "Response": "started" }'


# Whole answers ----------------------------------------------------------------------------------


def test_json_has_its_type_and_guards() -> None:
    assert json_answer(started(), extra_headers=CORS) == (
        Head(200, ((b"Content-Type", b"application/json; charset=UTF-8"), *GUARDS, *CORS)),
        Chunk(b'{ "Response": "started" }'),
        End(),
    )


def test_an_empty_callback_is_none() -> None:
    assert json_answer(b"{}", "") == json_answer(b"{}")


def test_jsonp_is_a_script() -> None:
    assert json_answer(pong(), "jQuery.cb_1", CORS) == (
        Head(200, ((b"Content-Type", b"application/javascript; charset=UTF-8"), *GUARDS, *CORS)),
        Chunk(b'jQuery.cb_1({ "Response": "pong" });'),
        End(),
    )


def test_a_text_says_why() -> None:
    assert text_answer(401, "Who are you? ☕", CORS) == (
        Head(401, ((b"Content-Type", b"text/plain; charset=utf-8"), *GUARDS, *CORS)),
        Chunk("Who are you? ☕".encode()),
        End(),
    )


def test_a_refusal_has_the_status_of_its_error() -> None:
    assert refusal(RemoteProtocolError("Too large.", status=413), CORS) == text_answer(413, "Too large.", CORS)


def test_an_answer_may_be_empty() -> None:
    assert empty_answer() == (Head(200, GUARDS), End())
    assert empty_answer(204, CORS) == (Head(204, GUARDS + CORS), End())


def test_abort_is_answered_with_an_empty_text() -> None:
    assert aborted(CORS) == (Head(200, ((b"Content-Type", b"text/plain"), *GUARDS, *CORS)), End())
