"""SIGTERM on an ASGI server: clients hear of it first, then the server does."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
import sys
import threading
from collections.abc import Iterator
from signal import SIGINT, SIGTERM
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from persistconn import App, Connection, DisconnectReason, PersistconnError, PersistentConnection, Settings
from persistconn.drivers.asgi_signals import Signals
from tests.drivers.asgi_client import AsgiClient, Call, lifespan
from tests.line import settle


class Echo(PersistentConnection):
    def __init__(self) -> None:
        self.ended: list[DisconnectReason] = []
        self.may_end = anyio.Event()
        self.may_end.set()

    async def on_received(self, connection: Connection, data: Any) -> None:
        await connection.send(data)

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        await self.may_end.wait()
        self.ended.append(reason)


def app_of(echo: PersistentConnection, **settings: Any) -> App:
    app = App(secret_keys=["sixteen or more characters"], settings=Settings(**settings))
    app.add_connection("/echo", echo)
    app.add_health()
    return app


@pytest.fixture
def server() -> Iterator[list[int]]:
    """Which signals the server's own handlers got."""
    told: list[int] = []
    before = {number: signal.signal(number, lambda got, _: told.append(got)) for number in (SIGTERM, SIGINT)}
    yield told
    for number, handler in before.items():
        signal.signal(number, handler)


async def told_to_end(call: Call) -> None:
    await call.ended()
    assert call.sent[-1]["type"] == "websocket.close" and call.sent[-1]["code"] == 1000
    await settle()


async def test_the_server_is_told_when_clients_are(server: list[int]) -> None:
    echo = Echo()
    app = app_of(echo)
    handler = signal.getsignal(SIGTERM)
    async with AsgiClient.of(app) as client, lifespan(app):
        _, call = await client.classic("/echo", "webSockets")
        _, stream = await client.aspnetcore("/echo", "serverSentEvents")
        signal.raise_signal(SIGTERM)
        assert server == []
        await told_to_end(call)
        await stream.ended()
        assert (server, echo.ended) == ([SIGTERM], [DisconnectReason.shutdown] * 2)
        assert signal.getsignal(SIGTERM) == handler


async def test_newcomers_are_sent_away_as_long_as_the_server_stays(server: list[int]) -> None:
    app = app_of(Echo())
    async with AsgiClient.of(app) as client, lifespan(app):
        query, call = await client.classic("/echo", "webSockets")
        signal.raise_signal(SIGTERM)
        await told_to_end(call)
        assert (await client.get("/echo/negotiate?clientProtocol=2.1"))[0] == 503
        assert (await client.post("/echo/negotiate?negotiateVersion=1"))[0] == 503
        again = client.websocket(f"/echo/reconnect?{query}")
        assert (await again.next())["type"] in ("websocket.close", "websocket.http.response.start")
        assert await client.get("/health") == (503, '{"status": "draining", "connections": 0}')


async def test_from_the_end_on_no_connection_is_kept_alive(server: list[int]) -> None:
    """A server that waits for its connections may overlook one that begins then, and it stays for its next request."""
    app = app_of(Echo())
    async with AsgiClient.of(app) as client:
        async with lifespan(app):
            assert b"connection" not in (await client.request("/health").head())[1]
            await app.drain()
            for target in ("/health", "/echo/negotiate?clientProtocol=2.1", "/nowhere"):
                assert (await client.request(target).head())[1][b"connection"] == b"close"
            assert b"connection" not in (await client.request("/health", http_version="2").head())[1]
        assert (await client.request("/health").head())[1][b"connection"] == b"close"


async def test_the_same_signal_again_waits_for_nobody(server: list[int]) -> None:
    echo = Echo()
    echo.may_end = anyio.Event()
    app = app_of(echo)
    async with AsgiClient.of(app) as client, lifespan(app):
        _, call = await client.classic("/echo", "webSockets")
        signal.raise_signal(SIGTERM)
        await told_to_end(call)
        signal.raise_signal(SIGINT)  # Ctrl-C, and the parent process says SIGTERM as well
        assert server == []
        signal.raise_signal(SIGTERM)
        assert server == [SIGTERM, SIGINT, SIGTERM]
        echo.may_end.set()


