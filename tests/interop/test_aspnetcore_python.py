"""pysignalr 1.3 and signalrcore 1.0, clients of ASP.NET Core SignalR in Python, on what they support."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .harness import ServerProcess

pysignalr = pytest.importorskip("pysignalr.client", reason="pysignalr is not installed")
signalrcore = pytest.importorskip("signalrcore.hub_connection_builder", reason="signalrcore is not installed")
signalrcore_types = pytest.importorskip("signalrcore.types")

VALUE = {"text": "Grüße 😀", "list": [1, -0.5, True, None]}
WITHIN = 15


# pysignalr --------------------------------------------------------------------------------------


class Modern:
    """A connection of pysignalr's, and what it heard."""

    def __init__(self, url: str, protocol: str) -> None:
        codec = {"json": ("json", "JSONProtocol"), "messagepack": ("messagepack", "MessagepackProtocol")}[protocol]
        module = pytest.importorskip(f"pysignalr.protocol.{codec[0]}")
        headers = {"Authorization": "Bearer ann"}
        self.client = pysignalr.SignalRClient(url, protocol=getattr(module, codec[1])(), headers=headers)
        self.opened = asyncio.Event()
        self.heard: asyncio.Queue[list[Any]] = asyncio.Queue()
        self.client.on_open(self._on_open)
        self.client.on_error(self._on_error)
        self.client.on("hear", self.heard.put)
        self.client.on("question", self._answer)

    async def _on_open(self) -> None:
        self.opened.set()

    async def _on_error(self, message: Any) -> None:
        """The caller is told as well."""

    async def _answer(self, arguments: list[Any]) -> str:
        (text,) = arguments
        if text == "fail":
            raise ValueError("I will not say")
        return f"{text}? Yes!"

    async def call(self, method: str, *arguments: Any) -> Any:
        """What the server has answered: a result, or an error's text."""
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def on_answer(message: Any) -> None:
            answered.set_result(message.error or message.result)

        await self.client.send(method, list(arguments), on_answer)
        return await answered

    async def stream(self, method: str, *arguments: Any) -> list[Any]:
        """All items of a stream, and its error if it had one."""
        items: list[Any] = []
        over = asyncio.Event()

        async def on_next(item: Any) -> None:
            items.append(item)

        async def on_complete(message: Any) -> None:
            over.set()

        async def on_error(message: Any) -> None:
            items.append(message.error)
            over.set()

        await self.client.stream(method, list(arguments), on_next, on_complete, on_error)
        await over.wait()
        return items


