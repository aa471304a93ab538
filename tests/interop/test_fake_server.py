"""`persistconn.testing.fake_server` and unmodified clients of others: calls, pushes, and misfortunes on command."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from persistconn import App, Settings
from persistconn.hubs import HubError
from persistconn.testing import BlockingFakeHub, BlockingFakeServer, FakeHub, fake_server

from .aspnetcore_clients import WAYS, Client, NodeProcess, Way
from .browser import TRANSPORTS, BrowserPage
from .test_aspnetcore_python import Modern
from .test_python_client import Talk

pytestmark = pytest.mark.own_server("about the fake server")

WITHIN = 10
DELAY = 0.05
DENIED = "An unexpected error occurred invoking 'deny' on the server. HubException: not you"
CALLS = [["add", [1, 2]], ["deny", []], ["add", [3, 4]]]


def script(hub: BlockingFakeHub | FakeHub) -> None:
    """What the hub of every test answers."""
    hub.on("add", lambda one, other: one + other)
    hub.fails("deny", "not you", {"code": 4})

    @hub.on("count")
    async def count(upto: int) -> AsyncIterator[int]:
        for number in range(upto):
            yield number


@pytest.fixture
def fake() -> Iterator[BlockingFakeServer]:
    with fake_server(timeout=WITHIN) as fake:
        script(fake.hub("chat"))
        yield fake


def slowly(fake: BlockingFakeServer, call: Callable[[], Any]) -> Any:
    """What the call gives while answers take their time."""
    fake.delay = DELAY
    began = time.perf_counter()
    try:
        return call()
    finally:
        assert time.perf_counter() - began >= DELAY
        fake.delay = 0


def calls_of(fake: BlockingFakeServer) -> list[list[Any]]:
    assert {call.hub for call in fake.calls} == {"chat"}
    return [[call.method, call.arguments] for call in fake.calls]


# @microsoft/signalr -----------------------------------------------------------------------------


@pytest.fixture
def modern(fake: BlockingFakeServer, node: NodeProcess, way: Way) -> Iterator[Client]:
    before = len(node.errors)
    yield Client(node, fake.hub("chat").url, way)
    node.obey("stopAll", {})
    assert node.errors[before:] == []


ALL_WAYS = pytest.mark.parametrize("way", WAYS, ids=" ".join)


@ALL_WAYS
def test_microsoft_signalr(fake: BlockingFakeServer, modern: Client) -> None:
    fake.refuse(401, "who are you?")
    with pytest.raises(AssertionError, match="failed to connect" if modern.at_once else "who are you.*401"):
        modern.start()
    fake.accept()
    modern.start(reconnect=[0, 0.02, 0.02, 0.02], token="a token")
    fake.connected()
    assert modern.at_once or fake.connections == [modern.id]
    assert fake.requests[-1].token == "a token" and fake.requests[-1].dialect == "aspnetcore"

    fake.push("chat", "hear", "hi", {"all": ["of", "it"]})
    modern.until_heard("hi", {"all": ["of", "it"]})
    assert [modern.call("add", 1, 2), modern.call("deny")] == [{"value": 3}, {"error": DENIED}]
    assert slowly(fake, lambda: modern.call("add", 3, 4)) == {"value": 7}
    assert calls_of(fake) == CALLS and {call.connection_id for call in fake.calls} == {*fake.connections}
    modern.stream("numbers", "count", 3)
    modern.until("complete", "numbers")
    assert modern.items("numbers") == [0, 1, 2]
    assert fake.invoke("chat", "question", "Grün") == "Grün? Yes!"
    with pytest.raises(HubError, match="I will not say"):
        fake.invoke("chat", "question", "fail")


@ALL_WAYS
def test_microsoft_signalr_comes_back(fake: BlockingFakeServer, modern: Client) -> None:
    modern.start(reconnect=[0, 0.02, 0.02, 0.02])
    fake.connected()
    before = len(fake.requests)
    fake.refuse(401, times=2)  # of its attempts to come back
    fake.drop()
    back = modern.until("reconnected")
    assert len(fake.requests) >= before + 3
    assert modern.at_once or fake.connections[-1] == back[1] != modern.id  # who polls might have come as the same
    modern.forget()
    fake.end(error="restarting", allow_reconnect=True)
    modern.until("reconnected")
    fake.push("chat", "hear", "hi")
    modern.until_heard("hi")
    restarting = "Server returned an error on close: restarting"
    assert modern.moments()[0] == ["reconnecting", restarting]
    fake.end(error="enough")
    modern.until("closed", "Server returned an error on close: enough")
    fake.disconnected()


@pytest.mark.parametrize("way", [("automatic", "json")], ids=" ".join)
def test_microsoft_signalr_finds_another_transport(fake: BlockingFakeServer, modern: Client) -> None:
    fake.refuse_transports("webSockets")
    modern.start()
    assert modern.call("add", 1, 2) == {"value": 3}
    assert "text/event-stream" in [request.headers.get("accept") for request in fake.requests]


# jquery.signalR ---------------------------------------------------------------------------------

PAGE = b"""<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script src="/jquery.js"></script><script src="/jquery.signalR.js"></script><script>
var seen = { states: [], heard: [], errors: [] }, connection, hub;

