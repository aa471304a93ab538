"""What layers like hubs are built on: topics, replies that outlive callbacks, callbacks that end with a connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import quote

import anyio
import anyio.lowlevel
import pytest

from persistconn import (
    App,
    Connection,
    ConnectionClosed,
    DisconnectReason,
    Payload,
    PersistconnError,
    PersistentConnection,
    RemoteProtocolError,
    Reply,
    Request,
    Settings,
)
from persistconn.host import Host
from persistconn.hubs import Hub
from persistconn.wire.http import End, Head, Headers, Message

from .test_host import KEYS, Client, Line, Recorder, serving


def raw(line: Line) -> list[bytes]:
    """The messages that are no envelopes."""
    return [piece.data for piece in line.pieces if isinstance(piece, Message) and b'"C"' not in piece.data]


async def rest(rounds: int = 30) -> None:
    for _ in range(rounds):
        await anyio.lowlevel.checkpoint()


# Subscriptions ----------------------------------------------------------------------------------


def rooms(request: Request) -> Sequence[str]:
    return request.query.get("rooms", "").split(",")


class Rooms(Recorder):
    def subscriptions(self, request: Request) -> Sequence[str]:
        return rooms(request)


class AsyncRooms(Recorder):
    async def subscriptions(self, request: Request) -> Sequence[str]:
        await anyio.lowlevel.checkpoint()
        return rooms(request)


class Member(Client):
    def __init__(self, host: Host, *rooms: str) -> None:
        super().__init__(host)
        self.rooms = ",".join(rooms)

    async def ask(self, action: str, *, line: Line | None = None, upgrade: bool = False, **_: Any) -> Line:
        line = line or Line(self.host)
        query = f"transport=webSockets&clientProtocol=2.1&rooms={self.rooms}"
        query += f"&connectionToken={quote(getattr(self, 'token', ''))}"
        request = Request("GET", f"{self.path}/{action}", query, upgrade=upgrade)
        exchange = self.host.open_nowait(request, line)
        self.host.pump()
        line.exchange = exchange if exchange is not None else await self.host.open(request, line)
        return line


@pytest.mark.parametrize("kind", [Rooms, AsyncRooms])
async def test_topics_are_chosen_when_a_client_comes(kind: type[Recorder]) -> None:
    talk = kind()
    async with serving(talk) as (_, host):
        red, both = await Member(host, "red").start(), await Member(host, "red", "blue").start()
        await talk.topics["red"].send(1)
        await talk.topics["blue"].send(2)
        await talk.topics["green"].send(3)
        await talk.topics["red"].send(4, exclude=[both.id])
        await talk.groups["red"].send(5)
        await red.got(2)
        await both.got(2)
        assert (red.line.messages, both.line.messages) == ([1, 4], [1, 2])
        assert list(talk.connections[both.id].topics) == ["red", "blue"]


async def test_subscriptions_may_be_given_to_an_instance() -> None:
    talk = Recorder()
    talk.subscriptions = lambda request: ["red"]  # type: ignore[method-assign]
    async with serving(talk) as (_, host):
        client = await Client(host).start()
        await talk.topics["red"].send(1)
        assert await client.got(1) == [1]


def refuse(request: Request) -> Sequence[str]:
    raise RemoteProtocolError("No such room.", status=500)


async def refuse_later(request: Request) -> Sequence[str]:
    return refuse(request)


def fail(request: Request) -> Sequence[str]:
    raise ValueError("secret")


async def fail_later(request: Request) -> Sequence[str]:
    raise ValueError("secret")


def nothing(request: Request) -> Sequence[str]:
    return None  # type: ignore[return-value]


@pytest.mark.parametrize("chosen", [refuse, refuse_later])
@pytest.mark.parametrize("authenticate", [None, lambda request: "ann"])
async def test_subscriptions_may_refuse_a_request(chosen: Any, authenticate: Any) -> None:
    talk = Recorder()
    talk.subscriptions = chosen  # type: ignore[method-assign]
    async with serving(talk, authenticate=authenticate) as (_, host):
        line = await Client(host).ask("negotiate")
        assert (line.status, line.body) == (500, b"No such room.")


@pytest.mark.parametrize("chosen", [fail, fail_later, nothing])
@pytest.mark.parametrize("authenticate", [None, lambda request: "ann"])
async def test_subscriptions_that_fail_let_nobody_in(
    chosen: Any, authenticate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    talk = Recorder()
    talk.subscriptions = chosen  # type: ignore[method-assign]
    async with serving(talk, authenticate=authenticate) as (_, host):
        line = await Client(host).ask("negotiate")
        assert (line.status, line.body) == (500, b"")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "authenticating or authorizing" in record.getMessage()


async def test_who_is_not_authorized_is_not_asked_what_it_reads() -> None:
    class Closed(Rooms):
        async def authorize(self, request: Request) -> bool:
            return request.path.endswith("ping")

        def subscriptions(self, request: Request) -> Sequence[str]:
            self.note("asked")
            return ()

    talk = Closed()
    async with serving(talk) as (_, host):
        assert (await Client(host).ask("negotiate")).status == 401
        assert talk.log == []
        assert (await Client(host).ask("ping")).status == 200
        assert talk.log == [("asked",)]


async def test_topics_of_what_is_not_served_say_so() -> None:
    with pytest.raises(PersistconnError, match="nothing is being served"):
        PersistentConnection().topics["red"].send(1)
    assert PersistentConnection().subscriptions(Request("GET", "/")) == ()


# Replies ----------------------------------------------------------------------------------------


class Answers(Recorder):
    """Takes each reply; `self.take` says what becomes of it."""

    def __init__(self, take: Callable[[Connection, Reply, Any], Awaitable[None]]) -> None:
        super().__init__()
        self.take = take

    async def on_received(self, connection: Connection, data: Any) -> None:
        await self.take(connection, connection.take_reply(), data)


async def post(client: Client, data: str) -> Line:
    return await client.ask("send", method="POST", body=b"data=" + quote(data).encode(), transport="longPolling")


async def test_a_reply_travels_apart_from_what_is_sent() -> None:
    async def take(connection: Connection, reply: Reply, data: Any) -> None:
        await connection.send("sent")
        await reply.send({"has_body": reply.has_body, "data": data})

    async with serving(Answers(take)) as (_, host):
        client = await Client(host).start()
        client.send("x")
        assert await client.got(1) == ["sent"]
        await client.line.until(lambda: raw(client.line))
        assert raw(client.line) == [b'{"has_body":false,"data":"x"}']
        line = await post(client, "y")
        await line.until(lambda: line.pieces)
        assert (line.status, line.body) == (200, b'{"has_body":true,"data":"y"}')


async def test_a_reply_may_come_long_after_the_callback() -> None:
    kept: list[Reply] = []

    async def take(connection: Connection, reply: Reply, data: Any) -> None:
        kept.append(reply)

    async with serving(Answers(take)) as (_, host):
        client = await Client(host).start()
        client.send("a")
        line, other = await post(client, "b"), await post(client, "c")
        await rest()
        assert len(kept) == 3 and not line.pieces and not other.pieces
        for reply in kept[:2]:
            await reply.send("now")
        kept[2].refuse(RemoteProtocolError("not now", status=503))
        assert raw(client.line) == [b'"now"'] and line.body == b'"now"'
        assert (other.status, other.body) == (503, b"not now")
        kept[0].refuse(RemoteProtocolError("nobody hears this"))
        assert raw(client.line) == [b'"now"']
    with pytest.raises(PersistconnError, match="the app is not running"):
        kept[0].send("too late")
    with pytest.raises(PersistconnError, match="the app is not running"):
        kept[0].refuse(RemoteProtocolError("too late"))


async def test_a_reply_is_taken_once_and_within_the_callback() -> None:
    async def take(connection: Connection, reply: Reply, data: Any) -> None:
        talk.connections["x"] = connection
        with pytest.raises(PersistconnError, match="there is no reply to take"):
            connection.take_reply()
        await reply.send("done")

    talk = Answers(take)
    async with serving(talk) as (_, host):
        client = await Client(host).start()
        client.send("x")
        await client.line.until(lambda: raw(client.line))
        with pytest.raises(PersistconnError, match=r"call take_reply\(\) once, within on_received"):
            talk.connections["x"].take_reply()


@pytest.mark.parametrize(
    ("error", "status", "body", "level"),
    [(RemoteProtocolError("no", status=500), 500, b"no", logging.WARNING), (ValueError("x"), 500, b"", logging.ERROR)],
)
async def test_a_callback_that_fails_has_answered(
    error: Exception, status: int, body: bytes, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def take(connection: Connection, reply: Reply, data: Any) -> None:
        raise error

    async with serving(Answers(take)) as (_, host):
        client = await Client(host).start()
        line = await post(client, "x")
        await line.until(lambda: line.pieces)
        assert (line.status, line.body) == (status, body)
    assert [record.levelno for record in caplog.records if record.levelno >= logging.WARNING] == [level]


async def test_who_replies_to_a_client_that_reads_nothing_waits() -> None:
    done: list[int] = []

    async def take(connection: Connection, reply: Reply, data: Any) -> None:
        for count in range(5):
            await reply.send(count)
            done.append(count)

    async with serving(Answers(take), settings=Settings(send_high_water=2)) as (_, host):
        client = await Client(host).start()
        client.line.stuck = True
        await host.send([client.id], Payload("in flight"))
        client.send("x")
        await rest()
        assert done == [0, 1]
        client.line.let_go()
        await client.line.until(lambda: len(raw(client.line)) == 5)
        await rest()
        assert done == [0, 1, 2, 3, 4]


async def test_limits_that_an_application_looks_after_are_counted() -> None:
    async def take(connection: Connection, reply: Reply, data: Any) -> None:
        connection.count_reaction("max_call_rate")

    async with serving(Answers(take)) as (app, host):
        client = await Client(host).start()
        client.send("a", "b")
        await rest()
        assert app.statistics().reactions == {"max_call_rate": 2}


# The end of a connection ------------------------------------------------------------------------


class Sleeps(Recorder):
    cancels_received = True

    async def on_received(self, connection: Connection, data: Any) -> None:
        self.note("begun", data)
        try:
            if data == "close":
                await connection.close()
            if data != "quick":
                await anyio.sleep_forever()
        finally:
            self.note("over", data, connection.ended)

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        await rest(3)
        self.note("disconnected", reason)


async def test_what_waits_for_a_connection_that_has_ended_is_cancelled_and_the_rest_not_begun() -> None:
    talk = Sleeps()
    async with serving(talk) as (_, host):
        client = await Client(host).start()
        client.send("slow", "next", "after that")
        await talk.until("begun", "slow")
        await client.abort()
        await talk.until("disconnected", DisconnectReason.closed)
    assert talk.log == [
        ("connected",), ("begun", "slow"), ("over", "slow", True), ("disconnected", DisconnectReason.closed),
    ]  # fmt: skip


async def test_a_callback_that_ends_its_own_connection_is_cancelled_where_it_waits_next() -> None:
    talk = Sleeps()
    async with serving(talk) as (_, host):
        client = await Client(host).start()
        client.send("close")
        await talk.until("disconnected", DisconnectReason.aborted)
    assert talk.log[1:] == [
        ("begun", "close"), ("over", "close", True), ("disconnected", DisconnectReason.aborted),
    ]  # fmt: skip


async def test_one_that_returns_leaves_on_disconnected_alone() -> None:
    class Closes(Sleeps):
        async def on_received(self, connection: Connection, data: Any) -> None:
            await connection.close()

    talk = Closes()
    async with serving(talk) as (_, host):
        client = await Client(host).start()
        client.send("x")
        await talk.until("disconnected", DisconnectReason.aborted)


async def test_without_asking_for_it_a_callback_goes_on_to_its_end() -> None:
    class Stays(Sleeps):
        cancels_received = False

        async def on_received(self, connection: Connection, data: Any) -> None:
            await go_on.wait()
            with pytest.raises(ConnectionClosed):
                await connection.send("x")
            self.note("done", data, connection.ended)

    go_on = anyio.Event()
    talk = Stays()
    async with serving(talk) as (_, host):
        client = await Client(host).start()
        client.send("a", "b")
        await rest()
        await client.abort()
        go_on.set()
        await talk.until("disconnected", DisconnectReason.closed)
    assert talk.log[1:3] == [("done", "a", True), ("done", "b", True)]


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_callback_whose_client_went_meanwhile_has_not_failed(
    grouped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What is sent raises, so that the callback ends; clients that go are no news for the log, though."""

    class Answers(Recorder):
        async def on_received(self, connection: Connection, data: Any) -> None:
            self.note("begun", data)
            if data == "for another":
                await talk.connections[client.id].send(data)
            await go_on.wait()
            if grouped:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(connection.send, data)
            await connection.send(data)

    async def too_late(connection: Connection, reason: DisconnectReason) -> None:
        await connection.send("as always here")

    go_on = anyio.Event()
    talk = Answers()
    async with serving(talk) as (_, host):
        client = await Client(host).start()
        stays = await Client(host).start()
        client.send("a", "b")
        talk.connections[client.id].start_soon(talk.on_received, talk.connections[client.id], "task")
        await rest()
        with caplog.at_level(logging.DEBUG, "persistconn.app"):
            await client.abort()
            go_on.set()
            await talk.until("disconnected", DisconnectReason.closed)
        assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
        assert f"Received of connection {client.id} was cut short: it has ended" in caplog.messages
        stays.send("for another")
        await rest()
        talk.on_disconnected = too_late  # type: ignore[method-assign]
        await stays.abort()
        await rest()
    assert [record.message.replace(stays.id, "one") for record in caplog.records if record.levelno > logging.DEBUG] == [
        "Received of connection one failed", "Disconnected of connection one failed",
    ]  # fmt: skip


