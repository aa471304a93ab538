"""The host and the App: callbacks in order, contained errors, sending from everywhere, on every event loop."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any
from unittest import mock
from urllib.parse import quote

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from persistconn import (
    App,
    ConfigurationError,
    Connection,
    ConnectionClosed,
    DisconnectReason,
    Payload,
    PersistconnError,
    PersistentConnection,
    Redirect,
    Refusal,
    Request,
    Settings,
)
from persistconn.host import Host
from persistconn.protocol import Exchange, ServerEndpoint
from persistconn.tasks import Parking, ends_this_task, open_tasks
from persistconn.wire.http import Chunk, End, Head, Message, Piece

pytestmark = pytest.mark.anyio
KEYS = ["a key for the tests"]


class Line:
    """A link that keeps what it is given. Stuck, it takes nothing until `let_go`."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.pieces: list[Piece] = []
        self.exchange: Exchange | None = None
        self.stuck = False
        self.abandoned = self.resumed = False
        self._news = anyio.Event()

    def transmit(self, exchange: Exchange, pieces: tuple[Piece, ...]) -> bool:
        self.exchange = exchange
        self.pieces += pieces
        self._news.set()
        return not self.stuck

    def abandon(self) -> None:
        self.abandoned = True
        self._news.set()

    def resume(self) -> None:
        self.resumed = True

    def let_go(self) -> None:
        self.stuck = False
        assert self.exchange is not None
        self.host.sent(self.exchange)

    @property
    def messages(self) -> list[Any]:
        envelopes = [json.loads(piece.data) for piece in self.pieces if isinstance(piece, Message)]
        return [message for envelope in envelopes for message in envelope.get("M", ())]

    @property
    def body(self) -> bytes:
        return b"".join(piece.data for piece in self.pieces if isinstance(piece, Chunk))

    @property
    def status(self) -> int:
        assert isinstance(self.pieces[0], Head)
        return self.pieces[0].status

    async def until(self, done: Any) -> None:
        with anyio.fail_after(5):
            while not done():
                self._news = anyio.Event()
                await self._news.wait()


class Client:
    """A classic client over WebSocket, without a socket."""

    def __init__(self, host: Host, path: str = "/echo") -> None:
        self.host = host
        self.path = path
        self.line = Line(host)
        self.exchange: Exchange | None = None

    async def ask(
        self,
        action: str,
        *,
        line: Line | None = None,
        upgrade: bool = False,
        method: str = "GET",
        body: bytes = b"",
        transport: str = "webSockets",
    ) -> Line:
        line = line or Line(self.host)
        query = f"transport={transport}&clientProtocol=2.1&connectionToken={quote(getattr(self, 'token', ''))}"
        request = Request(method, f"{self.path}/{action}", query, upgrade=upgrade, body=body)
        exchange = self.host.open_nowait(request, line)
        self.host.pump()
        line.exchange = exchange if exchange is not None else await self.host.open(request, line)
        return line

    async def start(self) -> Client:
        negotiated = await self.ask("negotiate")
        answer = json.loads(negotiated.body)
        self.id, self.token = answer["ConnectionId"], answer["ConnectionToken"]
        await self.ask("connect", line=self.line, upgrade=True)
        self.exchange = self.line.exchange
        self.started = await self.ask("start")
        await self.started.until(lambda: self.started.pieces)
        return self

    async def reconnect(self) -> None:
        self.line = Line(self.host)
        await self.ask("reconnect", line=self.line, upgrade=True)
        self.exchange = self.line.exchange

    def send(self, *texts: str | bytes) -> None:
        assert self.exchange is not None
        self.host.receive(self.exchange, texts)
        self.host.pump()

    async def got(self, count: int) -> list[Any]:
        await self.line.until(lambda: len(self.line.messages) >= count)
        return self.line.messages

    async def abort(self) -> None:
        await self.ask("abort")