async def test_the_notice_comes_first(server: list[int]) -> None:
    app = app_of(Echo(), drain_notice=600)
    async with AsgiClient.of(app) as client, lifespan(app):
        _, call = await client.classic("/echo", "webSockets")
        signal.raise_signal(SIGTERM)
        await settle()
        assert app.health()["status"] == "draining"
        call.text('"hello"')
        assert await call.message() == "hello"
        signal.raise_signal(SIGTERM)
        await told_to_end(call)
        assert server == [SIGTERM, SIGTERM]


async def test_without_a_lifespan_and_with_several_apps(server: list[int]) -> None:
    """Each stands before the other; they end side by side."""
    echoes = [Echo(), Echo(), Echo()]
    apps = [app_of(echo) for echo in echoes]
    echoes[2].may_end = anyio.Event()
    async with AsgiClient.of(apps[0]) as client:
        _, first = await client.classic("/echo", "webSockets")
        client.application = apps[1]
        async with apps[1].lifespan():
            _, second = await client.classic("/echo", "webSockets")
            client.application = apps[2]
            async with lifespan(apps[2]):
                _, third = await client.classic("/echo", "webSockets")
                signal.raise_signal(SIGTERM)
                for call in (first, second, third):
                    await told_to_end(call)
                assert server == []
                echoes[2].may_end.set()
                await settle()
                assert server == [SIGTERM]
        assert [echo.ended for echo in echoes] == [[DisconnectReason.shutdown]] * 3


async def test_each_of_several_apps_has_its_notice(server: list[int]) -> None:
    """Who stands nearer to the server hears of the signal before it gets it."""
    apps = [app_of(Echo(), drain_notice=600), app_of(Echo())]
    async with AsgiClient.of(apps[0]) as client, lifespan(apps[0]), lifespan(apps[1]):
        _, call = await client.classic("/echo", "webSockets")
        signal.raise_signal(SIGTERM)
        await settle(60)
        assert [app.health()["status"] for app in apps] == ["draining", "draining"]
        call.text('"hello"')
        assert await call.message() == "hello"
        assert server == []
        signal.raise_signal(SIGTERM)
        await told_to_end(call)
        assert server == [SIGTERM, SIGTERM]


async def test_a_lifespan_within_another_of_the_same_app(server: list[int]) -> None:
    app = app_of(Echo(), drain_notice=600)
    async with AsgiClient.of(app) as client, app.lifespan(), lifespan(app):
        _, call = await client.classic("/echo", "webSockets")
        signal.raise_signal(SIGTERM)
        await settle()
        call.text('"hello"')
        assert await call.message() == "hello"
        signal.raise_signal(SIGTERM)
        await told_to_end(call)
        await settle()
        assert server == [SIGTERM, SIGTERM]


async def test_a_lifespan_within_another_ends_the_server_once(server: list[int]) -> None:
    app = app_of(Echo())
    async with app.lifespan(), lifespan(app):
        signal.raise_signal(SIGTERM)
        await settle(60)
        assert server == [SIGTERM]


async def test_before_anything_has_begun(server: list[int]) -> None:
    """A signal in the first steps of the lifespan reaches the server, sooner or later, and once."""
    app = app_of(Echo())
    for steps in range(12):
        async with anyio.create_task_group() as tasks:
            call = Call(app, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}})
            tasks.start_soon(call.run)
            call.say("lifespan.startup")
            await settle(steps)
            signal.raise_signal(SIGTERM)
            await settle()
            assert server == [SIGTERM], steps
            server.clear()
            call.say("lifespan.shutdown")
            await call.ended()
            assert [message["type"] for message in call.sent] == [
                "lifespan.startup.complete", "lifespan.shutdown.complete",
            ]  # fmt: skip


async def test_another_signal_in_the_notice_is_kept(server: list[int]) -> None:
    app = app_of(Echo(), drain_notice=600)
    async with AsgiClient.of(app) as client, lifespan(app):
        _, call = await client.classic("/echo", "webSockets")
        signal.raise_signal(SIGINT)
        await settle()
        signal.raise_signal(SIGTERM)
        await settle()
        assert server == [] and not call.over
        signal.raise_signal(SIGINT)
        await told_to_end(call)
        assert server == [SIGINT, SIGTERM, SIGINT]


