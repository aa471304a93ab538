"""The plugin for pytest, in a suite of somebody else: on both event loops, in plain tests, and at no cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from persistconn import App, PersistentConnection
from persistconn.testing import Refused

SUITE = """
import pytest

from persistconn import App, PersistentConnection


class Echo(PersistentConnection):
    async def on_received(self, connection, data):
        await connection.send(data)


@pytest.fixture
def app():
    app = App(secret_keys=["a key for the tests"])
    app.add_connection("/echo", Echo())
    return app


@pytest.mark.anyio
async def test_awaited(app, persistconn_client):
    client = await persistconn_client(app, "/echo")
    other = await persistconn_client(app, "/echo", dialect="aspnetcore", transport="longPolling")
    await client.send("hi")
    await other.send("hello")
    assert [await client.receive(), await other.receive()] == ["hi", "hello"]


def test_plain(app, persistconn_client):
    client = persistconn_client(app, "/echo")
    other = persistconn_client(app, "/echo", dialect="aspnetcore")
    client.send("hi")
    other.send("hello")
    assert [client.receive(), other.receive()] == ["hi", "hello"]


@pytest.mark.anyio
async def test_awaited_server(fake_signalr):
    fake_signalr.hub("chat").on("send", str.upper)
    await fake_signalr.push("chat", "message", "to nobody")
    assert fake_signalr.calls == []


class TestInAClass:
    def test_plain_server(self, fake_signalr):
        fake_signalr.hub("chat").on("send", str.upper)
        fake_signalr.push("chat", "message", "to nobody")
        assert fake_signalr.calls == []


@pytest.mark.xfail(reason="nobody runs it")
async def test_of_no_plugin(fake_signalr):
    pass
"""


FAILING = """
import pytest

from persistconn import App
from persistconn.hubs import Hub


class Alarm(Hub):
    async def ring(self):
        await self.clients.all.ringing()


@pytest.fixture
def app():
    app = App(secret_keys=["a key for the tests"])
    app.add_hubs("/hubs", Alarm)
    return app


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_awaited(app, persistconn_client):
    client = await persistconn_client(app, "/hubs")
    client.on("ringing", lambda: 1 / 0)
    await client.invoke("ring")


def test_plain(app, persistconn_client):
    client = persistconn_client(app, "/hubs")
    client.on("ringing", lambda: 1 / 0)
    client.invoke("ring")
"""


DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = ["test_echo", "test_doors", "test_price_client", "echo", "hub_ask", "hub_streams", "price_client"]


def test_a_suite_of_somebody_else(tmp_path: Path) -> None:
    for name, suite in (("theirs", SUITE), ("failing", FAILING)):
        (tmp_path / f"test_{name}.py").write_text(suite)
    for name in EXAMPLES:  # with what the documentation shows
        (tmp_path / f"{name}.py").write_text((DOCS / "examples" / f"{name}.py").read_text())
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=100)
    assert "29 passed, 1 xfailed, 2 errors" in run.stdout, run.stdout + run.stderr
    assert run.stdout.count("E   ZeroDivisionError") == 2, run.stdout  # of functions that the server has called


def test_it_costs_nothing_where_nobody_uses_it() -> None:
    script = "import sys, persistconn.testing.plugin; print(*sorted(n for n in sys.modules if n[:5] == 'persi'))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["persistconn", "persistconn.testing", "persistconn.testing.plugin"]


class Echo(PersistentConnection):
    async def on_received(self, connection: Any, data: Any) -> None:
        await connection.send(data)


@pytest.fixture
def app() -> App:
    app = App(secret_keys=["a key for the tests"])
    app.add_connection("/echo", Echo())
    return app


async def test_fixtures_here(app: App, persistconn_client: Any, fake_signalr: Any) -> None:
    with pytest.raises(Refused, match="404"):
        await persistconn_client(app, "/nothing")
    with pytest.raises(AttributeError, match="client = await persistconn_client"):
        await persistconn_client(app, "/echo").send("hi")
    client = await persistconn_client(app, "/echo")
    await client.send("hi")
    assert await client.receive() == "hi" and fake_signalr.url


def test_fixtures_here_without_an_event_loop(app: App, persistconn_client: Any, fake_signalr: Any) -> None:
    client = persistconn_client(app, "/echo")
    client.send("hi")
    assert client.receive() == "hi" and fake_signalr.url
