"""`persistconn.testing.fake_server`, as clients with real sockets see it, on both dialects."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from websockets.exceptions import ConnectionClosed as SocketClosed
from websockets.sync.client import ClientConnection, connect

from persistconn import App, ConfigurationError, PersistconnError, PersistentConnection, Settings
from persistconn.testing import BlockingFakeServer, fake_server

PATIENCE = 5.0


def ask(url: str, method: str = "GET") -> Any:
    data = b"" if method == "POST" else None
    with urllib.request.urlopen(urllib.request.Request(url, method=method, data=data), timeout=PATIENCE) as answer:
        return json.load(answer)


def websocket(url: str) -> ClientConnection:
    return connect(url.replace("http", "ws", 1), open_timeout=PATIENCE, close_timeout=0.1).__enter__()


class Modern:
    """A client of ASP.NET Core SignalR."""

    def __init__(self, url: str) -> None:
        self.told = ask(f"{url}/negotiate?negotiateVersion=1", "POST")
        self.socket = websocket(f"{url}?id={self.told['connectionToken']}")
        self.say(protocol="json", version=1)
        assert self.hear() == {}

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message) + "\x1e")

    def hear(self) -> Any:
        text = self.socket.recv(PATIENCE)
        assert isinstance(text, str)
        return json.loads(text.removesuffix("\x1e"))

    def call(self, target: str, *arguments: Any) -> Any:
        self.say(type=1, invocationId="1", target=target, arguments=arguments)
        answer = self.hear()
        return answer.get("error") or answer.get("result")


class Classic:
    """A client of SignalR 2."""

    def __init__(self, url: str, hub: str) -> None:
        self.hub = hub
        hubs = "&connectionData=" + quote(json.dumps([{"name": hub}]))
        self.told = ask(f"{url}/negotiate?clientProtocol=2.1{hubs}")
        query = f"transport=webSockets&clientProtocol=2.1&connectionToken={quote(self.told['ConnectionToken'])}{hubs}"
        self.socket = websocket(f"{url}/connect?{query}")
        assert self.hear()["S"] == 1
        assert ask(f"{url}/start?{query}") == {"Response": "started"}

    def hear(self) -> Any:
        text = self.socket.recv(PATIENCE)
        return json.loads(text)

    def call(self, method: str, *arguments: Any) -> Any:
        self.socket.send(json.dumps({"H": self.hub, "M": method, "A": arguments, "I": 0}))
        return self.hear()


@contextmanager
def a_modern_client(server: BlockingFakeServer, hub: str = "chat") -> Iterator[Modern]:
    client = Modern(server.hub(hub).url)
    try:
        yield client
    finally:
        client.socket.close()


@pytest.fixture
def server() -> Iterator[BlockingFakeServer]:
    with fake_server() as server:
        yield server


def test_both_dialects_call_and_are_called(server: BlockingFakeServer) -> None:
    chat = server.hub("chat")
    chat.on("send", lambda text: text.upper())
    classic = Classic(server.url, "chat")
    with a_modern_client(server) as modern:
        assert classic.call("send", "hi") == {"R": "HI", "I": "0"}
        assert modern.call("send", "hello") == "HELLO"
        assert server.called("send") == ["hi"] and server.called("SEND", hub="Chat") == ["hello"]
        server.connected(2)
        first, second = server.connections
        assert [(call.hub, call.method, call.arguments, call.connection_id) for call in server.calls] == [
            ("chat", "send", ["hi"], first), ("chat", "send", ["hello"], second),
        ]  # fmt: skip
        server.push("chat", "message", "to all")
        chat.push("message", "to one", to=second)
        assert classic.hear()["M"] == [{"H": "chat", "M": "message", "A": ["to all"]}]
        assert [modern.hear()["arguments"] for _ in range(2)] == [["to all"], ["to one"]]
    classic.socket.close()


def test_functions_of_every_kind(server: BlockingFakeServer) -> None:
    chat = server.hub("chat")

    @chat.on("add")
    def add(a: int, b: int = 1) -> int:
        return a + b

    @chat.on("later")
    async def later(*words: str) -> str:
        await anyio.lowlevel.checkpoint()
        return " ".join(words)

    async def count(upto: int) -> AsyncIterator[int]:
        for number in range(upto):
            yield number

    heard: list[str] = []
    chat.on("count", count)
    chat.on("note", heard.append)
    chat.fails("deny", "not you", {"code": 4})
    with a_modern_client(server) as client:
        assert [client.call("add", 1), client.call("Add", 1, 2), client.call("later", "a", "b")] == [2, 3, "a b"]
        assert client.call("note", "x") is None and heard == ["x"]
        assert "HubException: not you" in client.call("deny", 1, 2)
        assert "Error binding arguments" in client.call("add", "one")
        client.say(type=4, invocationId="2", target="count", arguments=[2])
        assert [client.hear() for _ in range(3)] == [
            {"type": 2, "invocationId": "2", "item": 0},
            {"type": 2, "invocationId": "2", "item": 1},
            {"type": 3, "invocationId": "2"},
        ]
        chat.on("add", lambda *numbers: sum(numbers))
        assert client.call("add", 1, 2, 3) == 6


def test_what_nobody_has_given_is_recorded_and_fails(server: BlockingFakeServer) -> None:
    with a_modern_client(server) as client:
        assert 'server.hub("chat").on("send", …)' in client.call("send", "hi")
    assert repr(server.calls) == "[chat.send('hi')]"
    classic = Classic(server.url, "chat")
    assert "has nothing for send" in classic.call("send")["E"]
    classic.socket.close()


def test_results_of_a_client(server: BlockingFakeServer) -> None:
    with a_modern_client(server) as client, anyio.from_thread.start_blocking_portal() as portal:
        asked = portal.start_task_soon(anyio.to_thread.run_sync, lambda: server.invoke("chat", "getName", returns=str))
        question = client.hear()
        assert question["target"] == "getName"
        client.say(type=3, invocationId=question["invocationId"], result="ann")
        assert asked.result(PATIENCE) == "ann"


def test_answers_that_take_their_time(server: BlockingFakeServer) -> None:
    chat = server.hub("chat")
    chat.on("slow", lambda: "at last", delay=0.05)
    chat.on("quick", lambda: "now")
    server.timeout = 0.01
    with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
        server.called("slow")
    assert server.timeout == 0.01
    with a_modern_client(server) as client:
        began = time.perf_counter()
        assert client.call("slow") == "at last" and time.perf_counter() - began >= 0.05
        server.delay = 0.05
        began = time.perf_counter()
        assert client.call("quick") == "now" and time.perf_counter() - began >= 0.05


def test_requests_are_refused_on_command(server: BlockingFakeServer) -> None:
    url = f"{server.hub('chat').url}/negotiate?negotiateVersion=1"
    server.refuse(401, "who are you?")
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(url, "POST")
    assert (refused.value.code, refused.value.read()) == (401, b"who are you?")
    server.refuse(503, times=1)
    with pytest.raises(urllib.error.HTTPError, match="503"):
        ask(f"{server.url}/negotiate?clientProtocol=2.1")
    assert ask(url, "POST")["negotiateVersion"] == 1
    server.refuse()
    server.accept()
    assert ask(url, "POST")["negotiateVersion"] == 1


def test_transports_are_refused_on_command(server: BlockingFakeServer) -> None:
    url = f"{server.hub('chat').url}/negotiate?negotiateVersion=1"
    server.refuse_transports("webSockets")
    told = ask(url, "POST")
    assert [one["transport"] for one in told["availableTransports"]] == ["ServerSentEvents", "LongPolling"]
    assert ask(f"{server.url}/negotiate?clientProtocol=2.1")["TryWebSockets"] is False
    server.accept()
    assert len(ask(url, "POST")["availableTransports"]) == 3
    with pytest.raises(ConfigurationError, match="carrierPigeon"):
        server.refuse_transports("carrierPigeon")
    with pytest.raises(ConfigurationError, match="no transport is left"):
        server.refuse_transports("webSockets", "serverSentEvents", "longPolling", "foreverFrame")


def test_a_line_is_dropped(server: BlockingFakeServer) -> None:
    with a_modern_client(server) as one, a_modern_client(server) as other:
        server.connected(2)
        server.drop(server.connections[0])
        with pytest.raises(SocketClosed):
            one.hear()
        server.push("chat", "message", "still here")
        assert other.hear()["arguments"] == ["still here"]
        server.drop()
        with pytest.raises(SocketClosed):
            other.hear()
        server.disconnected()
        assert server.connections == []


def test_a_connection_is_ended_and_may_come_back(server: BlockingFakeServer) -> None:
    with a_modern_client(server) as client:
        server.end(error="restarting", allow_reconnect=True)
        assert client.hear() == {"type": 7, "error": "restarting", "allowReconnect": True}
    classic = Classic(server.url, "chat")
    server.end("nobody")
    server.end(error="enough")
    assert classic.hear()["E"] == "enough"
    classic.socket.close()


def test_a_hub_that_nobody_asked_for_is_not_there(server: BlockingFakeServer) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask(f"{server.url}/chat/negotiate?negotiateVersion=1", "POST")
    server.hub("chat")
    assert ask(f"{server.url}/chat/negotiate?negotiateVersion=1", "POST")["negotiateVersion"] == 1
    assert ask(f"{server.url}/negotiate?negotiateVersion=1", "POST")["negotiateVersion"] == 1  # it is the only one


def test_it_starts_and_stops_in_milliseconds() -> None:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        with fake_server() as server:
            started = time.perf_counter()
            with a_modern_client(server):
                stopping = time.perf_counter()
        took.append((started - began, time.perf_counter() - stopping))
    assert min(one[0] for one in took) < 0.1 and min(one[1] for one in took) < 0.5, took


def test_it_keeps_what_was_asked_for(server: BlockingFakeServer) -> None:
    url = f"{server.hub('chat').url}/negotiate?negotiateVersion=1"
    asked = urllib.request.Request(url, method="POST", data=b"", headers={"Authorization": "Bearer a token"})
    server.refuse(503, times=1)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=PATIENCE)
    refused.value.close()
    with a_modern_client(server):
        server.connected()
    told = [(request.method, request.path, request.dialect, request.token) for request in server.requests]
    assert told == [
        ("POST", "/signalr/chat/negotiate", "aspnetcore", "a token"),
        ("POST", "/signalr/chat/negotiate", "aspnetcore", None),
        ("GET", "/signalr/chat", "aspnetcore", None),
    ]


async def test_in_an_event_loop() -> None:
    async with fake_server() as server:
        chat = server.hub("chat")
        chat.on("send", lambda text: text.upper())

        def talk() -> Modern:
            client = Modern(chat.url)
            assert client.call("send", "hi") == "HI"
            return client

        client = await anyio.to_thread.run_sync(talk)
        assert await server.called("send") == ["hi"]
        await chat.groups.join(server.connections[0], "red")
        await chat.clients.group("red").send("message", "hi")
        await chat.push("message", "hello", to=server.connections[0])
        assert (await anyio.to_thread.run_sync(client.hear))["arguments"] == ["hi"]
        assert (await anyio.to_thread.run_sync(client.hear))["arguments"] == ["hello"]
        with pytest.raises(PersistconnError, match="does not exist"):
            await server.invoke("chat", "getName", to="nobody")
        assert str(server.port) in repr(server) and repr(chat) == "<FakeHub chat>"
    with pytest.raises(SocketClosed):
        await anyio.to_thread.run_sync(client.hear)


async def test_what_does_not_come() -> None:
    async with fake_server(timeout=0.01) as server:
        with pytest.raises(TimeoutError, match=r"send has not been called within 0\.01 s, nor has anything else"):
            await server.called("send")
        with pytest.raises(
            TimeoutError, match=r"0 of 1 clients .* within 0\.01 s, nor any request \(hubs: there are none"
        ):
            await server.connected()
        server.hub("chat")
        with pytest.raises(urllib.error.HTTPError, match="404") as refused:
            await anyio.to_thread.run_sync(ask, f"{server.url}/chta/negotiate?negotiateVersion=1", "POST")
        refused.value.close()
        with pytest.raises(TimeoutError, match=r"requests are POST /signalr/chta/negotiate \(hubs: chat\)"):
            await server.connected()
        await server.disconnected()


async def test_beside_an_app_of_ones_own() -> None:
    class Echo(PersistentConnection):
        async def on_received(self, connection: Any, data: Any) -> None:
            await connection.send(data)

    app = App(secret_keys=["a key for the tests"])
    app.add_connection("/echo", Echo())
    async with fake_server("/hubs", app=app) as server:
        assert server.url.endswith("/hubs")
        url = server.url.removesuffix("/hubs")

        def talk() -> Any:
            token = ask(f"{url}/echo/negotiate?negotiateVersion=1", "POST")["connectionToken"]
            with websocket(f"{url}/echo?id={token}") as socket:
                socket.send("hi")
                return socket.recv(PATIENCE)

        assert await anyio.to_thread.run_sync(talk) == "hi"
    with pytest.raises(ConfigurationError, match="settings are the app's"):
        fake_server(app=app, settings=Settings())
    with pytest.raises(PersistconnError, match="not running"):
        fake_server().url
