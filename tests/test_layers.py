"""What a protocol on top of connections is built with: several messages at once, formats, alarms, resuming."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from persistconn import (
    App,
    Connection,
    DisconnectReason,
    Format,
    Identity,
    PersistconnError,
    PersistentConnection,
    Request,
    Settings,
)
from persistconn.host import Host
from persistconn.protocol import Exchange
from persistconn.wire.http import Chunk, Headers, Message

from .test_host import KEYS, Client, Line, Recorder

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def serving(connection: PersistentConnection, **settings: Any) -> AsyncIterator[Host]:
    app = App(secret_keys=KEYS, settings=Settings(**settings))
    app.add_connection("/echo", connection)
    async with app.running() as host:
        yield host


class CoreClient:
    """A client of ASP.NET Core, without a socket."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.line = Line(host)
        self.token = ""

    async def ask(
        self, method: str = "GET", action: str = "", query: str = "", *, body: bytes = b"", **more: Any
    ) -> Line:
        line = more.pop("line", None) or Line(self.host)
        query = query or f"id={self.token}"
        request = Request(method, f"/echo{action}", query, body=body, **more)
        exchange = self.host.open_nowait(request, line)
        self.host.pump()
        line.exchange = exchange if exchange is not None else await self.host.open(request, line)
        return line

    async def start(self, *, events: bool = False, stateful: bool = False) -> CoreClient:
        query = f"negotiateVersion=1&useStatefulReconnect={stateful}"
        answer = json.loads((await self.ask("POST", "/negotiate", query)).body)
        self.id, self.token = answer["connectionId"], answer["connectionToken"]
        await self.attach(events=events)
        return self

    async def attach(self, *, events: bool = False) -> None:
        self.line = Line(self.host)
        headers = Headers(((b"Accept", b"text/event-stream"),)) if events else Headers()
        await self.ask(line=self.line, upgrade=not events, headers=headers)

    @property
    def exchange(self) -> Exchange:
        assert self.line.exchange is not None
        return self.line.exchange

    @property
    def got(self) -> list[bytes]:
        return [piece.data for piece in self.line.pieces if isinstance(piece, Message | Chunk)]

    async def until(self, count: int) -> list[bytes]:
        await self.line.until(lambda: len(self.got) >= count)
        return self.got

    def say(self, *messages: str | bytes) -> None:
        self.host.receive(self.exchange, messages)
        self.host.pump()

    def go(self, *, graceful: bool = True) -> None:
        self.host.lost(self.exchange, graceful=graceful)


async def rest(rounds: int = 30) -> None:
    for _ in range(rounds):
        await anyio.lowlevel.checkpoint()


# let_next -----------------------------------------------------------------------------------------