function connect(url, transport) {
    connection = $.hubConnection(url, { useDefaultPath: false });
    connection.reconnectDelay = 20;
    connection.error(function (error) { seen.errors.push(error.message); });
    connection.stateChanged(function (change) { seen.states.push(change.newState); });
    hub = connection.createHubProxy("chat");
    hub.on("hear", function () { seen.heard.push($.makeArray(arguments)); });
    return outcome(connection.start({ transport: transport }).then(function () { return connection.id; }));
}

function outcome(call) {
    return new Promise(function (resolve) {
        call.done(function (value) { resolve({ value: value }); })
            .fail(function (error) { resolve({ error: error.message, data: error.data || null }); });
    });
}
</script>"""
DISCONNECTED = 4


@pytest.fixture
def fake_beside_pages(node_modules: Path) -> Iterator[BlockingFakeServer]:
    app = App(secret_keys=["a key for the tests"], settings=Settings(detailed_errors=True))
    app.add_page("/", PAGE, "text/html; charset=utf-8")
    for name, path in (("jquery.js", "jquery/dist/jquery.js"), ("jquery.signalR.js", "signalr/jquery.signalR.js")):
        app.add_page(f"/{name}", (node_modules / path).read_bytes(), "text/javascript; charset=utf-8")
    with fake_server(app=app, timeout=WITHIN) as fake:
        script(fake.hub("chat"))
        yield fake


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_jquery_signalr(
    fake_beside_pages: BlockingFakeServer, visit: Callable[..., BrowserPage], transport: str
) -> None:
    fake = fake_beside_pages
    page = visit(f"{fake.url.removesuffix('/signalr')}/", kind=BrowserPage, transport=transport)

    def connect() -> Any:
        return page.run("([url, transport]) => connect(url, transport)", [fake.url, transport])

    def call(*call: Any) -> Any:
        return page.run("call => outcome(hub.invoke(...call))", call)

    fake.refuse(401, "who are you?")
    assert connect() == {"error": "Error during negotiation request.", "data": None}
    fake.accept()
    id = connect()["value"]
    assert fake.connections == [id] and fake.requests[-1].dialect == "classic"
    fake.push("chat", "hear", "hi", {"all": ["of", "it"]})
    page.until("() => seen.heard.length === 1")
    assert [call("add", 1, 2), call("deny")] == [{"value": 3}, {"error": "not you", "data": {"code": 4}}]
    assert slowly(fake, lambda: call("add", 3, 4)) == {"value": 7}
    assert calls_of(fake) == CALLS and {each.connection_id for each in fake.calls} == {id}

    if transport != "foreverFrame":  # a frame sees nothing of a cut but silence
        fake.drop()
        fake.push("chat", "hear", "while it was away")
        page.until("() => seen.heard.length === 2")
        assert fake.connections == [id]  # as the same: nothing was lost
    fake.end(error="enough")
    page.until("state => seen.states[seen.states.length - 1] === state", DISCONNECTED)
    fake.disconnected()
    heard = [["hi", {"all": ["of", "it"]}], ["while it was away"]]
    assert page.run("() => seen.heard") == heard[: 1 if transport == "foreverFrame" else 2]
    assert page.run("() => seen.errors")[-1] == "enough"


# Python -----------------------------------------------------------------------------------------


async def _talk_with_pysignalr(protocol: str) -> None:
    pysignalr = pytest.importorskip("pysignalr.exceptions", reason="pysignalr is not installed")
    async with fake_server(timeout=WITHIN) as fake, asyncio.timeout(WITHIN):
        script(fake.hub("chat"))
        modern = Modern(fake.hub("chat").url, protocol)
        fake.refuse(401, times=1)
        with pytest.raises(pysignalr.AuthorizationError):
            await modern.client.run()
        running = asyncio.create_task(modern.client.run())
        await modern.opened.wait()
        assert fake.requests[-1].token == "ann"
        await fake.push("chat", "hear", "hi")
        assert await modern.heard.get() == ["hi"]
        assert [await modern.call("add", 1, 2), await modern.call("deny")] == [3, DENIED]
        assert await modern.stream("count", 3) == [0, 1, 2]
        assert await fake.invoke("chat", "question", "Grün") == "Grün? Yes!"
        with pytest.raises(HubError, match="I will not say"):
            await fake.invoke("chat", "question", "fail")
        fake.delay = DELAY
        began = time.perf_counter()
        assert await modern.call("add", 3, 4) == 7 and time.perf_counter() - began >= DELAY
        assert [await fake.called(name) for name in ("add", "deny", "add")] == [[1, 2], [], [3, 4]]
        modern.opened.clear()
        (first,) = fake.connections
        fake.drop()
        await modern.opened.wait()
        assert first not in fake.connections
        await fake.push("chat", "hear", "hi again")
        assert await modern.heard.get() == ["hi again"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await fake.disconnected()


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
def test_pysignalr(protocol: str) -> None:
    with ThreadPoolExecutor(1) as aside:  # playwright keeps an event loop in this thread
        aside.submit(asyncio.run, _talk_with_pysignalr(protocol)).result()


class Plain:
    """A connection of signalrcore's; what happens to it is in `seen`."""

    def __init__(self, url: str, transport: str, protocol: str) -> None:
        signalrcore = pytest.importorskip("signalrcore.hub_connection_builder", reason="signalrcore is not installed")
        types = pytest.importorskip("signalrcore.types")
        builder = signalrcore.HubConnectionBuilder()
        builder = builder.with_url(url, options={"transport": types.HttpTransportType(transport)})
        builder = builder.with_automatic_reconnect({"type": "interval", "intervals": [0.02] * 10})
        builder = builder.configure_logging(logging.CRITICAL)  # it has a handler of its own, on stderr
        self.connection = builder.with_hub_protocol(types.HubProtocolEncoding(protocol)).build()
        self.seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.connection.on_open(lambda: self.seen.put("open"))
        self.connection.on_reconnect(lambda: self.seen.put("reconnected"))
        self.connection.on_close(lambda: self.seen.put("closed"))
        self.connection.on_error(lambda message: self.seen.put(message.error))
        self.connection.on("hear", self.seen.put)

    def next(self) -> Any:
        """What happens next."""
        return self.seen.get(timeout=WITHIN)

    def call(self, method: str, *arguments: Any) -> Any:
        self.connection.send(method, list(arguments), lambda message: self.seen.put(message.result))
        return self.next()

    def stop(self, fake: BlockingFakeServer) -> None:
        """It takes effect with the next thing that comes from the server."""
        stopping = threading.Thread(target=self.connection.stop, daemon=True)
        stopping.start()
        for _ in range(WITHIN * 20):
            stopping.join(0.05)
            if not stopping.is_alive():
                return
            fake.push("chat", "hear", "that is all")
        raise AssertionError("signalrcore does not stop")