async def test_a_message_and_the_end_may_come_at_once(caplog: pytest.LogCaptureFixture) -> None:
    class Answers(Recorder):
        async def on_received(self, connection: Connection, data: Any) -> None:
            try:
                await connection.send(data)
            except ConnectionClosed:
                self.note("closed", connection.ended)
                raise

    talk = Answers()
    async with serving(talk) as (_, host):
        client = await Client(host).start()
        client.send("a")
        await client.abort()
        await talk.until("disconnected", DisconnectReason.closed)
    assert talk.log[1] == ("closed", True)
    assert caplog.records == []


async def test_a_connection_has_ended_when_its_app_has_stopped() -> None:
    talk = Sleeps()
    async with serving(talk) as (_, host):
        client = await Client(host).start()
        client.send("slow")
        await talk.until("begun", "slow")
        assert not talk.connections[client.id].ended
    assert talk.connections[client.id].ended
    assert talk.log[-1] == ("over", "slow", True)


async def test_a_callback_that_cancels_its_own_task_completes_its_event(
    anyio_backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    if anyio_backend[0] == "trio":
        return  # there is no way to

    class Cancels(Recorder):
        async def on_received(self, connection: Connection, data: Any) -> None:
            if data == "cancel":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            await asyncio.sleep(0)
            self.note("received", data)

    talk = Cancels()
    async with serving(talk) as (_, host):
        client = await Client(host).start()
        client.send("cancel", "next")
        await talk.until("received", "next")
        host.drain()
        with anyio.fail_after(5):
            await host.drained()
    assert talk.log[-1] == ("disconnected", DisconnectReason.shutdown)


# Pages ------------------------------------------------------------------------------------------


def asked(host: Host, method: str = "GET", **headers: str) -> Line:
    line = Line(host)
    given = Headers(tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()))
    assert host.open_nowait(Request(method, "/page", "", given), line) is not None
    return line