async def test_a_lifespan_that_ends_first_hands_on_what_it_held(server: list[int]) -> None:
    app = app_of(Echo(), drain_notice=600)
    async with lifespan(app):
        signal.raise_signal(SIGTERM)
        await settle()
        assert server == []
    assert server == [SIGTERM]
    signal.raise_signal(SIGTERM)
    assert server == [SIGTERM, SIGTERM]


async def test_what_a_handler_raises_ends_the_program(anyio_backend_name: str, server: list[int]) -> None:
    """`signal.signal(SIGTERM, lambda *_: sys.exit())`; trio has no place for such an exception, ours or not."""
    if anyio_backend_name != "trio":
        signals = Signals(lambda: None)
        signal.signal(SIGTERM, lambda *_: sys.exit(3))
        signals.listen()
        signal.raise_signal(SIGTERM)
        with pytest.raises(SystemExit):
            signals.stop()
        assert signal.getsignal(SIGTERM) != signals._hear


def test_where_the_event_loop_rests_nothing_is_held_back(server: list[int]) -> None:
    """It is not closed: a console, or a plugin of pytest, that goes on with it later."""
    loop = asyncio.new_event_loop()
    app = app_of(Echo())

    async def begin() -> None:
        async with AsgiClient.of(app) as client:
            assert (await client.get("/health"))[0] == 200

    loop.run_until_complete(begin())
    signal.raise_signal(SIGTERM)
    assert server == [SIGTERM]
    for task in asyncio.all_tasks(loop):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
    loop.close()


def test_nothing_is_left_of_asyncio_run(server: list[int]) -> None:
    """Or a second one would not take Ctrl-C for the end of its main task."""
    signal.signal(SIGINT, signal.default_int_handler)
    app = app_of(Echo())

    async def ask() -> None:
        async with AsgiClient.of(app) as client:
            assert (await client.get("/health"))[0] == 200  # from now on the app lasts as long as the event loop

    for _ in range(2):
        asyncio.run(ask())
        assert signal.getsignal(SIGINT) is signal.default_int_handler


def test_ctrl_c_ends_asyncio_run(server: list[int]) -> None:
    signal.signal(SIGINT, signal.default_int_handler)
    echo = Echo()
    app = app_of(echo)

    async def stay() -> None:
        async with app.lifespan(), AsgiClient.of(app) as client:
            await client.classic("/echo", "webSockets")
            signal.raise_signal(SIGINT)
            await anyio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(stay())
    assert echo.ended == [DisconnectReason.shutdown]
    assert signal.getsignal(SIGINT) is signal.default_int_handler


def test_threads_of_plain_callbacks_do_not_outlive_a_loop_that_only_stops() -> None:
    """As daphne's does: tasks stay as they are, and a thread of anyio ends with a task, or keeps the process."""

    class Plain(PersistentConnection):
        def on_received(self, connection: Connection, data: Any) -> None:
            threads.append(threading.current_thread())
            app.from_thread.run(connection.send, data)

    async def talk() -> None:
        async with AsgiClient.of(app) as client:
            _, call = await client.classic("/echo", "webSockets")
            call.text('"hello"')
            assert await call.message() == "hello"
            signal.raise_signal(SIGTERM)
            await call.ended()

    threads: list[threading.Thread] = []
    app = app_of(Plain())
    loop = asyncio.new_event_loop()
    before = signal.signal(SIGTERM, lambda *_: loop.call_soon_threadsafe(loop.stop))
    talking = loop.create_task(talk())
    loop.run_forever()
    signal.signal(SIGTERM, before)
    for thread in threads:
        thread.join(5)
    assert [thread.is_alive() for thread in threads] == [False]
    assert app.health()["status"] == "stopped"
    loop.run_until_complete(talking)
    loop.close()


async def test_handlers_that_are_not_ours_are_left_alone(server: list[int]) -> None:
    app = app_of(Echo())
    signal.signal(SIGINT, signal.SIG_IGN)
    async with lifespan(app):
        ours: Any = signal.getsignal(SIGTERM)
        assert signal.getsignal(SIGINT) == signal.SIG_IGN

        def theirs(number: int, frame: Any) -> None:
            ours(number, frame)

        signal.signal(SIGTERM, theirs)
    assert signal.getsignal(SIGTERM) == theirs
    signal.raise_signal(SIGTERM)
    assert server == [SIGTERM]  # whoever knows us still reaches the server