class Recorder(PersistentConnection):
    """Writes down what it is told and echoes."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.news = anyio.Event()
        self.connections: dict[str, Connection] = {}

    def note(self, *what: Any) -> None:
        self.log.append(what)
        self.news.set()
        self.news = anyio.Event()

    async def until(self, *what: Any) -> None:
        with anyio.fail_after(5):
            while what not in self.log:
                await self.news.wait()

    async def on_connected(self, connection: Connection) -> None:
        self.connections[connection.id] = connection
        self.note("connected")

    async def on_received(self, connection: Connection, data: Any) -> None:
        self.note("received", data)
        await connection.send(data)

    async def on_reconnected(self, connection: Connection) -> None:
        self.note("reconnected", connection.recovered, connection.missed)

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        self.note("disconnected", reason)


@asynccontextmanager
async def serving(connection: PersistentConnection, **options: Any) -> AsyncIterator[tuple[App, Host]]:
    app = App(**{"secret_keys": KEYS, **options})
    app.add_connection("/echo", connection)
    async with app.running() as host:
        yield app, host


# Callbacks --------------------------------------------------------------------------------------


async def test_a_life_in_callbacks() -> None:
    recorder = Recorder()
    async with serving(recorder) as (app, host):
        client = await Client(host).start()
        client.send('{"a": 1}', "text", "42")
        assert await client.got(3) == [{"a": 1}, "text", 42]
        assert app.health() == {"status": "running", "connections": 1}
        assert app.statistics().attached == 1
        assert client.exchange is not None
        host.lost(client.exchange)
        await client.reconnect()
        await recorder.until("reconnected", False, None)  # this client quotes no position
        await client.abort()
        await recorder.until("disconnected", DisconnectReason.closed)
    assert [entry[0] for entry in recorder.log] == [
        "connected", "received", "received", "received", "reconnected", "disconnected",
    ]  # fmt: skip
    assert app.health() == {"status": "stopped", "connections": 0}


async def test_a_burst_is_answered_in_one_write() -> None:
    async with serving(Recorder()) as (_, host):
        client = await Client(host).start()
        before = len(client.line.pieces)
        client.send(*map(str, range(16)))
        await client.got(16)
        assert len(client.line.pieces) == before + 1


async def test_what_a_callback_sent_leaves_when_it_waits() -> None:
    go_on = anyio.Event()

    class Waits(PersistentConnection):
        async def on_received(self, connection: Connection, data: Any) -> None:
            await connection.send("before")
            await go_on.wait()
            await connection.send("after")

    async with serving(Waits()) as (_, host):
        client = await Client(host).start()
        client.send("x")
        assert await client.got(1) == ["before"]
        go_on.set()
        assert await client.got(2) == ["before", "after"]


async def test_callbacks_are_ordinary_anyio_code() -> None:
    class Scopes(PersistentConnection):
        async def on_received(self, connection: Connection, data: Any) -> None:
            with anyio.move_on_after(0):
                await anyio.sleep_forever()
            try:
                with anyio.fail_after(0):
                    await anyio.sleep_forever()
            except TimeoutError:
                async with anyio.create_task_group() as group:
                    group.start_soon(connection.send, "from a child")
            await connection.send(await anyio.to_thread.run_sync(threading.get_ident) != threading.get_ident())

    async with serving(Scopes()) as (_, host):
        client = await Client(host).start()
        client.send("x")
        assert await client.got(2) == ["from a child", True]


async def test_plain_callbacks_run_in_a_thread_and_send_from_there() -> None:
    class Plain(PersistentConnection):
        app: App

        def on_connected(self, connection: Connection) -> None:  # type: ignore[override]
            self.app.from_thread.run(connection.groups.join, "lobby")

        def on_received(self, connection: Connection, data: Any) -> None:  # type: ignore[override]
            self.app.from_thread.run(connection.send, data)
            self.app.from_thread.run(self.groups["lobby"].send, self.app.from_thread.run(lambda: 7))

    plain = Plain()
    async with serving(plain) as (app, host):
        plain.app = app
        client = await Client(host).start()
        client.send("x")
        assert await client.got(2) == ["x", 7]


async def test_a_plain_callback_that_makes_a_coroutine_is_told_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(PersistentConnection):
        def on_received(self, connection: Connection, data: Any) -> None:  # type: ignore[override]
            connection.send(data)

    async with serving(Wrong()) as (_, host):
        client = await Client(host).start()
        client.send("x", "y")
        with anyio.fail_after(5):
            while caplog.text.count("from_thread") < 2:
                await anyio.lowlevel.checkpoint()
    assert "use app.from_thread.run(connection.send, …)" in caplog.text


async def test_a_failing_callback_is_logged_once_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Fails(Recorder):
        async def on_received(self, connection: Connection, data: Any) -> None:
            if data == "bad":
                raise ValueError("oops")
            await connection.send(data)

    async with serving(Fails()) as (_, host):
        client = await Client(host).start()
        client.send("bad", "good")
        assert await client.got(1) == ["good"]
    assert [record.message for record in caplog.records] == [f"Received of connection {client.id} failed"]
    assert "oops" in caplog.text


async def test_a_failing_on_connected_refuses_the_client(caplog: pytest.LogCaptureFixture) -> None:
    class Refuses(Recorder):
        async def on_connected(self, connection: Connection) -> None:
            raise ValueError("no")

    refuses = Refuses()
    async with serving(refuses) as (_, host):
        client = await Client(host).start()
        assert client.started.status == 500
        await refuses.until("disconnected", DisconnectReason.aborted)
    assert "no" in caplog.text


async def test_raw_text_and_bytes_are_left_alone() -> None:
    class Raw(Recorder):
        raw_text = True

        async def on_received(self, connection: Connection, data: Any) -> None:
            self.note(data, connection.text)

    raw = Raw()
    async with serving(raw) as (_, host):
        client = await Client(host).start()
        client.send("[1]", b"\x00")
        await raw.until(b"\x00", "")
    assert raw.log[1] == ("[1]", "[1]")


async def test_an_endless_stream_of_messages_lets_others_run() -> None:
    recorder = Recorder()
    async with serving(recorder, settings=Settings(inbox_messages=1000)) as (_, host):
        client = await Client(host).start()
        client.send(*map(str, range(500)))
        assert await client.got(500) == list(range(500))


async def test_a_gap_is_told_with_skip(caplog: pytest.LogCaptureFixture) -> None:
    class Skips(Recorder):
        async def on_gap(self, connection: Connection) -> None:
            self.note("gap", connection.recovered, connection.missed)

    skips = Skips()
    async with serving(skips, settings=Settings(ring_messages=32, slow_policy="skip")) as (_, host):
        client = await Client(host).start()
        client.line.stuck = True
        for number in range(42):
            await skips.broadcast(number)
        client.line.let_go()
        await skips.until("gap", False, 8)
    assert "missed 8 messages" in caplog.text


# Sending ----------------------------------------------------------------------------------------


async def test_sending_from_outside_by_every_way() -> None:
    recorder = Recorder()
    async with serving(recorder) as (app, host):
        one, two = await Client(host).start(), await Client(host).start()
        connection = recorder.connections[one.id]
        await recorder.broadcast("all")
        await recorder.broadcast("not one", exclude=[one.id])
        await recorder.broadcast("nor two", exclude=recorder.connections[two.id])
        await recorder.send(one.id, "by id")
        await recorder.send(connection, "by connection")
        await recorder.send([one.id, connection, "nobody"], "by ids")
        await recorder.groups.join(one.id, "g")
        await recorder.groups["g"].send(Payload("group"))
        await recorder.groups.leave(one.id, "g")
        await recorder.groups["g"].send("nobody")
        await anyio.to_thread.run_sync(app.from_thread.run, recorder.broadcast, "thread")
        assert await one.got(8) == [
            "all", "nor two", "by id", "by connection", "by ids", "by ids", "group", "thread",
        ]  # fmt: skip
        assert await two.got(3) == ["all", "not one", "thread"]


async def test_a_sender_waits_for_a_client_that_is_behind_and_a_broadcaster_does_not() -> None:
    recorder = Recorder()
    async with serving(recorder, settings=Settings(send_high_water=4)) as (_, host):
        client = await Client(host).start()
        connection = recorder.connections[client.id]
        client.line.stuck = True
        done = anyio.Event()

        async def send() -> None:
            for number in range(8):
                await connection.send(number)
            done.set()

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            assert not done.is_set()
            await recorder.broadcast("not waiting")
            client.line.let_go()
            with anyio.fail_after(5):
                await done.wait()
        assert await client.got(9)


async def test_a_waiting_sender_is_told_when_the_connection_ends() -> None:
    recorder = Recorder()
    async with serving(recorder, settings=Settings(send_high_water=1)) as (_, host):
        client = await Client(host).start()
        connection = recorder.connections[client.id]
        client.line.stuck = True

        async def send() -> None:
            with pytest.raises(ConnectionClosed, match="before it took"):
                for number in range(8):
                    await connection.send(number)

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            await client.abort()
        await recorder.until("disconnected", DisconnectReason.closed)
        with pytest.raises(ConnectionClosed, match="has ended"):
            await connection.send("too late")
        with pytest.raises(ConnectionClosed, match="has ended"):
            connection.start_soon(anyio.sleep_forever)


async def test_a_big_broadcast_lets_others_run_and_reaches_everybody() -> None:
    recorder = Recorder()
    async with serving(recorder) as (_, host):
        clients = [await Client(host).start() for _ in range(300)]
        await recorder.broadcast("x")
        assert len([client for client in clients if client.line.messages]) == 128
        await recorder.broadcast("y")
        for client in clients:
            assert await client.got(2) == ["x", "y"]


async def test_close_tells_the_reason_and_cut_lets_come_back() -> None:
    recorder = Recorder()
    async with serving(recorder) as (_, host):
        client = await Client(host).start()
        connection = recorder.connections[client.id]
        await connection.close(allow_reconnect=True)
        assert client.line.pieces[-1] == End()
        await client.reconnect()
        await recorder.until("reconnected", False, None)
        await connection.close("enough")
        await recorder.until("disconnected", DisconnectReason.aborted)
        assert isinstance(client.line.pieces[-2], Message)
        assert json.loads(client.line.pieces[-2].data)["E"] == "enough"


async def test_tasks_of_a_connection_end_with_it(caplog: pytest.LogCaptureFixture) -> None:
    ended = anyio.Event()

    async def forever() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async def fails() -> None:
        raise ValueError("a task of mine")

    class Starts(Recorder):
        async def on_connected(self, connection: Connection) -> None:
            connection.start_soon(forever)
            connection.start_soon(fails)

    async with serving(Starts()) as (_, host):
        client = await Client(host).start()
        await client.abort()
        with anyio.fail_after(5):
            await ended.wait()
    assert "a task of mine" in caplog.text


async def test_a_connection_knows_its_client() -> None:
    recorder = Recorder()
    async with serving(recorder, authenticate=lambda request: "Ann") as (_, host):
        client = await Client(host).start()
        connection = recorder.connections[client.id]
        assert (connection.user, connection.transport, connection.dialect) == ("Ann", "webSockets", "classic")
        connection.items["a"] = 1
        assert connection.items == {"a": 1}
        assert connection.request.path == "/echo/start"
        assert repr(connection) == f"<Connection {client.id} webSockets>"


async def test_before_it_is_served_nobody_is_reached() -> None:
    recorder = Recorder()
    app = App(secret_keys=KEYS)
    attempts: tuple[Callable[[], Awaitable[None]], ...] = (
        lambda: recorder.broadcast(1),
        lambda: recorder.groups["g"].send(1),
        lambda: recorder.send("x", 1),
        lambda: recorder.groups.join("x", "g"),
        lambda: recorder.groups.leave("x", "g"),
    )
    for attempt in attempts:
        with pytest.raises(PersistconnError, match="serve the app first"):
            await attempt()
    app.add_connection("/echo", recorder)
    for attempt in attempts:  # as the routes of a framework may do before a mounted app has had a request
        await attempt()
        await anyio.to_thread.run_sync(app.from_thread.run, attempt)
        with pytest.raises(PersistconnError, match="serve the app first"):
            await anyio.to_thread.run_sync(attempt)
    with pytest.raises(PersistconnError, match="not running"):
        app.from_thread.run(recorder.broadcast, 1)
    with pytest.raises(PersistconnError, match="no statistics"):
        app.statistics()
    async with app.running() as host:
        client = await Client(host).start()
        connection = recorder.connections[client.id]
    with pytest.raises(PersistconnError, match="the app is not running"):
        connection.send("x")


async def test_what_has_no_json_form_fails_in_the_senders_code() -> None:
    recorder = Recorder()
    async with serving(recorder):
        with pytest.raises(TypeError):
            await recorder.broadcast(object())


# Requests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("user", "status"), [(None, 401), ("Ann", 403)])
async def test_authorize_refuses_strangers_and_forbids_the_known(user: str | None, status: int) -> None:
    class Closed(PersistentConnection):
        async def authorize(self, request: Request) -> bool:
            assert request.user == user
            return False

    async def authenticate(request: Request) -> str | None:
        return user

    async with serving(Closed(), authenticate=authenticate) as (_, host):
        assert (await Client(host).ask("negotiate")).status == status


async def test_plain_authorize_and_errors_in_it(caplog: pytest.LogCaptureFixture) -> None:
    class Picky(PersistentConnection):
        def authorize(self, request: Request) -> bool:  # type: ignore[override]
            if request.path.endswith("ping"):
                raise ValueError("my bug")
            return True

    async with serving(Picky()) as (_, host):
        assert (await Client(host).ask("negotiate")).status == 200
        assert (await Client(host).ask("ping")).status == 500
        assert (await Client(host, "/nowhere").ask("ping")).status == 404
    assert "my bug" in caplog.text


async def test_negotiate_may_redirect_or_refuse() -> None:
    class Elsewhere(PersistentConnection):
        answers: Sequence[Any] = (Redirect("https://h2/echo", "token"), Refusal("full"), None)
        count = 0

        async def on_negotiate(self, request: Request) -> Redirect | Refusal | None:
            answer = self.answers[self.count]
            self.count += 1
            return answer  # type: ignore[no-any-return]

    async with serving(Elsewhere()) as (_, host):
        client = Client(host)
        assert json.loads((await client.ask("negotiate")).body)["RedirectUrl"] == "https://h2/echo"
        assert json.loads((await client.ask("negotiate")).body)["Error"] == "full"
        assert "ConnectionToken" in json.loads((await client.ask("negotiate")).body)


async def test_a_page_is_answered_at_its_path_only() -> None:
    app = App(secret_keys=KEYS, authenticate=lambda request: None)
    app.add_connection("/echo", Recorder())
    app.add_page("/", b"hello", "text/html", headers={"X-Mine": "1"})
    async with app.running() as host:
        line = Line(host)
        assert host.open_nowait(Request("GET", "/"), line) is not None
        assert (line.status, line.body) == (200, b"hello")
        assert isinstance(line.pieces[0], Head)
        assert (b"X-Mine", b"1") in line.pieces[0].headers
        for method, path in (("POST", "/"), ("GET", "/other")):
            line = Line(host)
            await host.open(Request(method, path), line)
            assert line.status == 404


async def test_groups_are_asked_back_for_after_a_restart() -> None:
    class Keeps(Recorder):
        async def on_connected(self, connection: Connection) -> None:
            await connection.groups.join("a")
            await connection.groups.join("b")
            await connection.groups.leave("b")
            await connection.groups.join("c")

        async def on_rejoining_groups(self, connection: Connection, groups: Sequence[str]) -> Sequence[str]:
            self.note("rejoining", tuple(groups))
            return ["a"]

    async with serving(Keeps()) as (_, host):
        client = await Client(host).start()
        token = [json.loads(p.data)["G"] for p in client.line.pieces if isinstance(p, Message) and b'"G"' in p.data][-1]
    keeps = Keeps()
    async with serving(keeps) as (_, host):
        line = Line(host)
        query = f"transport=webSockets&clientProtocol=2.1&connectionToken={client.token}&groupsToken={token}"
        host.open_nowait(Request("GET", "/echo/reconnect", query, upgrade=True), line)
        host.pump()
        await keeps.until("reconnected", False, None)
        await keeps.groups["a"].send("a")
        await keeps.groups["c"].send("c")
        await line.until(lambda: line.messages)
        assert line.messages == ["a"]
    assert keeps.log[0] == ("rejoining", ("a", "c"))
    assert await PersistentConnection().on_rejoining_groups(Connection("x", Request("GET", "/"), host), ("a",)) == (
        "a",
    )


# The App ----------------------------------------------------------------------------------------


async def test_draining_runs_the_last_callbacks() -> None:
    recorder = Recorder()
    async with serving(recorder) as (_, host):
        await host.drained()
        client = await Client(host).start()
        host.drain()
        with anyio.fail_after(5):
            await host.drained()
        assert recorder.log[-1] == ("disconnected", DisconnectReason.shutdown)
        assert client.line.pieces[-1] == End()


async def test_time_passes_for_the_endpoint() -> None:
    moment = 0.0
    recorder = Recorder()
    app = App(secret_keys=KEYS, settings=Settings(disconnect_threshold=0))
    app.add_connection("/echo", recorder)
    async with app.running() as host:
        host.clock = lambda: moment
        client = await Client(host).start()
        client.exchange and host.lost(client.exchange)
        moment = 1e9
        host._wait(0.0)  # what an earlier deadline would do
        await recorder.until("disconnected", DisconnectReason.timed_out)


async def test_one_app_serves_one_loop() -> None:
    async with serving(Recorder()) as (app, _):
        with pytest.raises(PersistconnError, match="on the event loop"):
            app.from_thread.run(anyio.sleep, 0)
        with pytest.raises(PersistconnError, match="running already"):
            async with app.running():
                pass
        with pytest.raises(ConfigurationError, match="before it is served"):
            app.add_connection("/late", Recorder())


async def test_without_keys_a_warning_says_what_that_means(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Recorder(), secret_keys=None):
        pass
    assert "no secret_keys" in caplog.text


async def test_mistakes_in_mounting_are_explained() -> None:
    app = App(secret_keys=KEYS)
    recorder = Recorder()
    app.add_connection("/echo/", recorder)
    for path, wrong, text in (
        ("/class", Recorder, "give an instance"),
        ("/thing", object(), "is no PersistentConnection"),
        ("/twice", recorder, "mounted already"),
        ("/ECHO", Recorder(), "two connections"),
        ("relative", Recorder(), "path is 'relative'"),
    ):
        with pytest.raises(ConfigurationError, match=text):
            app.add_connection(path, wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="16"):
        App(secret_keys=["short"])
    with pytest.raises(ConfigurationError, match="single key"):
        App(secret_keys="a key for the tests")
    with pytest.raises(ConfigurationError, match="must begin with /"):
        app.add_page("relative", b"", "text/html")
    with pytest.raises(TypeError, match="must be bytes"):
        app.add_page("/page", "text", "text/html")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="allowed_origins"):
        App(secret_keys=KEYS, allowed_origins="https://app.example")


async def test_a_stuck_line_is_abandoned_and_a_full_inbox_is_resumed() -> None:
    recorder = Recorder()
    async with serving(recorder, settings=Settings(inbox_messages=4)) as (_, host):
        client = await Client(host).start()
        client.send(*"abcdefgh")
        assert client.exchange is not None
        assert client.exchange.paused
        await client.got(8)
        assert client.line.resumed
        client.line.stuck = True
        await recorder.broadcast("x")
        for days in range(3):
            host.endpoint.tick(host.clock() + days * 86_400)
            host.pump()
        await client.line.until(lambda: client.line.abandoned)


@pytest.mark.filterwarnings("ignore")
async def test_a_cancelled_app_cancels_its_callbacks() -> None:
    class Sleeps(Recorder):
        async def on_received(self, connection: Connection, data: Any) -> None:
            try:
                self.note("sleeping")
                await anyio.sleep_forever()
            finally:
                self.note("cancelled")

    sleeps = Sleeps()
    async with serving(sleeps) as (_, host):
        client = await Client(host).start()
        client.send("x")
        await sleeps.until("sleeping")
    assert ("cancelled",) in sleeps.log
    assert logging.getLogger("persistconn")


# Faults -----------------------------------------------------------------------------------------


async def test_a_callback_that_awaits_somebody_elses_cancelled_task_ends_nothing(
    anyio_backend_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def awaits() -> None:
        if anyio_backend_name == "trio":
            raise RuntimeError("on trio nobody can await a task")
        task = asyncio.ensure_future(anyio.sleep_forever())
        task.cancel()
        await task

    class Awaits(Recorder):
        async def authorize(self, request: Request) -> bool:
            if request.path.endswith("ping"):
                await awaits()
            return True

        async def on_received(self, connection: Connection, data: Any) -> None:
            if data == "bad":
                await awaits()
            await connection.send(data)

    async with serving(Awaits()) as (_, host):
        assert (await Client(host).ask("ping")).status == 500
        client = await Client(host).start()
        client.send("bad", "good")
        assert await client.got(1) == ["good"]
    assert "Received of connection" in caplog.text


async def test_a_request_may_be_cancelled_while_it_is_authorized() -> None:
    class Thinks(Recorder):
        async def authorize(self, request: Request) -> bool:
            await anyio.sleep_forever()
            return True

    async with serving(Thinks()) as (_, host):
        with anyio.move_on_after(0.01):
            await Client(host).ask("ping")
            pytest.fail("it was answered")


async def _let_it_stop(sleeps: Recorder) -> None:
    async with serving(sleeps) as (_, host):
        client = await Client(host).start()
        client.send("x", "y")
        await sleeps.until("sleeping")


async def test_an_app_stops_though_a_callback_fails_at_its_cancellation(caplog: pytest.LogCaptureFixture) -> None:
    class SaysGoodbye(Recorder):
        async def on_received(self, connection: Connection, data: Any) -> None:
            try:
                self.note("sleeping")
                await anyio.sleep_forever()
            finally:
                await connection.send("goodbye")  # nobody is there any more

    says = SaysGoodbye()
    with anyio.fail_after(5):
        await _let_it_stop(says)
    assert "the app is not running" in caplog.text


async def test_tasks_that_have_ended_are_forgotten() -> None:
    count = 0

    async def short() -> None:
        nonlocal count
        count += 1
        recorder.note("ran", count)

    recorder = Recorder()
    async with serving(recorder) as (_, host):
        client = await Client(host).start()
        connection = recorder.connections[client.id]
        for _ in range(50):
            connection.start_soon(short)
        await recorder.until("ran", 50)
        await anyio.wait_all_tasks_blocked()
        assert not host._callbacks._lifetimes[client.id].tasks


async def test_a_link_that_fails_loses_its_own_exchange_only(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    async with serving(recorder) as (_, host):
        bad, good = await Client(host).start(), await Client(host).start()

        def fail(exchange: Exchange, pieces: tuple[Piece, ...]) -> bool:
            raise RuntimeError("a driver's fault")

        bad.line.transmit = fail  # type: ignore[method-assign]
        await recorder.broadcast("x")
        await recorder.broadcast("y")
        assert await good.got(2) == ["x", "y"]
        assert host.endpoint.statistics().attached == 1
    assert "a driver's fault" in caplog.text


async def test_a_sender_does_not_wait_for_an_app_that_has_stopped() -> None:
    recorder = Recorder()
    settings = Settings(send_high_water=1)
    async with anyio.create_task_group() as group, serving(recorder, settings=settings) as (_, host):
        client = await Client(host).start()
        connection = recorder.connections[client.id]
        client.line.stuck = True

        async def send() -> None:
            with pytest.raises(PersistconnError, match="not running"):
                for number in range(8):
                    await connection.send(number)

        group.start_soon(send)
        await anyio.wait_all_tasks_blocked()


async def test_draining_twice_wakes_everybody_who_waits_for_it() -> None:
    class Slow(Recorder):
        async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
            await go_on.wait()

    go_on = anyio.Event()
    async with serving(Slow()) as (_, host):
        await Client(host).start()
        host.drain()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(host.drained)
                await anyio.wait_all_tasks_blocked()
                host.drain()
                group.start_soon(host.drained)
                go_on.set()


@pytest.mark.parametrize("answer", [None, 7])
async def test_who_answers_no_groups_at_all_keeps_none(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Forgets(Recorder):
        async def on_rejoining_groups(self, connection: Connection, groups: Sequence[str]) -> Sequence[str]:
            return answer  # type: ignore[no-any-return]

    async with serving(Recorder()) as (_, host):
        client = await Client(host).start()
        host.endpoint.join(client.id, "g", 0.0)
        host.pump()
        token = [json.loads(p.data)["G"] for p in client.line.pieces if isinstance(p, Message) and b'"G"' in p.data][-1]
    forgets = Forgets()
    async with serving(forgets) as (_, host):
        line = Line(host)
        query = f"transport=webSockets&clientProtocol=2.1&connectionToken={client.token}&groupsToken={token}"
        host.open_nowait(Request("GET", "/echo/reconnect", query, upgrade=True), line)
        host.pump()
        await forgets.until("reconnected", False, None)
        await forgets.groups["g"].send("not for you")
        await forgets.broadcast("for all")
        await line.until(lambda: line.messages)
        assert line.messages == ["for all"]
    assert "Rejoining of connection" in caplog.text


async def test_authorize_may_be_given_to_an_instance() -> None:
    async def nobody(request: Request) -> bool:
        return False

    recorder = Recorder()
    recorder.authorize = nobody  # type: ignore[method-assign]
    async with serving(recorder) as (_, host):
        assert (await Client(host).ask("negotiate")).status == 401


async def test_a_waiting_connection_holds_on_to_nothing_it_has_dealt_with() -> None:
    recorder = Recorder()
    async with serving(recorder) as (_, host):
        client = await Client(host).start()
        line = await client.ask("send", transport="serverSentEvents", method="POST", body=b"data=x")
        await recorder.until("received", "x")
        await anyio.wait_all_tasks_blocked()
        gone = weakref.ref(line)
        del line
        gc.collect()
        assert gone() is None


async def test_a_link_may_pump_while_it_is_written_to() -> None:
    recorder = Recorder()
    async with serving(recorder) as (_, host):
        client = await Client(host).start()
        transmit = client.line.transmit

        def busy(exchange: Exchange, pieces: tuple[Piece, ...]) -> bool:
            host.pong(exchange)
            host.pump()
            return transmit(exchange, pieces)

        client.line.transmit = busy  # type: ignore[method-assign]
        await recorder.broadcast("x")
        assert await client.got(1) == ["x"]


async def test_the_endpoint_hears_whether_the_peer_said_goodbye() -> None:
    async with serving(Recorder()) as (_, host):
        client = await Client(host).start()
        assert client.exchange is not None
        with mock.patch.object(ServerEndpoint, "lost") as lost:
            host.lost(client.exchange)
            host.lost(client.exchange, graceful=True)
        assert [call.kwargs["graceful"] for call in lost.call_args_list] == [False, True]
        await client.abort()


async def test_who_was_lost_while_a_broadcast_spreads_is_left_out() -> None:
    recorder = Recorder()
    async with serving(recorder) as (_, host):
        clients = [await Client(host).start() for _ in range(400)]
        await recorder.broadcast("x")
        *others, last = clients
        assert last.exchange is not None
        host.lost(last.exchange)
        for client in others:
            assert await client.got(1) == ["x"]
        assert last.line.messages == []


async def test_without_running_tasks_there_is_nobody_to_tell() -> None:
    async with serving(Recorder()) as (_, host):
        client = await Client(host).start()
    with pytest.raises(PersistconnError, match="the app is not running"):
        await client.reconnect()
        await client.abort()
        await Client(host).start()


async def test_a_callback_that_is_thrown_away_is_closed() -> None:
    """As a loop does that is closed without having been run to its end."""
    closed = False

    class Waits(Recorder):
        async def on_received(self, connection: Connection, data: Any) -> None:
            nonlocal closed
            try:
                await anyio.sleep_forever()
            finally:
                closed = True

    async with serving(Waits()) as (_, host):
        client = await Client(host).start()
        callbacks = host._callbacks
        await anyio.wait_all_tasks_blocked()
        assert callbacks._leader is not None and client.exchange is not None
        host.endpoint.receive(client.exchange, "x", host.clock())
        steps: Any = callbacks._watch(callbacks._leader)
        steps.send(None)
        steps.close()
        assert closed


# Leader and followers ---------------------------------------------------------------------------


async def test_who_waits_in_a_callback_keeps_nobody_from_being_served() -> None:
    go_on = anyio.Event()

    class Waits(Recorder):
        async def on_received(self, connection: Connection, data: Any) -> None:
            if data == "wait":
                await go_on.wait()
            await connection.send([data])

    async with serving(Waits()) as (_, host):
        ann, bob, cat = [await Client(host).start() for _ in range(3)]
        ann.send("wait", "after")
        bob.send("wait")
        cat.send("now", "and now")
        assert await cat.got(2) == [["now"], ["and now"]]
        assert ann.line.messages == bob.line.messages == []
        go_on.set()
        assert await ann.got(2) == [["wait"], ["after"]]
        assert await bob.got(1) == [["wait"]]


async def test_idle_connections_have_no_task_and_waiting_callbacks_one_each() -> None:
    go_on = anyio.Event()

    class Waits(Recorder):
        async def on_received(self, connection: Connection, data: Any) -> None:
            await go_on.wait()
            await connection.send(data)

    async def tasks() -> int:
        await anyio.wait_all_tasks_blocked()
        return len(anyio.get_running_tasks())

    async with serving(Waits()) as (_, host):
        clients = [await Client(host).start()]
        alone = await tasks()
        clients += [await Client(host).start() for _ in range(20)]
        assert await tasks() == alone
        for client in clients[:5]:
            client.send("x")
        assert await tasks() in (alone + 4, alone + 5)  # the leader may be the fifth
        go_on.set()
        for client in clients[:5]:
            await client.got(1)
        assert await tasks() == alone


async def test_a_context_variable_ends_with_the_callback_that_set_it() -> None:
    name: ContextVar[str] = ContextVar("name", default="nobody")

    class Names(Recorder):
        async def on_received(self, connection: Connection, data: Any) -> None:
            before = name.get()
            name.set(data)
            if data == "wait":
                await anyio.lowlevel.checkpoint()
            await connection.send([before, name.get()])

    async with serving(Names()) as (_, host):
        ann, bob = [await Client(host).start() for _ in range(2)]
        ann.send("ann", "wait", "again")
        bob.send("bob")
        assert await ann.got(3) == [["nobody", "ann"], ["nobody", "wait"], ["nobody", "again"]]
        assert await bob.got(1) == [["nobody", "bob"]]


async def test_a_burst_of_many_connections_leaves_together() -> None:
    async with serving(Recorder()) as (_, host):
        clients = [await Client(host).start() for _ in range(5)]
        before = [len(client.line.pieces) for client in clients]
        for client in clients:
            client.send("1", "2", "3")
        for client in clients:
            assert await client.got(3) == [1, 2, 3]
        assert [len(client.line.pieces) for client in clients] == [count + 1 for count in before]


# Tasks ------------------------------------------------------------------------------------------


async def test_a_wake_ends_one_wait_whichever_comes_first() -> None:
    async def wait(parking: Parking) -> None:
        await parking.wait()

    async with open_tasks() as tasks:
        parking = tasks.parking()
        parking.wake()
        with anyio.fail_after(5):
            await parking.wait()
        with anyio.move_on_after(0.01):
            await parking.wait()
            pytest.fail("nobody woke it")
        async with anyio.create_task_group() as group:
            group.start_soon(wait, parking)
            await anyio.wait_all_tasks_blocked()
            parking.wake()
            parking.wake()


async def test_a_task_goes_on_at_once_where_none_is_running(anyio_backend_name: str) -> None:
    seen: list[str] = []

    async def sleeper(parking: Parking) -> None:
        await parking.wait()
        seen.append("woken")
        assert anyio.get_current_task().id != me
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.lowlevel.checkpoint()
        seen.append("awake")

    def callback() -> None:
        parking.enter()
        seen.append("entered")

    me = anyio.get_current_task().id
    async with open_tasks() as tasks:
        parking = tasks.parking()
        tasks.spawn(sleeper, parking)
        await anyio.wait_all_tasks_blocked()
        if anyio_backend_name == "asyncio":
            asyncio.get_running_loop().call_soon(callback)
        else:
            callback()
        await anyio.wait_all_tasks_blocked()
    order = ["woken", "entered"] if anyio_backend_name == "asyncio" else ["entered", "woken"]
    assert seen == [*order, "awake"]  # the scope was cancelled in the task it was entered in


async def test_a_task_goes_on_later_where_another_is_running() -> None:
    seen: list[str] = []

    async def sleeper(parking: Parking) -> None:
        await parking.wait()
        seen.append("awake")

    async with open_tasks() as tasks:
        parking = tasks.parking()
        tasks.spawn(sleeper, parking)
        await anyio.wait_all_tasks_blocked()
        parking.enter()
        seen.append("entered")
        await anyio.wait_all_tasks_blocked()
    assert seen == ["entered", "awake"]


async def test_what_fails_among_the_tasks_comes_out_as_it_is() -> None:
    with pytest.raises(ValueError, match="mine"):
        async with open_tasks() as tasks:
            tasks.spawn(anyio.sleep_forever)
            raise ValueError("mine")


async def test_a_task_can_be_cancelled_alone() -> None:
    ended = anyio.Event()
    async with open_tasks() as tasks:
        cancel = tasks.spawn(anyio.sleep_forever, ended=ended.set)
        await anyio.wait_all_tasks_blocked()
        cancel()
        with anyio.fail_after(5):
            await ended.wait()
        cancel()


async def test_only_ones_own_cancellation_ends_a_task() -> None:
    assert not ends_this_task(ValueError())
    assert ends_this_task(KeyboardInterrupt())
