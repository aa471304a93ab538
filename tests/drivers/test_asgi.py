"""The App as an ASGI application, called by hand: no server, no socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import anyio
import pytest

from persistconn import App, Connection, DisconnectReason, PersistconnError, PersistentConnection, Request, Settings
from tests.drivers.asgi_client import AsgiClient, Call, lifespan
from tests.line import settle

CLASSIC = ["webSockets", "serverSentEvents", "longPolling", "foreverFrame"]
ASPNETCORE = ["webSockets", "serverSentEvents", "longPolling"]


class Echo(PersistentConnection):
    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.received: list[Any] = []
        self.ended: list[DisconnectReason] = []

    async def on_connected(self, connection: Connection) -> None:
        self.connections.append(connection)

    async def on_received(self, connection: Connection, data: Any) -> None:
        self.received.append(data)
        if data == "all":
            await self.broadcast("to all")
        else:
            await connection.send(data)

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        self.ended.append(reason)


class Careful(Echo):
    async def authorize(self, request: Request) -> bool:
        return request.user == "ann"


def app_of(echo: PersistentConnection, **options: Any) -> App:
    app = App(secret_keys=["sixteen or more characters"], **options)
    app.add_connection("/echo", echo)
    return app


# Conversations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", CLASSIC)
@pytest.mark.parametrize("kind", [Echo, Careful])
async def test_classic_clients_talk_on_every_transport(transport: str, kind: type[Echo]) -> None:
    echo = kind()
    async with AsgiClient.of(app_of(echo), user="ann") as client:
        query, call = await client.classic("/echo", transport)
        if transport == "webSockets":
            call.text('"hello"')
            assert await call.message() == "hello"
        elif transport == "longPolling":
            cursor = json.loads(call.body)["C"]
            poll = client.request(f"/echo/poll?{query}", method="POST", body=f"messageId={cursor}".encode())
            status, _ = await client.post(f"/echo/send?{query}", b"data=%22hello%22")
            assert status == 200
            assert json.loads((await poll.answer())[1])["M"] == ["hello"]
        else:
            assert (await client.post(f"/echo/send?{query}", b"data=%22hello%22"))[0] == 200
            await call.text_with('"M":["hello"]')
        assert echo.connections[0].transport == transport
        assert await client.post(f"/echo/abort?{query}") == (200, "")
        if transport != "longPolling":
            await call.ended()
        await settle()
        assert echo.ended == [DisconnectReason.closed]


@pytest.mark.parametrize("transport", ASPNETCORE)
async def test_aspnetcore_clients_talk_on_every_transport(transport: str) -> None:
    echo = Echo()
    async with AsgiClient.of(app_of(echo)) as client:
        target, call = await client.aspnetcore("/echo", transport)
        if transport == "webSockets":
            call.text("hello")
            assert await call.hear() == "hello"
            call.say("websocket.receive", bytes=b"\x00\xff", text=None)
            assert await call.hear() == b"\x00\xff"
            call.say("websocket.disconnect", code=1000)
        else:
            assert (await client.post(target, b"hello"))[0] == 200
            await call.text_with("hello")
            if transport == "longPolling":
                assert (await client.get(target, method="DELETE"))[0] == 202
            else:
                call.say("http.disconnect")
        await call.ended()
        await settle()
        assert (echo.connections[0].transport, echo.ended) == (transport, [DisconnectReason.closed])


async def test_everybody_hears_a_broadcast_and_a_thread_can_send_one() -> None:
    echo = Echo()
    app = app_of(echo)
    async with AsgiClient.of(app) as client:
        calls = [(await client.classic("/echo", "webSockets"))[1] for _ in range(5)]
        calls[0].text('"all"')
        assert [await call.message() for call in calls] == ["to all"] * 5
        await anyio.to_thread.run_sync(app.from_thread.run, echo.broadcast, "from a thread")
        assert [await call.message() for call in calls] == ["from a thread"] * 5


# Requests ---------------------------------------------------------------------------------------


async def test_what_is_answered_at_once_is_whole() -> None:
    app = app_of(Echo(), allowed_origins=["https://friend.example"])
    app.add_page("/", b"<p>hello", "text/html")
    async with AsgiClient.of(app) as client:
        page = client.request("/")
        assert await page.answer() == (200, "<p>hello")
        assert dict(page.sent[0]["headers"])[b"content-length"] == b"8"
        assert all(name == name.lower() for name, _ in page.sent[0]["headers"])
        head = client.request("/", method="HEAD")
        assert await head.answer() == (200, "")
        assert dict(head.sent[0]["headers"])[b"content-length"] == b"8"
        tag = dict(page.sent[0]["headers"])[b"etag"]
        assert await client.get("/", headers=[(b"If-None-Match", tag)]) == (304, "")
        assert (await client.get("/nothing"))[0] == 404
        asks = [(b"origin", b"https://friend.example"), (b"access-control-request-method", b"POST")]
        assert await client.get("/echo/negotiate", method="OPTIONS", headers=asks) == (204, "")
        strange = [(b"host", b"example.org"), (b"origin", b"https://stranger.example")]
        assert (await client.get("/echo/negotiate?clientProtocol=2.1", headers=strange))[0] == 403


async def test_the_log_names_foreign_pages_once_and_not_many(caplog: pytest.LogCaptureFixture) -> None:
    """Browsers hide our answer from the page, so who forgot `allowed_origins` finds it nowhere else."""
    app = app_of(Echo())
    async with AsgiClient.of(app) as client:
        asks = [(b"host", b"example.org"), (b"access-control-request-method", b"POST")]
        for number in (0, 0, *range(20)):
            page = [*asks, (b"origin", b"https://page%d.example" % number)]
            assert (await client.get("/echo/negotiate", headers=page))[0] == 403
            assert (await client.get("/echo/negotiate", headers=page, method="OPTIONS"))[0] == 403
    told = [record.message for record in caplog.records if "may not talk" in record.message]
    assert (len(told), told[0]) == (
        10,
        "a page of 'https://page0.example' may not talk to 'example.org': "
        "App(allowed_origins=[…]) has to name its origin",
    )


@pytest.mark.parametrize(
    ("root_path", "path", "raw_path"),
    [
        ("", "/echo", "/echo"),
        ("", "/echo", None),
        ("/rt", "/rt/echo", "/rt/echo"),
        ("/rt", "/echo", "/echo"),
        ("/rt", "/echo", "/rt/echo"),
        ("/rt", "/echo", None),
        ("/rt/", "/rt/echo", None),
        ("/a/b", "/a/b/echo", None),
        ("/a b", "/a b/echo", "/a%20b/echo"),
        ("/echo", "/echo/echo", "/echo/echo"),
        ("/echo", "/echo", "/echo/echo"),
        ("/ech", "/echo", None),
    ],
)
async def test_a_mount_point_stands_in_the_path_or_has_been_taken_off(
    root_path: str, path: str, raw_path: str | None
) -> None:
    async with AsgiClient.of(app_of(Echo()), root_path=root_path) as client:
        raw = {} if raw_path is None else {"raw_path": f"{raw_path}/negotiate".encode()}
        call = client.call("http", f"{path}/negotiate?clientProtocol=2.1", method="GET", **raw)
        if raw_path is None:
            del call.scope["raw_path"]
        call.say("http.request")
        status, answer = await client.begin(call).answer()
        assert (status, json.loads(answer)["Url"]) == (200, quote(root_path.rstrip("/")) + "/echo")


@pytest.mark.parametrize("root_path", ["", "/base"])
async def test_a_mount_point_that_was_taken_off_without_a_word_is_found(root_path: str) -> None:
    async with AsgiClient.of(app_of(Echo()), root_path=root_path) as client:
        raw = f"{root_path}/rt/echo/negotiate"
        status, answer = await client.get("/echo/negotiate/?clientProtocol=2.1", raw_path=raw.encode())
        assert (status, json.loads(answer)["Url"]) == (200, f"{root_path}/rt/echo")


async def test_a_body_comes_in_pieces() -> None:
    echo = Echo()
    async with AsgiClient.of(app_of(echo)) as client:
        query, _ = await client.classic("/echo", "serverSentEvents")
        call = client.call("http", f"/echo/send?{query}", method="POST")
        for part in (b"data=", b"", b"%22hel"):
            call.say("http.request", body=part, more_body=True)
        client.begin(call)
        await settle()
        assert not call.sent
        call.say("http.request", body=b"lo%22")
        assert (await call.answer())[0] == 200
        assert echo.received == ["hello"]


@pytest.mark.parametrize("told", [True, False], ids=["told before", "found out"])
async def test_a_body_that_is_too_large_is_refused(told: bool) -> None:
    async with AsgiClient.of(app_of(Echo(), settings=Settings(max_body_size=10))) as client:
        call = client.call("http", "/echo/negotiate", method="POST")
        if told:
            call.scope["headers"] = [(b"Content-Length", b"11")]
        else:
            call.say("http.request", body=b"123456", more_body=True)
            call.say("http.request", body=b"123456", more_body=True)
        status, text = await client.begin(call).answer()
        assert (status, text) == (413, "The body is larger than 10 bytes (max_body_size).")


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async with AsgiClient.of(app_of(Echo(), settings=Settings(body_timeout=0.01))) as client:
        call = client.call("http", "/echo/negotiate", method="POST")
        call.say("http.request", body=b"1", more_body=True)
        assert (await client.begin(call).answer())[0] == 408


async def test_who_goes_before_the_request_is_complete_has_asked_nothing() -> None:
    async with AsgiClient.of(app_of(Echo())) as client:
        call = client.call("http", "/echo/negotiate", method="POST")
        call.say("http.request", body=b"1", more_body=True)
        call.say("http.disconnect")
        await client.begin(call).ended()
        websocket = client.call("websocket", "/echo")
        websocket.say("websocket.disconnect", code=1006)
        await client.begin(websocket).ended()
        assert call.sent == websocket.sent == []


async def test_a_request_knows_what_the_server_and_the_framework_know() -> None:
    class User:
        is_authenticated = True
        display_name = "Ann"

    class Nobody:
        is_authenticated = False
        display_name = ""

    echo = Echo()
    scope = {"user": User(), "state": {"database": "db"}, "session": {"cart": 3}}
    async with AsgiClient.of(app_of(echo), **scope) as client:
        await client.classic("/echo", "webSockets")
        request = echo.connections[0].request
        assert (request.user, request.state["database"], request.scope["session"]) == ("Ann", "db", {"cart": 3})
        assert (request.client, request.scheme, request.headers["Host"]) == (
            ("192.0.2.1", 50_000),
            "http",
            "example.org",
        )
        client.scope = {"user": Nobody(), "client": None, "headers": [], "scheme": "wss"}
        await client.classic("/echo", "webSockets")
        request = echo.connections[1].request
        assert (request.user, request.client, request.scheme, dict(request.state)) == (None, None, "https", {})


async def test_authenticate_is_asked_before_the_scope() -> None:
    echo = Echo()
    async with AsgiClient.of(app_of(echo, authenticate=lambda request: "bob"), user="ann") as client:
        await client.classic("/echo", "webSockets")
        assert echo.connections[0].user == "bob"


async def test_what_is_no_request_of_ours_is_refused() -> None:
    async with AsgiClient.of(app_of(Echo())) as client:
        with pytest.raises(ValueError, match="no scope of type 'mqtt' is served here"):
            await client.application({"type": "mqtt"}, None, None)


# Refused WebSockets -----------------------------------------------------------------------------


async def test_a_refused_websocket_says_why_where_the_server_can() -> None:
    async with AsgiClient.of(app_of(Careful())) as client:
        told = client.websocket("/echo?id=x", extensions={"websocket.http.response": {}})
        assert (await told.answer())[0] == 401
        assert told.sent[0]["type"] == "websocket.http.response.start"
        mute = client.websocket("/echo?id=x")
        await mute.ended()
        assert mute.sent == [{"type": "websocket.close", "code": 1008}]


# How exchanges end ------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["serverSentEvents", "longPolling"])
async def test_a_stream_and_a_held_poll_end_when_the_client_goes(transport: str) -> None:
    async with AsgiClient.of(app_of(Echo())) as client:
        query, call = await client.classic("/echo", transport)
        if transport == "longPolling":
            call = client.request(f"/echo/poll?{query}&messageId={json.loads(call.body)['C']}")
        await settle()
        assert not call.over
        call.say("http.disconnect")
        await call.ended()


async def test_a_server_may_cancel_an_exchange() -> None:
    echo = Echo()
    async with AsgiClient.of(app_of(echo)) as client:
        _, websocket = await client.classic("/echo", "webSockets")
        _, stream = await client.classic("/echo", "serverSentEvents")
        for call in (websocket, stream):
            call.cancel.cancel()
            await call.ended()
        assert echo.ended == []  # they may come back


@pytest.mark.parametrize("transport", ["webSockets", "serverSentEvents"])
async def test_a_server_that_cannot_send_any_more_has_lost_its_client(transport: str) -> None:
    echo = Echo()
    async with AsgiClient.of(app_of(echo)) as client:
        _, call = await client.classic("/echo", transport)
        call.failing = OSError("gone")
        await echo.broadcast("anybody?")
        await call.ended()
        _, call = await client.classic("/echo", transport)
        assert len(echo.connections) == 2


async def test_a_client_that_goes_while_it_is_written_to_keeps_nobody() -> None:
    echo = Echo()
    async with AsgiClient.of(app_of(echo)) as client:
        _, call = await client.classic("/echo", "webSockets")
        call.block()
        await echo.broadcast("to nobody")
        await settle()
        call.say("websocket.disconnect", code=1006)
        await call.ended()


async def test_a_message_that_is_too_large_ends_its_websocket() -> None:
    echo = Echo()
    async with AsgiClient.of(app_of(echo, settings=Settings(max_message_size=8))) as client:
        for text, fits in (("x" * 8, True), ("ä" * 4, True), ("ä" * 5, False), ("x" * 9, False)):
            _, call = await client.aspnetcore("/echo", "webSockets")
            call.text(text)
            heard = await call.hear()
            if fits:
                assert heard == text
            else:
                assert (heard["code"], heard["reason"]) == (1009, "The message is larger than 8 bytes")
                await call.ended()
        assert echo.received == ["x" * 8, "ä" * 4]


# Back-pressure ----------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["webSockets", "serverSentEvents"])
async def test_what_gathers_while_a_client_does_not_read_leaves_together(transport: str) -> None:
    echo = Echo()
    async with AsgiClient.of(app_of(echo)) as client:
        _, call = await client.classic("/echo", transport)
        await settle()
        call.block()
        before = len(call.sent)
        for number in range(10):
            await echo.broadcast(number)
        await settle()
        assert len(call.sent) == before
        call.block(False)
        await call.until(lambda: len(call.sent) == before + 2)
        first, rest = [message.get("text") or message["body"].decode() for message in call.sent[before:]]
        assert '"M":[0]' in first
        assert '"M":[1,2,3,4,5,6,7,8,9]' in rest


async def test_on_asyncio_a_broadcast_is_sent_before_it_returns(anyio_backend_name: str) -> None:
    echo = Echo()
    async with AsgiClient.of(app_of(echo)) as client:
        calls = [(await client.classic("/echo", "webSockets"))[1] for _ in range(3)]
        await settle()
        before = [len(call.sent) for call in calls]
        await echo.broadcast("now")
        at_once = [len(call.sent) - count for call, count in zip(calls, before, strict=True)]
        assert at_once == ([0, 0, 0] if anyio_backend_name == "trio" else [1, 1, 1])
        assert [await call.message() for call in calls] == ["now"] * 3


async def test_the_senders_context_and_task_are_not_those_of_who_writes(anyio_backend_name: str) -> None:
    """Servers and middleware open scopes around `send`; they belong to the task that writes."""
    echo = Echo()
    app = app_of(echo)

    async def slow_middleware(scope: Any, receive: Any, send: Any) -> None:
        async def slow(message: Any) -> None:
            with anyio.CancelScope(shield=True), anyio.fail_after(5):
                await anyio.lowlevel.checkpoint()
                await send(message)

        await app(scope, receive, slow)

    async with AsgiClient.of(slow_middleware) as client:
        calls = [(await client.classic("/echo", "webSockets"))[1] for _ in range(3)]
        with anyio.fail_after(5):
            for number in range(20):
                await echo.broadcast(number)
                assert [await call.message() for call in calls] == [number] * 3
        if anyio_backend_name == "asyncio":
            assert asyncio.current_task() is not None


async def test_a_flood_is_not_received_before_it_is_dealt_with() -> None:
    class Slow(Echo):
        def __init__(self) -> None:
            super().__init__()
            self.go = anyio.Event()

        async def on_received(self, connection: Connection, data: Any) -> None:
            await self.go.wait()
            self.received.append(data)

    slow = Slow()
    async with AsgiClient.of(app_of(slow, settings=Settings(inbox_messages=4))) as client:
        _, call = await client.aspnetcore("/echo", "webSockets")
        for number in range(50):
            call.text(str(number))
        await settle(100)
        assert 46 > len(call.inbox) > 35
        slow.go.set()
        await call.until(lambda: not call.inbox)
        await settle()
        assert slow.received == [str(number) for number in range(50)]


async def test_a_reader_that_takes_nothing_is_cut() -> None:
    echo = Echo()
    settings = Settings(write_deadline=0.05, disconnect_timeout=6, keep_alive=2, close_timeout=0.1)
    async with AsgiClient.of(app_of(echo, settings=settings)) as client:
        _, call = await client.classic("/echo", "webSockets")
        call.block()
        await echo.broadcast("to nobody")
        await call.ended()
        await settle()
        assert echo.ended == [DisconnectReason.slow]


# Lives ------------------------------------------------------------------------------------------


async def test_at_the_end_of_a_lifespan_every_client_is_told() -> None:
    echo = Echo()
    app = app_of(echo)
    async with AsgiClient.of(app) as client:
        calls: list[Call] = []
        async with lifespan(app):
            assert app.health()["status"] == "running"
            for transport in CLASSIC:
                query, call = await client.classic("/echo", transport)
                if transport == "longPolling":
                    call = client.request(f"/echo/poll?{query}&messageId={json.loads(call.body)['C']}")
                calls.append(call)
            calls.append((await client.aspnetcore("/echo", "webSockets"))[1])
        for call in calls:
            await call.ended()
            assert call.sent[-1]["type"] == "websocket.close" or call.sent[-1]["more_body"] is False
        assert echo.ended == [DisconnectReason.shutdown] * 5
        assert app.health()["status"] == "stopped"
        assert (await client.get("/echo/negotiate?clientProtocol=2.1"))[0] == 503
        async with lifespan(app):  # as a server that reloads in one process
            await client.classic("/echo", "webSockets")


async def test_the_server_gets_the_time_to_be_done_with_the_last_message() -> None:
    """hypercorn says that the client has gone, and closes the socket, before `send` of the last one returns."""
    echo = Echo()
    app = app_of(echo)
    done: list[str] = []

    async def hypercorn(scope: Any, receive: Any, send: Any) -> None:
        async def closing(message: Any) -> None:
            await send(message)
            if (
                message["type"] == "http.response.body"
                and not message.get("more_body")
                and b"id=" in scope["query_string"]
            ):
                client.calls[-1].say("http.disconnect")
                await settle()
                done.append("closed")

        await app(scope, receive, closing)

    async with AsgiClient.of(hypercorn) as client:
        _, call = await client.aspnetcore("/echo", "serverSentEvents")
        await settle()
        await echo.connections[0].close()
        await call.ended()
        assert done == ["closed"]


async def test_what_does_not_end_in_time_is_cut() -> None:
    echo = Echo()
    app = app_of(echo, settings=Settings(drain_timeout=0.05, close_timeout=0.05))
    async with AsgiClient.of(app) as client:
        async with lifespan(app):
            _, call = await client.classic("/echo", "webSockets")
            call.block()
            await echo.broadcast("to nobody")
        await call.ended()


async def test_who_goes_while_he_is_refused_is_no_error() -> None:
    async with AsgiClient.of(app_of(Echo(), settings=Settings(max_body_size=1))) as client:
        call = client.call("http", "/echo/send", method="POST", headers=[(b"content-length", b"2")])
        call.failing = OSError("gone")
        await client.begin(call).ended()


async def test_somebody_else_may_run_the_app() -> None:
    echo = Echo()
    app = app_of(echo)
    async with AsgiClient.of(app) as client:
        async with app.lifespan():
            _, call = await client.classic("/echo", "webSockets")
            async with lifespan(app):
                pass
            await call.ended()
        assert echo.ended == [DisconnectReason.shutdown]


async def test_a_lifespan_that_cannot_begin_says_why() -> None:
    app = App()
    app.running = lambda: (_ for _ in ()).throw(PersistconnError("no"))  # type: ignore[method-assign]
    call = Call(app, {"type": "lifespan"})
    call.say("lifespan.startup")
    await call.run()
    assert call.sent == [{"type": "lifespan.startup.failed", "message": "no"}]


def test_one_app_serves_one_loop_after_the_other_but_not_two() -> None:
    echo = Echo()
    app = app_of(echo)

    async def converse() -> None:
        async with AsgiClient.of(app) as client:
            await client.classic("/echo", "webSockets")

    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(converse, backend=backend)
        assert app.health()["status"] == "stopped"

    stopped = asyncio.new_event_loop()  # one that is not asked whether anything still runs
    stopped.run_until_complete(converse())
    with pytest.raises(PersistconnError, match="one App serves one loop"):
        anyio.run(app.at_home)
    for task in asyncio.all_tasks(stopped):
        task.cancel()
    stopped.run_until_complete(asyncio.sleep(0.01))
    stopped.close()
    anyio.run(converse)
    assert len(echo.connections) == 5