@pytest.mark.parametrize(
    ("transport", "protocol"),
    [("WebSockets", "Text"), ("WebSockets", "Binary"), ("ServerSentEvents", "Text"), ("LongPolling", "Text")],
)
def test_signalrcore(fake: BlockingFakeServer, transport: str, protocol: str) -> None:
    plain = Plain(fake.hub("chat").url, transport, protocol)
    fake.refuse(401, times=1)
    with pytest.raises(Exception, match="401"):
        plain.connection.start()
    plain.connection.start()
    assert plain.next() == "open"
    fake.connected()
    fake.push("chat", "hear", "hi")
    assert plain.next() == ["hi"]
    assert [plain.call("add", 1, 2), plain.call("deny")] == [3, DENIED]
    assert slowly(fake, lambda: plain.call("add", 3, 4)) == 7
    assert calls_of(fake) == CALLS

    (first,) = fake.connections
    fake.end(error="restarting", allow_reconnect=True)
    assert plain.next() == "reconnected"
    fake.connected()
    assert first not in fake.connections
    fake.drop()
    if transport == "LongPolling":  # it polls on, and notices nothing
        plain.stop(fake)
    else:  # a connection that is reset is over for it
        assert plain.next() == "closed"
    fake.disconnected()


@pytest.mark.parametrize("transport", ["webSockets", "serverSentEvents"])
def test_signalr_client_threads(fake: BlockingFakeServer, monkeypatch: pytest.MonkeyPatch, transport: str) -> None:
    theirs = pytest.importorskip("signalr.transports._ws_transport", reason="signalr-client-threads is not installed")
    if transport == "serverSentEvents":
        monkeypatch.setattr(theirs.WebSocketsTransport, "accept", lambda transport, negotiated: False)
    create, sockets = theirs.create_connection, []
    monkeypatch.setattr(
        theirs, "create_connection", lambda *a, **more: sockets.append(create(*a, **more)) or sockets[-1]
    )

    def connect() -> tuple[Talk, Any]:
        talk = Talk(fake.url, lambda talk: fake.push("chat", "hear", "that is all"))
        hub = talk.connection.register_hub("chat")
        talk.listen(hub, "hear")
        talk.connection.error += errors.append
        talk.connection.exception += lambda *failure: failures.put(failure)
        return talk, hub

    errors: list[str] = []
    failures: queue.SimpleQueue[Any] = queue.SimpleQueue()
    fake.refuse(401, times=1)
    talk, hub = connect()
    with pytest.raises(Exception, match="401"):
        talk.connection.start()
    talk.close()
    talk, hub = connect()
    talk.connection.start()
    fake.connected()
    fake.push("chat", "hear", "hi")
    talk.until_heard("hear", "hi")
    hub.server.invoke("add", 1, 2)
    assert talk.until_result(0) == {"R": 3, "I": "0"}
    hub.server.invoke("deny")
    assert talk.until_result(1) == {"H": True, "E": "not you", "D": {"code": 4}, "I": "1"}

    def add() -> Any:
        hub.server.invoke("add", 3, 4)
        return talk.until_result(2)["R"]

    assert slowly(fake, add) == 7
    assert calls_of(fake) == CALLS
    if transport == "webSockets":
        fake.end(error="enough")
        fake.disconnected()
    else:
        fake.drop()
        assert issubclass(failures.get(timeout=WITHIN)[0], OSError)  # and it does not come back
    talk.close()
    for socket in sockets:  # their client leaves it open when it is over
        socket.close()
    assert errors == ["not you", "enough"][: 2 if transport == "webSockets" else 1]