async def test_a_signal_that_comes_over_somebody_else_is_handed_on(server: list[int]) -> None:
    echo = Echo()
    app = app_of(echo)
    async with AsgiClient.of(app) as client, lifespan(app):
        ours: Any = signal.getsignal(SIGTERM)
        signal.signal(SIGTERM, lambda number, frame: ours(number, frame))
        _, call = await client.classic("/echo", "webSockets")
        signal.raise_signal(SIGTERM)
        await told_to_end(call)
        assert server == [SIGTERM]


async def test_what_the_system_would_have_done_is_done_afterwards(
    server: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    signal.signal(SIGTERM, signal.SIG_DFL)
    raised: list[Any] = []
    app = app_of(Echo())
    async with AsgiClient.of(app) as client, lifespan(app):
        _, call = await client.classic("/echo", "webSockets")
        signal.raise_signal(SIGTERM)
        monkeypatch.setattr(signal, "raise_signal", lambda number: raised.append((number, signal.getsignal(number))))
        await told_to_end(call)
        assert raised == [(SIGTERM, signal.SIG_DFL)]


async def test_a_handler_of_the_loop_is_called_once(anyio_backend_name: str, server: list[int]) -> None:
    """At once: asyncio and uvloop learn of the signal by their wakeup descriptor."""
    if anyio_backend_name != "asyncio":
        return
    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(SIGTERM, told.append, "once")
    app = app_of(Echo())
    async with AsgiClient.of(app) as client, lifespan(app_of(Echo())), lifespan(app):
        _, call = await client.classic("/echo", "webSockets")
        signal.raise_signal(SIGTERM)
        await told_to_end(call)
        assert told == ["once"]
    loop.remove_signal_handler(SIGTERM)


async def test_it_can_be_turned_off(server: list[int]) -> None:
    app = app_of(Echo(), drain_on_signal=False)
    async with AsgiClient.of(app) as client, lifespan(app):
        _, call = await client.classic("/echo", "webSockets")
        signal.raise_signal(SIGTERM)
        assert server == [SIGTERM]
        await settle()
        assert not call.over


def test_threads_hear_no_signals(server: list[int]) -> None:
    handler = signal.getsignal(SIGTERM)
    app = app_of(Echo())
    seen: list[Any] = []

    async def look() -> None:
        async with lifespan(app):
            seen.append(signal.getsignal(SIGTERM))

    thread = threading.Thread(target=anyio.run, args=(look,))
    thread.start()
    thread.join()
    assert seen == [handler]


async def test_workers_of_hypercorn_hear_of_it_from_their_parent(
    server: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    event = multiprocessing.get_context("spawn").Event()
    process = SimpleNamespace(_kwargs={"shutdown_event": event})
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: process)
    monkeypatch.setattr(multiprocessing, "current_process", lambda: process)
    app = app_of(Echo())
    async with AsgiClient.of(app) as client, lifespan(app):
        _, call = await client.classic("/echo", "webSockets")
        event.set()
        await told_to_end(call)
    assert server == []


async def test_a_client_that_closes_with_1012_ends_nobody_else(server: list[int]) -> None:
    """It is what uvicorn says when it goes, in the same words."""
    app = app_of(Echo())
    async with AsgiClient.of(app) as client, lifespan(app):
        _, bad = await client.aspnetcore("/echo", "webSockets")
        _, call = await client.classic("/echo", "webSockets")
        bad.say("websocket.disconnect", code=1012)
        await bad.ended()
        call.text('"hello"')
        assert await call.message() == "hello"
        assert app.health()["status"] == "running"


async def test_the_end_can_be_asked_for() -> None:
    echo = Echo()
    app = app_of(echo)
    with pytest.raises(PersistconnError, match="the app is not running"):
        await app.drain()
    async with AsgiClient.of(app) as client, lifespan(app):
        _, call = await client.classic("/echo", "webSockets")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app.drain)
            tasks.start_soon(app.drain)
        await told_to_end(call)
        assert echo.ended == [DisconnectReason.shutdown]