async def _talk_with_pysignalr(server: ServerProcess, protocol: str) -> str:
    modern = Modern(f"{server.url}/signalr", protocol)
    client, call = modern.client, modern.call
    running = asyncio.create_task(client.run())
    async with asyncio.timeout(WITHIN):
        await modern.opened.wait()
        me, *others = await call("whoAmI")
        assert others == ["ann", "webSockets", "aspnetcore"]
        assert await call("echo", VALUE) == VALUE
        assert await call("Add", 40, 2) == 42
        assert await call("note", "nothing comes of this") is None
        assert await call("fail", "no such room") == (
            "An unexpected error occurred invoking 'fail' on the server. HubException: no such room"
        )
        assert await call("breakDown") == "An unexpected error occurred invoking 'breakDown' on the server."

        await call("join", "a room")
        await call("say", "group", ["a room"], "to the group 😀")
        assert await modern.heard.get() == ["to the group 😀"]
        await client.send("say", ["user", ["ann"], "and nobody waits for an answer"])
        assert await modern.heard.get() == ["and nobody waits for an answer"]

        assert await modern.stream("count", 30) == list(range(30))
        error = "An error occurred on the server while streaming results. HubException: too far"
        assert await modern.stream("countAndFail", 1, "too far") == [0, error]
        texts = [f"text {number}" for number in range(30)]
        async with client.client_stream("noteAll") as upload:
            for text in texts:
                await upload.send(text)
        assert await asyncio.to_thread(server.wait, "noted", id=me)
        assert await call("notes") == ["nothing comes of this", *texts]

        # It answers a question before it reads on: so it is asked by others, or from outside.
        await asyncio.to_thread(server.order, "ask", id=me, text="Grün", within=10)
        await asyncio.to_thread(server.order, "ask", id=me, text="fail", within=10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await client._transport._ws.close()  # who cancels it is left with an open socket
    return str(me)


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
def test_pysignalr(aspnetcore_server: ServerProcess, protocol: str) -> None:
    with ThreadPoolExecutor(1) as aside:  # playwright keeps an event loop in this thread
        me = aside.submit(asyncio.run, _talk_with_pysignalr(aspnetcore_server, protocol)).result()
    answers = [event["answer"] for event in aspnetcore_server.events("answered", id=me)]
    assert answers == ["Grün? Yes!", "HubError: I will not say"]
    aspnetcore_server.wait("disconnected", id=me, reason="closed")


# signalrcore ------------------------------------------------------------------------------------


class Plain:
    """A connection of signalrcore's, and what it heard."""

    def __init__(self, server: ServerProcess, transport: str, protocol: str) -> None:
        kinds, encodings = signalrcore_types.HttpTransportType, signalrcore_types.HubProtocolEncoding
        builder = signalrcore.HubConnectionBuilder()
        self.user = None if transport == "LongPolling" else "ann"  # its polls do not say whose they are
        headers = {"Authorization": f"Bearer {self.user}"} if self.user else {}
        options = {"transport": kinds(transport), "headers": headers}
        builder = builder.with_url(f"{server.url}/signalr", options=options)
        self.connection = builder.with_hub_protocol(encodings(protocol)).build()
        self._server = server
        self._transport = transport
        self.id = ""
        self._seen: list[Any] = []
        self._news = threading.Condition()
        self.connection.on_open(lambda: self._note("open"))
        self.connection.on_error(lambda message: self._note(["error", message.invocation_id, message.error]))
        self.connection.on("hear", lambda arguments: self._note(["heard", *arguments]))
        self._calls = 0

    def _note(self, event: Any) -> None:
        with self._news:
            self._seen.append(event)
            self._news.notify_all()

    def until(self, condition: Callable[[Any], bool]) -> Any:
        """The first event of which this is true; waits for it."""
        for _ in range(WITHIN * 5):
            with self._news:
                if self._news.wait_for(lambda: any(map(condition, self._seen)), 0.2):
                    return next(filter(condition, self._seen))
            if self._transport == "LongPolling":  # it takes one message of a poll, and the others with later polls
                self._server.order("say", to="all", texts=["go on"])
        raise AssertionError(self._seen)

    def start(self) -> Plain:
        self.connection.start()
        self.until(lambda event: event == "open")
        return self

    def call(self, method: str, *arguments: Any) -> Any:
        """What the server has answered: a result, or an error's text."""
        self._calls += 1
        id = str(self._calls)

        def on_answer(message: Any) -> None:
            self._note(["answer", id, message.result])

        self.connection.send(method, list(arguments), on_answer, id)
        return self.until(lambda event: event[0] in ("answer", "error") and event[1] == id)[2]

    def count(self, upto: int) -> list[Any]:
        """All items of a stream, which waits until somebody listens: what comes before is lost."""
        gate = f"gate of {self.id}"
        callbacks = {
            "next": lambda item: self._note(["item", item]),
            "complete": lambda message: self._note(["complete"]),
            "error": lambda message: self._note(["failed"]),
        }
        self.connection.stream("countAfter", [gate, upto]).subscribe(callbacks)
        self._server.order("open", gate=gate)
        self.until(lambda event: event[0] == "complete")
        return [event[1] for event in self._seen if event[0] == "item"]

    def stop(self) -> None:
        """It takes effect with the next thing that comes from the server."""
        stopping = threading.Thread(target=self.connection.stop, daemon=True)
        stopping.start()
        for _ in range(WITHIN * 10):
            self._server.order("say", to="client", who=[self.id], texts=["that is all"])
            stopping.join(0.1)
            if not stopping.is_alive():
                return
        raise AssertionError("signalrcore does not stop")


@pytest.fixture
def plain(aspnetcore_server: ServerProcess) -> Iterator[Callable[[str, str], Plain]]:
    begun: list[Plain] = []

    def plain(transport: str, protocol: str) -> Plain:
        begun.append(Plain(aspnetcore_server, transport, protocol).start())
        return begun[-1]

    yield plain
    for each in begun:
        each.stop()


@pytest.mark.parametrize(
    ("transport", "protocol"),
    [("WebSockets", "Text"), ("WebSockets", "Binary"), ("ServerSentEvents", "Text"), ("LongPolling", "Text")],
)
def test_signalrcore(
    aspnetcore_server: ServerProcess, plain: Callable[[str, str], Plain], transport: str, protocol: str
) -> None:
    server = aspnetcore_server
    many = 5 if transport == "LongPolling" else 100
    client = plain(transport, protocol)
    client.id, *others = client.call("whoAmI")
    assert others == [client.user, transport[0].lower() + transport[1:], "aspnetcore"]
    assert client.call("echo", VALUE) == VALUE
    assert client.call("Add", 40, 2) == 42
    assert client.call("note", "nothing comes of this") is None
    error = "An unexpected error occurred invoking 'fail' on the server. HubException: no such room"
    assert client.call("fail", "no such room") == error

    client.call("join", "a room")
    client.call("say", "group", ["a room"], "to the group 😀")
    client.until(lambda event: event == ["heard", "to the group 😀"])
    server.order("say", to="client", who=[client.id], texts=[str(number) for number in range(many)])
    client.until(lambda event: event == ["heard", str(many - 1)])

    assert client.count(many) == list(range(many))
    if protocol == "Text":  # in MessagePack its uploads are malformed
        texts = [f"text {number}" for number in range(many)]
        upload = pytest.importorskip("signalrcore.subject").Subject()
        client.connection.send("noteAll", upload)
        for text in texts:
            upload.next(text)
        upload.complete()
        server.wait("noted", id=client.id)
        assert client.call("notes") == ["nothing comes of this", *texts]
    client.stop()
    server.wait("disconnected", id=client.id)