def header(line: Line, name: str) -> str | None:
    assert isinstance(line.pieces[0], Head)
    found = [value.decode() for key, value in line.pieces[0].headers if key.decode().lower() == name]
    return found[0] if found else None


async def test_a_browser_that_has_a_page_gets_it_again_only_when_it_has_changed() -> None:
    body = [b"one"]
    app = App(secret_keys=KEYS)
    app.add_page("/page", lambda request: body[0], "text/html", headers={"X-Mine": "1"})
    async with app.running() as host:
        first = asked(host)
        tag = header(first, "etag")
        assert first.body == b"one" and tag is not None and tag.startswith('"')
        assert header(first, "cache-control") == "no-cache"
        for known in (tag, f"W/{tag}", f'"other", {tag}', " * "):
            again = asked(host, if_none_match=known)
            assert (again.status, again.body, header(again, "etag")) == (304, b"", tag)
            assert header(again, "content-type") is None and header(again, "x-mine") == "1"
            assert again.pieces[-1] == End()
        for known in ('"other"', "", tag.strip('"')):
            assert asked(host, if_none_match=known).body == b"one"
        body[0] = b"two"
        changed = asked(host, if_none_match=tag)
        assert changed.body == b"two" and header(changed, "etag") != tag


async def test_a_page_is_made_for_its_request() -> None:
    app = App(secret_keys=KEYS)
    app.add_page("/page", lambda request: request.headers.get("x-name", "").encode(), "text/plain")
    async with app.running() as host:
        assert [asked(host, x_name=name).body for name in ("ann", "bob", "ann")] == [b"ann", b"bob", b"ann"]
        assert asked(host, "HEAD", x_name="ann").status == 200


