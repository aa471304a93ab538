"""What ASP.NET Core clients read from us, byte by byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.wire.aspnetcore_answers import (
    empty_poll,
    first_poll,
    negotiate_answer,
    negotiated,
    over,
    polled,
    refused,
    sent,
    stopped,
)
from persistconn.wire.http import Chunk, End, Head, Piece, RawHeaders

JSON = (b"Content-Type", b"application/json")
TEXT = (b"Content-Type", b"text/plain")
BYTES = (b"Content-Type", b"application/octet-stream")
GUARDS = ((b"X-Content-Type-Options", b"nosniff"), (b"Cache-Control", b"no-cache, no-store"))
POLL = (*GUARDS, (b"Pragma", b"no-cache"), (b"Expires", b"Thu, 01 Jan 1970 00:00:00 GMT"))
CORS = ((b"Access-Control-Allow-Origin", b"https://app.test"),)
OFFERS = (
    b'"availableTransports":[{"transport":"WebSockets","transferFormats":["Text","Binary"]},'
    b'{"transport":"ServerSentEvents","transferFormats":["Text"]},'
    b'{"transport":"LongPolling","transferFormats":["Text","Binary"]}]'
)


# Negotiate (§1.2) -------------------------------------------------------------------------------


def test_version_1_has_a_token_beside_the_id() -> None:
    assert negotiate_answer("id1", "tok", 1) == (
        b'{"negotiateVersion":1,"connectionId":"id1","connectionToken":"tok",' + OFFERS + b"}"
    )


def test_of_version_0_the_id_is_the_token() -> None:
    assert negotiate_answer("id1", "id1", 0) == b'{"negotiateVersion":0,"connectionId":"id1",' + OFFERS + b"}"


def test_stateful_reconnect_is_told_only_to_those_who_get_it() -> None:
    granted = negotiate_answer("id1", "tok", 1, stateful=True)
    assert granted.startswith(b'{"useStatefulReconnect":true,"negotiateVersion":1,')
    assert b"useStatefulReconnect" not in negotiate_answer("id1", "tok", 1)


def test_transports_are_offered_in_their_order_and_no_others() -> None:
    answer = json.loads(negotiate_answer("id1", "tok", 1, ["longPolling", "foreverFrame", "webSockets"]))
    assert [offer["transport"] for offer in answer["availableTransports"]] == ["LongPolling", "WebSockets"]


def test_a_token_may_be_good_for_a_time() -> None:
    assert json.loads(negotiate_answer("id1", "tok", 1, token_lifetime=3600))["tokenLifetimeSeconds"] == 3600


def test_an_error_stands_alone() -> None:
    assert negotiate_answer("id1", "tok", 1, error="quota exceeded", redirect_url="/x") == b'{"error":"quota exceeded"}'


def test_a_redirect_stands_alone() -> None:
    url = "https://other.test/chat"
    assert negotiate_answer(redirect_url=url) == b'{"url":"https://other.test/chat"}'
    assert negotiate_answer(redirect_url=url, access_token="jwt") == (
        b'{"url":"https://other.test/chat","accessToken":"jwt"}'
    )


@given(st.text(st.characters()))
def test_any_error_can_be_told(text: str) -> None:
    assert json.loads(negotiate_answer(error=text).decode("ascii")) == {"error": text}


# Whole answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [(), CORS])
def test_each_answer_has_the_headers_of_its_kind(extra: RawHeaders) -> None:
    def answer(status: int, *headers: tuple[bytes, bytes], body: bytes = b"") -> tuple[Piece, ...]:
        head = Head(status, (*headers, *extra))
        return (head, Chunk(body), End()) if body else (head, End())

    assert negotiated(b"{}", extra) == answer(200, JSON, *GUARDS, body=b"{}")
    assert first_poll(extra) == answer(200, BYTES, *POLL)
    assert polled(b"data", extra) == answer(200, BYTES, *POLL, body=b"data")
    assert empty_poll(extra) == answer(200, TEXT, *POLL)
    assert over(extra) == answer(204, TEXT, *POLL)
    assert sent(extra) == answer(200, TEXT, *GUARDS)
    assert stopped(extra) == answer(202, TEXT, *GUARDS)
    assert refused(409, "", extra, poll=True) == answer(409, TEXT, *POLL)
    assert refused(405, "", extra, poll=False) == answer(405, TEXT, *GUARDS)
    assert refused(404, "No ☕", extra, poll=True) == answer(404, TEXT, *POLL, body="No ☕".encode())
    assert refused(400, "\udc80", extra, poll=False) == answer(400, TEXT, *GUARDS, body=b"?")
