"""What ASGI leaves open, and what servers and middleware do beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from persistconn import App, Connection, DisconnectReason, PersistentConnection
from tests.drivers.asgi_client import AsgiClient
from tests.line import settle


class Echo(PersistentConnection):
    def __init__(self) -> None:
        self.ended: list[DisconnectReason] = []

    async def on_received(self, connection: Connection, data: Any) -> None:
        await connection.send(data)

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        self.ended.append(reason)


def app_of(echo: Echo) -> App:
    app = App(secret_keys=["sixteen or more characters"])
    app.add_connection("/echo", echo)
    return app


async def test_headers_may_be_there_to_be_read_once() -> None:
    async with AsgiClient.of(app_of(Echo())) as client:
        stranger = iter([(b"host", b"example.org"), (b"origin", b"https://stranger.example")])
        assert (await client.get("/echo/negotiate?clientProtocol=2.1", headers=stranger))[0] == 403


@pytest.mark.parametrize("missing", ["root_path", "query_string", "headers", "client", "extensions", "raw_path"])
async def test_what_may_be_missing_may_be_none(missing: str) -> None:
    async with AsgiClient.of(app_of(Echo())) as client:
        call = client.request("/echo/ping", **{missing: None})
        status, text = await call.answer()
        assert (status, json.loads(text)) == (200, {"Response": "pong"})


async def test_a_body_may_be_none() -> None:
    async with AsgiClient.of(app_of(Echo())) as client:
        call = client.call("http", "/echo/negotiate?negotiateVersion=1", method="POST")
        call.say("http.request", body=None)
        assert (await client.begin(call).answer())[0] == 200


async def test_a_length_with_thousands_of_digits_is_too_much() -> None:
    async with AsgiClient.of(app_of(Echo())) as client:
        assert (await client.post("/echo/negotiate", headers=[(b"content-length", b"9" * 5_000)]))[0] == 413


async def test_middleware_may_play_the_body_back_for_ever() -> None:
    """As in many answers to the question how to read a body twice: `receive` waits for nothing then."""
    app = app_of(Echo())

    async def playing_back(scope: Any, receive: Any, send: Any) -> None:
        async def again() -> Any:
            return message

        message = await receive() if scope["type"] == "http" else {}
        await app(scope, again if scope["type"] == "http" else receive, send)

    async with AsgiClient.of(playing_back) as client:
        query, stream = await client.classic("/echo", "serverSentEvents")
        assert (await client.post(f"/echo/send?{query}", b"data=%22hello%22"))[0] == 200
        await stream.text_with('"M":["hello"]')
        stream.failing = OSError("gone")
        await client.post(f"/echo/send?{query}", b"data=%22hello%22")
        await stream.ended()


@pytest.mark.parametrize("transport", ["webSockets", "serverSentEvents"])
async def test_a_client_may_have_gone_where_receive_fails(transport: str) -> None:
    echo = Echo()
    app = app_of(echo)

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        async def receive_or_fail() -> Any:
            if (message := await receive())["type"].endswith("disconnect"):
                raise RuntimeError("nobody is there")
            return message

        await app(scope, receive_or_fail, send)

    async with AsgiClient.of(failing) as client:
        query, call = await client.classic("/echo", transport)
        call.say("http.disconnect" if transport == "serverSentEvents" else "websocket.disconnect")
        await call.ended()
        await settle()
        assert (app.statistics().attached, app.statistics().connections, echo.ended) == (0, 1, [])  # it may come back
        half = client.call("http", "/echo/send?" + query, method="POST")
        half.say("http.request", body=b"data=", more_body=True)
        half.say("http.disconnect")
        await client.begin(half).ended()
        assert half.sent == []


@pytest.mark.parametrize(
    "said", [{"text": None, "bytes": b"x"}, {"text": "x", "bytes": None}, {"bytes": bytearray(b"x")}]
)
async def test_a_message_is_what_is_not_none(said: dict[str, Any]) -> None:
    async with AsgiClient.of(app_of(Echo())) as client:
        _, call = await client.aspnetcore("/echo", "webSockets")
        call.say("websocket.receive", **said)
        assert await call.hear() in ("x", b"x")


@pytest.mark.parametrize("said", [{"text": None, "bytes": None}, {"text": ""}, {"text": None, "bytes": b""}, {}])
async def test_an_empty_message_harms_nobody(said: dict[str, Any]) -> None:
    async with AsgiClient.of(app_of(Echo())) as client:
        _, call = await client.classic("/echo", "webSockets")
        call.say("websocket.receive", **said)
        assert await call.message() == ""
        call.text('"hello"')
        assert await call.message() == "hello"