@pytest.mark.parametrize("kind", [None, Rooms])
async def test_a_page_that_cannot_be_made_is_500(kind: type[Recorder] | None, caplog: pytest.LogCaptureFixture) -> None:
    def fails(request: Request) -> bytes:
        raise ValueError("no page today")

    app = App(secret_keys=KEYS)
    app.add_page("/page", fails, "text/html")
    app.add_page("/text", lambda request: "text", "text/html")  # type: ignore[arg-type, return-value]
    if kind is not None:
        app.add_connection("/echo", kind())
    async with app.running() as host:
        line = asked(host)
        assert (line.status, line.body, line.pieces[-1]) == (500, b"", End())
    assert "no page today" in caplog.text


async def test_the_scripts_of_hubs_are_there_for_tools() -> None:
    class Chat(Hub):
        async def say(self, text: str) -> None: ...

    class Quiet(Hub):
        pass

    app = App(secret_keys=KEYS)
    assert app.hub_scripts() == {}
    app.add_hubs("/chat/", Chat)
    app.add_hubs("/quiet", Quiet, javascript=False)
    scripts = app.hub_scripts()
    assert list(scripts) == ["/chat", "/quiet"]
    assert '"chat"' in scripts["/chat"] and "say" in scripts["/chat"]
    assert "JavaScript Hub proxy generation has been disabled" in scripts["/quiet"]
    async with app.running() as host:
        for path in ("/chat/hubs", "/chat/hubs/", "/chat/js", "/chat/js/"):
            line = Line(host)
            host.open_nowait(Request("GET", path), line)
            assert line.body.decode() == scripts["/chat"]
            assert header(line, "content-type") == "application/javascript; charset=UTF-8"