class Parallel(Recorder):
    """Goes on while the next messages come; each waits for its name to be called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, anyio.Event] = {}

    async def on_received(self, connection: Connection, data: Any) -> None:
        self.note("begun", data)
        if data.startswith("now"):
            connection.let_next()
        elif data.startswith("late"):
            await anyio.lowlevel.checkpoint()
            connection.let_next()
            self.note("let", data)
        elif data.startswith("fail"):
            connection.let_next()
            raise ValueError(data)
        self.calls[data] = anyio.Event()
        try:
            if not data.endswith("quick"):
                await self.calls[data].wait()
        except BaseException:
            self.note("cancelled", data)
            raise
        self.note("ended", data)
        await connection.send(data)

    def call(self, *names: str) -> None:
        for name in names:
            self.calls[name].set()


@pytest.fixture(params=["classic", "aspnetcore"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def a_client(host: Host, dialect: str) -> Any:
    if dialect == "aspnetcore":
        return await CoreClient(host).start()
    client = await Client(host).start()
    client.say = client.send  # type: ignore[attr-defined]
    client.go = client.abort  # type: ignore[attr-defined]
    return client


async def test_several_messages_are_under_way_at_once(dialect: str) -> None:
    parallel = Parallel()
    async with serving(parallel) as host:
        client = await a_client(host, dialect)
        client.say("now 1", "late 2", "now 3", "last", "behind")
        await parallel.until("begun", "last")
        await rest()
        assert ("begun", "behind") not in parallel.log
        parallel.call("now 3", "now 1")
        await parallel.until("ended", "now 1")
        assert ("ended", "late 2") not in parallel.log
        parallel.call("last")
        await parallel.until("begun", "behind")
        parallel.call("behind", "late 2")
        await parallel.until("ended", "late 2")
        begun = [entry[1] for entry in parallel.log if entry[0] == "begun"]
        assert begun == ["now 1", "late 2", "now 3", "last", "behind"]


async def test_one_that_lets_the_next_come_may_end_at_once(dialect: str) -> None:
    parallel = Parallel()
    async with serving(parallel) as host:
        client = await a_client(host, dialect)
        client.say(*[f"now {n} quick" for n in range(200)], "quick")
        await parallel.until("ended", "quick")
        ended = [entry[1] for entry in parallel.log if entry[0] == "ended"]
        assert ended == [*[f"now {n} quick" for n in range(200)], "quick"]
        assert not host._callbacks._let_go and not host._callbacks._waiting


async def test_errors_after_the_next_has_come_are_logged_and_end_nothing(
    dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    parallel = Parallel()
    async with serving(parallel) as host:
        client = await a_client(host, dialect)
        client.say("fail 1", "fail 2", "quick")
        await parallel.until("ended", "quick")
        assert not host._callbacks._let_go
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [str(record.exc_info[1]) for record in failures if record.exc_info] == ["fail 1", "fail 2"]
    caplog.clear()


@pytest.mark.parametrize("cancels", [True, False])
async def test_the_end_does_not_wait_for_those_that_went_on(dialect: str, cancels: bool) -> None:
    parallel = Parallel()
    parallel.cancels_received = cancels
    async with serving(parallel) as host:
        client = await a_client(host, dialect)
        client.say("now 1", "late 2")
        await parallel.until("let", "late 2")
        left = client.go()
        if left is not None:
            await left
        await parallel.until("disconnected", DisconnectReason.closed)
        await rest()
        cancelled = sorted(entry[1] for entry in parallel.log if entry[0] == "cancelled")
        assert cancelled == (["late 2", "now 1"] if cancels else [])
        assert bool(host._callbacks._let_go) is not cancels
    assert not [entry for entry in parallel.log if entry[0] == "ended"]


async def test_only_a_message_can_be_let_go_and_once() -> None:
    class Twice(Recorder):
        async def on_received(self, connection: Connection, data: Any) -> None:
            connection.let_next()
            with pytest.raises(PersistconnError, match="nothing to let go"):
                connection.let_next()
            with pytest.raises(PersistconnError, match="no reply to take"):
                connection.take_reply()
            self.note("done")

        async def on_connected(self, connection: Connection) -> None:
            with pytest.raises(PersistconnError, match="nothing to let go"):
                connection.let_next()

    twice = Twice()
    async with serving(twice) as host:
        client = await CoreClient(host).start()
        client.say("x")
        await twice.until("done")


async def test_a_child_task_may_let_the_next_come() -> None:
    class Nursery(Recorder):
        async def on_received(self, connection: Connection, data: Any) -> None:
            self.note("begun", data)
            if data == "second":
                return

            async def child() -> None:
                await rest()
                connection.let_next()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(child)
                await anyio.sleep_forever()

    nursery = Nursery()
    nursery.cancels_received = True
    async with serving(nursery) as host:
        client = await CoreClient(host).start()
        client.say("first", "second")
        await nursery.until("begun", "second")
        client.go()
        await nursery.until("disconnected", DisconnectReason.closed)


async def test_each_message_begins_with_a_clean_context() -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")

    class Contexts(Recorder):
        async def on_received(self, connection: Connection, data: Any) -> None:
            self.note(data, who.get())
            who.set(data)
            connection.let_next()

    contexts = Contexts()
    async with serving(contexts) as host:
        client = await CoreClient(host).start()
        client.say("one", "two")
        await contexts.until("two", "nobody")


async def test_a_send_is_answered_while_its_message_is_dealt_with() -> None:
    parallel = Parallel()
    async with serving(parallel) as host:
        client = await CoreClient(host).start(events=True)
        first = await client.ask("POST", body=b"waits")
        await parallel.until("begun", "waits")
        second = await client.ask("POST", body=b"quick")
        assert (first.status, first.body, second.status) == (200, b"", 200)
        assert ("begun", "quick") not in parallel.log
        parallel.call("waits")
        await parallel.until("ended", "quick")


async def test_a_reply_to_a_send_is_one_more_message() -> None:
    class Replying(Recorder):
        async def on_received(self, connection: Connection, data: Any) -> None:
            reply = connection.take_reply()
            self.note("has body", reply.has_body)
            await reply.send(data)

    replying = Replying()
    async with serving(replying) as host:
        client = await CoreClient(host).start(events=True)
        line = await client.ask("POST", body=b"question")
        await replying.until("has body", False)
        assert line.status == 200
        assert (await client.until(2))[1:] == [b"data: question\r\n\r\n"]


# Formats ------------------------------------------------------------------------------------------


class Formats(Recorder):
    async def on_received(self, connection: Connection, data: Any) -> None:
        before = connection.format
        if data in ("text", "binary", "nonsense"):
            try:
                connection.format = data
            except ValueError as error:
                data = str(error)
        self.note(before, connection.format, data)
        await connection.send(data)


async def test_a_connection_is_text_until_it_is_binary() -> None:
    formats = Formats()
    async with serving(formats) as host:
        client = await CoreClient(host).start()
        for count, message in enumerate(("binary", "x", "nonsense", "text"), 1):
            client.say(message)
            await client.until(count)
        told = [(piece.data, piece.text) for piece in client.line.pieces if isinstance(piece, Message)]
        assert told == [
            (b"binary", False), (b"x", False), (b"format is 'nonsense': it is text or binary", False), (b"text", True),
        ]  # fmt: skip
        connection = formats.connections[client.id]
        assert (connection.dialect, connection.transport) == ("aspnetcore", "webSockets")


async def test_a_classic_connection_is_text() -> None:
    formats = Formats()
    async with serving(formats) as host:
        client = await Client(host).start()
        client.send("binary")
        await formats.until("text", "text", "binary")
        assert formats.connections[client.id].dialect == "classic"


# Alarms -------------------------------------------------------------------------------------------


class Alarmed(Recorder):
    async def on_connected(self, connection: Connection) -> None:
        await super().on_connected(connection)
        connection.alarm(0.01)

    async def on_alarm(self, connection: Connection) -> None:
        self.note("alarm")
        connection.alarm(None)
        await connection.send("time")


async def test_an_alarm_comes(dialect: str) -> None:
    alarmed = Alarmed()
    async with serving(alarmed) as host:
        await a_client(host, dialect)
        await alarmed.until("alarm")
        await rest()
        assert alarmed.log.count(("alarm",)) == 1


# Credentials --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "lifetime"), [(None, None), (math.inf, None), (60.5, 60), (-1, 0)])
async def test_a_client_learns_how_long_its_credentials_are_good(seconds: float | None, lifetime: int | None) -> None:
    app = App(secret_keys=KEYS, authenticate=lambda request: Identity("ann", expires_in=seconds))
    app.add_connection("/echo", Recorder())
    async with app.running() as host:
        line = await CoreClient(host).ask("POST", "/negotiate")
        assert json.loads(line.body).get("tokenLifetimeSeconds") == lifetime


# Stateful reconnect -------------------------------------------------------------------------------


class Kept:
    """Frames until they are acknowledged: as many as `most`."""

    def __init__(self) -> None:
        self.most = 1
        self.frames: list[bytes] = []

    @property
    def must_wait(self) -> bool:
        return len(self.frames) >= self.most

    def track(self, frame: bytes) -> None:
        self.frames.append(frame)

    def lost(self) -> None:
        pass

    def resume(self) -> Sequence[bytes]:
        return [b"sequence", *self.frames]


class Resuming(Recorder):
    resumable = True
    format = Format("lines")

    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept()

    async def on_connected(self, connection: Connection) -> None:
        await super().on_connected(connection)
        self.note("resumable", connection.resumable)
        connection.speak(self.format)
        connection.resume_with(self.kept)
        await connection.subscribe("red")
        assert connection.topics == ["red"] or connection.topics == ("red",)

    async def on_received(self, connection: Connection, data: Any) -> None:
        self.kept.most += 1
        connection.interject(b"ack")
        connection.go_on_sending()


async def test_a_connection_outlives_its_socket() -> None:
    resuming = Resuming()
    async with serving(resuming, allow_stateful_reconnect=True) as host:
        client = await CoreClient(host).start(stateful=True)
        await resuming.until("resumable", True)
        await resuming.topics["red"].send("one")
        await resuming.topics["red"].send("two")
        assert await client.until(1) == [b'"one"']
        client.go(graceful=False)
        await client.attach()
        await resuming.until("reconnected", True, 0)
        client.say("ack")
        assert await client.until(4) == [b"sequence", b'"one"', b'"two"', b"ack"]
        client.go()
        await resuming.until("disconnected", DisconnectReason.closed)


async def test_who_did_not_negotiate_it_ends_with_its_socket() -> None:
    resuming = Resuming()
    async with serving(resuming, allow_stateful_reconnect=True) as host:
        client = await CoreClient(host).start()
        await resuming.until("resumable", False)
        client.go(graceful=False)
        await resuming.until("disconnected", DisconnectReason.closed)


async def test_layers_need_the_event_loop() -> None:
    resuming = Resuming()
    async with serving(resuming, allow_stateful_reconnect=True) as host:
        client = await CoreClient(host).start(stateful=True)
        await resuming.until("resumable", True)
        connection = resuming.connections[client.id]
        for use in (
            lambda: connection.speak(Format("x")),
            lambda: connection.alarm(1),
            lambda: connection.interject(b""),
            lambda: connection.go_on_sending(),
            lambda: connection.resume_with(resuming.kept),
        ):
            with pytest.raises(PersistconnError, match="without the event loop"):
                await anyio.to_thread.run_sync(use)
