"""What servers and middleware do to an ASGI application, at random: it takes it all, keeps nothing, logs no error."""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from random import Random
from typing import Any
from urllib.parse import quote

import anyio
import anyio.lowlevel
import pytest

from persistconn import App, Connection, PersistentConnection, Settings
from tests.drivers.asgi_client import AsgiClient
from tests.line import settle

SEED = int(os.environ.get("ASGI_FUZZ_SEED", "6"))
CALLS = int(os.environ.get("ASGI_FUZZ_CALLS", "300"))
MOST = 10
"""Messages in a body or to a WebSocket."""


class Echo(PersistentConnection):
    async def on_received(self, connection: Connection, data: Any) -> None:
        await connection.send(data)


class Planned(Exception):
    """What a server raises where the test wants it."""


class Rough:
    """An exchange with a server that has bad manners: `faults` says at which step which one shows."""

    def __init__(self, scope: dict[str, Any], messages: list[dict[str, Any]], faults: dict[str, int]) -> None:
        self.scope = scope
        self.messages = deque(messages)
        self.faults = faults
        self.steps = {"receive": 0, "send": 0}
        self.sent: list[str] = []
        self.over = False
        self.raised: BaseException | None = None
        self.cancel = anyio.CancelScope()
        self._news = anyio.Event()

    async def run(self, application: Any) -> None:
        try:
            with self.cancel:
                await application(self.scope, self.receive, self.send)
        except Exception as error:
            self.raised = error
        self.over = True

    def _step(self, which: str) -> None:
        self.steps[which] += 1
        if self.faults.get(which) == self.steps[which]:
            raise Planned(which)
        if self.faults.get(f"{which} is cancelled") == self.steps[which]:
            self.cancel.cancel()

    async def receive(self) -> dict[str, Any]:
        self._step("receive")
        await anyio.lowlevel.checkpoint()
        while not self.messages:
            await self._news.wait()
        return self.messages.popleft()

    async def send(self, message: Any) -> None:
        self._step("send")
        if self.faults.get("slow") == self.steps["send"]:
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
        self.sent.append(message["type"])

    def say(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self._news.set()
        self._news = anyio.Event()


class Chance:
    """Makes exchanges."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def often(self, share: float) -> bool:
        return self.random.random() < share

    def rough(self, targets: list[tuple[str, str]]) -> Rough:
        kind, target = self.random.choice(targets)
        scope = self.scope(kind, target)
        messages = self.http(scope) if kind == "http" else self.websocket()
        if self.often(0.3):
            messages += [{"type": f"{kind}.disconnect"}] * self.random.randrange(1, 4)
        faults = ["receive", "send", "receive is cancelled", "send is cancelled", "slow"]
        chosen = self.random.sample(faults, self.random.choice([0, 0, 0, 1, 2]))
        return Rough(scope, messages, {fault: self.random.randrange(1, 5) for fault in chosen})

    def scope(self, kind: str, target: str) -> dict[str, Any]:
        path, _, query = target.partition("?")
        headers: Any = [(b"host", b"example.org"), (b"accept", self.random.choice([b"*/*", b"text/event-stream"]))]
        headers += self.random.sample(
            [
                (b"Content-Type", b"application/x-www-form-urlencoded"),
                (b"content-length", self.random.choice([b"0", b"3", b"-1", b"1_0", b"\xb2", b"9" * 30, b"9" * 5_000])),
                (b"origin", self.random.choice([b"null", b"http://example.org", b"\xff\xfe", b""])),
                (b"x-strange", self.random.randbytes(20)),
                (b"authorization", b"Bearer \xff"),
            ],
            self.random.choice([0, 0, 1, 3]),
        )
        odd_query = [b"\xff\xfe=%ff", b"a=" + b"x" * 200_000, b"&" * 10_000, b"id=%00&transport=%", b"=;=;"]
        scope: dict[str, Any] = {
            "type": kind,
            "asgi": {"version": "3.0"},
            "http_version": self.random.choice(["1.0", "1.1", "2", "3"]),
            "path": self.random.choice([path] * 12 + ["", "/", "//", "/\ufffd", "/\x00", f"/rt{path}"]),
            "raw_path": self.random.choice([path.encode(), None, b"", b"/rt" + path.encode(), b"\xff%%%"]),
            "query_string": self.random.choice([query.encode()] * 8 + odd_query),
            "root_path": self.random.choice(["", "", "", "/rt", "/", "rt", "/rt/", None]),
            "scheme": self.random.choice(["http", "https", "ws", "wss", ""]),
            "client": self.random.choice([("192.0.2.1", 5), ["192.0.2.1", None], ("/a/socket", 0), None, ()]),
            "server": None,
            "extensions": self.random.choice([None, {}, {"websocket.http.response": {}}]),
            "headers": self.random.choice([list, tuple, iter])(headers),
            "state": {},
            "user": self.random.choice([None, "", "ann"]),
        }
        for name in ("raw_path", "root_path", "scheme", "client", "server", "extensions", "state", "user", "asgi"):
            if self.often(0.1):
                del scope[name]
        if kind == "http":
            scope["method"] = self.random.choice(["GET", "POST", "POST", "HEAD", "OPTIONS", "DELETE", "get", "STRANGE"])
        else:
            scope["subprotocols"] = self.random.choice([[], ["json"], ()])
        return scope

    def http(self, scope: dict[str, Any]) -> list[dict[str, Any]]:
        if self.often(0.05):
            return []
        parts: list[Any] = [
            b"",
            b"data=%22x%22",
            b"data=",
            b"%",
            b"\xff" * 9,
            b"messageId=",
            b"x" * 60,
            bytearray(b"d"),
        ]
        messages: list[dict[str, Any]] = []
        for _ in range(self.random.choice([1, 1, 1, 2, MOST])):
            message: dict[str, Any] = {"type": "http.request", "more_body": True}
            message["body"] = self.random.choice([*parts, None])
            if self.often(0.1):
                del message["body"]
            messages.append(message)
        messages[-1].pop("more_body")
        if self.often(0.2):
            messages.insert(self.random.randrange(len(messages) + 1), {"type": "http.disconnect"})
        if self.often(0.1):
            messages += [messages[-1]] * 3
        return messages

    def websocket(self) -> list[dict[str, Any]]:
        said: list[dict[str, Any]] = [
            {"text": None, "bytes": b""},
            {"text": "", "bytes": None},
            {"text": '"hello"'},
            {"bytes": b"\x00\xff"},
            {"bytes": bytearray(b'"x"'), "text": None},
            {"text": "x" * 2_000},
            {"text": '{"protocol":"json","version":1}\x1e'},
            {"text": None, "bytes": None},
            {},
        ]
        messages: list[dict[str, Any]] = [{"type": "websocket.connect"}] if self.often(0.95) else []
        chosen = self.random.choices(said, k=self.random.randrange(MOST))
        messages += [{"type": "websocket.receive", **each} for each in chosen]
        if self.often(0.3):
            codes: list[dict[str, Any]] = [{"code": 1000}, {"code": None}, {"code": 1006, "reason": None}, {}]
            messages.append({"type": "websocket.disconnect", **self.random.choice(codes)})
        if self.often(0.05):
            messages.insert(0, {"type": "websocket.disconnect", "code": 1006})
        return messages


async def new_targets(client: AsgiClient) -> list[tuple[str, str]]:
    """Where something can be asked, with tokens that are good."""
    answer = json.loads((await client.get("/echo/negotiate?clientProtocol=2.1"))[1])
    id = json.loads((await client.post("/echo/negotiate?negotiateVersion=1"))[1])["connectionToken"]
    targets = [("http", "/nothing"), ("http", "/echo/negotiate?clientProtocol=2.1"), ("http", "/page")]
    targets += [("http", f"/echo?id={id}")] * 3 + [("websocket", f"/echo?id={id}")] * 2 + [("websocket", "/echo")]
    for transport in ("webSockets", "serverSentEvents", "longPolling", "foreverFrame"):
        query = f"clientProtocol=2.1&connectionToken={quote(answer['ConnectionToken'], safe='')}&transport={transport}"
        kind = "websocket" if transport == "webSockets" else "http"
        targets += [(kind, f"/echo/{verb}?{query}") for verb in ("connect", "connect", "reconnect")]
        targets += [("http", f"/echo/{verb}?{query}") for verb in ("start", "send", "poll", "abort", "ping")]
    return targets


async def test_nothing_a_server_does_is_too_much(caplog: pytest.LogCaptureFixture) -> None:
    chance = Chance(SEED)
    settings = Settings(max_message_size=1_000, max_body_size=300)
    app = App(secret_keys=["sixteen or more characters"], settings=settings)
    app.add_connection("/echo", Echo())
    app.add_page("/page", b"<p>hello", "text/html")
    kinds: set[str] = set()
    with caplog.at_level(logging.WARNING):
        async with app.running() as host, AsgiClient.of(app, patience=30 + CALLS / 20) as client:
            _, call = await client.classic("/echo", "webSockets")
            call.say("websocket.disconnect")
            await call.ended()
            tasks = host.tasks
            for number in range(CALLS // 10):
                targets = await new_targets(client)
                roughs = [chance.rough(targets) for _ in range(10)]
                for rough in roughs:
                    client.tasks.start_soon(rough.run, app)
                    await settle(chance.random.randrange(8))
                await settle()
                for rough in roughs:
                    rough.say({"type": f"{rough.scope['type']}.disconnect", "code": 1006})
                await settle()
                for rough in roughs:
                    about = (SEED, number, rough.scope, rough.faults, rough.steps)
                    assert rough.over, about
                    assert rough.raised is None, about
                    kinds.update(rough.sent)
                assert app.statistics().attached == 0, (SEED, number)
            host.drain()
            await host.drained()
            await settle()
            assert (app.statistics().connections, host.tasks) == (0, tasks)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert len(kinds) >= 6, kinds
