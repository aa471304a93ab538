"""An ASGI server made by hand, for one client: what it says goes in, what the application sends is kept."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import anyio
import anyio.abc

__all__ = ["AsgiClient", "Call", "lifespan"]

PATIENCE = 8.0


class Call:
    """One scope. `block` makes the server take nothing more, as with a client that does not read."""

    def __init__(self, application: Any, scope: dict[str, Any]) -> None:
        self.application = application
        self.scope = scope
        self.inbox: deque[dict[str, Any]] = deque()
        self.sent: list[dict[str, Any]] = []
        self.over = False
        self.cancel = anyio.CancelScope()
        self.failing: Exception | None = None
        """What the next `send` raises."""
        self.blocked = False
        self.answers = True
        """The client answers a close frame."""
        self._news = anyio.Event()
        self._seen = 0

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    async def run(self) -> None:
        with self.cancel:
            await self.application(self.scope, self.receive, self.send)
        self.over = True
        self._tell()

    async def receive(self) -> dict[str, Any]:
        while not self.inbox:
            await self._news.wait()
        message = self.inbox.popleft()
        self._tell()
        return message

    async def send(self, message: Any) -> None:
        while self.blocked:
            await self._news.wait()
        if self.failing is not None:
            self.say(f"{self.scope['type']}.disconnect")
            raise self.failing
        self.sent.append(message)
        if message["type"] == "websocket.close" and self.answers:
            self.say("websocket.disconnect", code=message["code"], reason="")
        self._tell()

    def block(self, blocked: bool = True) -> None:
        self.blocked = blocked
        self._tell()

    def say(self, kind: str, **more: Any) -> None:
        self.inbox.append({"type": kind, **more})
        self._tell()

    async def until(self, found: Callable[[], Any]) -> Any:
        """Wait for something to be true, and give it."""
        with anyio.fail_after(PATIENCE):
            while not (result := found()):
                await self._news.wait()
        return result

    async def ended(self) -> None:
        await self.until(lambda: self.over)

    async def next(self) -> dict[str, Any]:
        """The next message of the application."""
        await self.until(lambda: len(self.sent) > self._seen)
        self._seen += 1
        return self.sent[self._seen - 1]

    # HTTP ---------------------------------------------------------------------------------------

    async def head(self) -> tuple[int, dict[bytes, bytes]]:
        start = await self.next()
        assert start["type"].endswith("http.response.start")
        return start["status"], dict(start["headers"])

    async def text_with(self, mark: str) -> str:
        """The body so far, once it has `mark`."""
        return str(await self.until(lambda: self.body if mark in self.body else ""))

    @property
    def body(self) -> str:
        return b"".join(m.get("body", b"") for m in self.sent if m["type"].endswith("http.response.body")).decode()

    async def answer(self) -> tuple[int, str]:
        """The whole answer."""
        await self.ended()
        start, *bodies = self.sent
        assert start["type"].endswith("http.response.start")
        assert [body.get("more_body", False) for body in bodies] == [True] * (len(bodies) - 1) + [False]
        return start["status"], self.body

    # WebSocket ----------------------------------------------------------------------------------

    def text(self, text: str) -> None:
        self.say("websocket.receive", text=text)

    async def hear(self) -> Any:
        """The next message that says something: text or bytes; a close is its dict."""
        message = await self.next()
        if message["type"] == "websocket.accept":
            message = await self.next()
        return message if message["type"] == "websocket.close" else message.get("text", message.get("bytes"))

    async def message(self) -> Any:
        """What a classic client would give its user next."""
        while True:
            envelope = json.loads(await self.hear())
            if envelope.get("M"):
                (found,) = envelope["M"]
                return found


class AsgiClient:
    """Makes calls; at the end of the block what still runs is cancelled."""

    def __init__(self, application: Any, tasks: anyio.abc.TaskGroup, **scope: Any) -> None:
        self.application = application
        self.tasks = tasks
        self.calls: list[Call] = []
        self.scope = {"root_path": "", "client": ("192.0.2.1", 50_000), "headers": [(b"host", b"example.org")], **scope}

    @classmethod
    @asynccontextmanager
    async def of(cls, application: Any, *, patience: float = PATIENCE, **scope: Any) -> AsyncIterator[AsgiClient]:
        with anyio.fail_after(patience):
            async with anyio.create_task_group() as tasks:
                yield cls(application, tasks, **scope)
                tasks.cancel_scope.cancel()

    def call(self, kind: str, target: str, **scope: Any) -> Call:
        path, _, query = target.partition("?")
        call = Call(self.application, {
            "type": kind, "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "scheme": "ws" if kind == "websocket" else "http", "path": path, "raw_path": path.encode(),
            "query_string": query.encode(), "extensions": {}, **self.scope, **scope,
        })  # fmt: skip
        self.calls.append(call)
        return call

    def begin(self, call: Call) -> Call:
        self.tasks.start_soon(call.run)
        return call

    def request(self, target: str, *, method: str = "GET", body: bytes = b"", **scope: Any) -> Call:
        call = self.call("http", target, method=method, **scope)
        call.say("http.request", body=body, more_body=False)
        return self.begin(call)

    async def get(self, target: str, **more: Any) -> tuple[int, str]:
        return await self.request(target, **more).answer()

    async def post(self, target: str, body: bytes = b"", **more: Any) -> tuple[int, str]:
        return await self.get(target, method="POST", body=body, **more)

    def websocket(self, target: str, **scope: Any) -> Call:
        call = self.call("websocket", target, subprotocols=[], **scope)
        call.say("websocket.connect")
        return self.begin(call)

    # Dialects -----------------------------------------------------------------------------------

    async def classic(self, mount: str, transport: str, **more: str) -> tuple[str, Call]:
        """Negotiate, connect and start: the query of this client, and its exchange."""
        added = "".join(f"&{name}={quote(value)}" for name, value in more.items())
        status, answer = await self.get(f"{mount}/negotiate?clientProtocol=2.1{added}")
        assert status == 200, answer
        token = quote(json.loads(answer)["ConnectionToken"], safe="")
        query = f"transport={transport}&clientProtocol=2.1&connectionToken={token}{added}"
        if transport == "webSockets":
            call = self.websocket(f"{mount}/connect?{query}")
            assert json.loads(await call.hear())["S"] == 1
        else:
            call = self.request(f"{mount}/connect?{query}{'&frameId=1' if transport == 'foreverFrame' else ''}")
            assert '"S":1' in await call.text_with('"S":1')
        assert json.loads((await self.get(f"{mount}/start?{query}"))[1]) == {"Response": "started"}
        return query, call

    async def aspnetcore(self, mount: str, transport: str) -> tuple[str, Call]:
        """Negotiate and open a transport: its target, and its exchange."""
        status, answer = await self.post(f"{mount}/negotiate?negotiateVersion=1")
        assert status == 200, answer
        target = f"{mount}?id={json.loads(answer)['connectionToken']}"
        if transport == "webSockets":
            call = self.websocket(target)
            assert (await call.next())["type"] == "websocket.accept"
        elif transport == "serverSentEvents":
            call = self.request(target, **self._accepting(b"text/event-stream"))
            assert (await call.head())[0] == 200
        else:
            assert await self.get(target) == (200, "")
            call = self.request(target)
        return target, call

    def _accepting(self, what: bytes) -> dict[str, Any]:
        return {"headers": [*self.scope["headers"], (b"accept", what)]}


@asynccontextmanager
async def lifespan(application: Any) -> AsyncIterator[Call]:
    """As servers do it: the block runs between startup and shutdown."""
    call = Call(application, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call.run)
        call.say("lifespan.startup")
        assert (await call.next())["type"] == "lifespan.startup.complete"
        yield call
        call.say("lifespan.shutdown")
        assert (await call.next())["type"] == "lifespan.shutdown.complete"