# Closing ------------------------------------------------------------------------------------------


class Closer(Recorder):
    """Closes the connection that says 2, or the one that `victim` names, and then waits."""

    cancels_received = True
    victim: Connection | None = None

    async def on_received(self, connection: Connection, data: Any) -> None:
        self.note("begun", data)
        if data == 2:
            await (self.victim or connection).close("enough")
            self.note("ended", (self.victim or connection).ended)
        elif data == 4:
            await anyio.sleep_forever()


async def test_what_a_client_said_behind_its_end_is_not_begun() -> None:
    closer = Closer()
    async with serving(closer) as (_, host):
        client = await Client(host).start()
        client.send("2", "3", "5")
        await closer.until("disconnected", "aborted")
    assert closer.log == [("connected",), ("begun", 2), ("ended", True), ("disconnected", "aborted")]


async def test_closing_another_ends_what_it_waits_for() -> None:
    closer = Closer()
    async with serving(closer) as (_, host):
        waiting, killer = await Client(host).start(), await Client(host).start()
        closer.victim = closer.connections[waiting.id]
        waiting.send("4", "3")
        await closer.until("begun", 4)
        killer.send("2")
        await closer.until("disconnected", "aborted")
    assert ("begun", 3) not in closer.log


class Attentive(Recorder):
    async def on_received(self, connection: Connection, data: Any) -> None:
        self.note(data)


@pytest.mark.parametrize("inbox", [64, 10_000])
async def test_a_burst_of_thousands_lets_others_have_their_turn(inbox: int) -> None:
    attentive = Attentive()
    async with serving(attentive, settings=Settings(inbox_messages=inbox)) as (_, host):
        chatty, quiet = await Client(host).start(), await Client(host).start()
        assert chatty.exchange is not None and quiet.exchange is not None
        attentive.log.clear()
        host.receive(chatty.exchange, ["1"] * 2_000)
        host.receive(quiet.exchange, ["2"])
        host.pump()
        await attentive.until(2)
        assert attentive.log.index((2,)) <= 128


async def test_subscriptions_that_would_have_to_be_awaited_say_so(caplog: pytest.LogCaptureFixture) -> None:
    async def later() -> list[str]:
        return ["red"]

    talk = Recorder()
    talk.subscriptions = lambda request: later()  # type: ignore[method-assign]
    async with serving(talk) as (_, host):
        line = await Client(host).ask("negotiate")
        assert line.status == 500
    assert "write it as `async def`" in caplog.text
    caplog.clear()
