"""Log records: those about a connection name it, and none has a secret in it, whatever goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from persistconn import App, Connection, DisconnectReason, PersistentConnection, RemoteProtocolError, Request
from persistconn.hubs import Hub
from tests.hubs.aspnetcore_line import open_house, settle
from tests.hubs.page import House, Page
from tests.line import Line, http

SECRETS = ("bearer-5ecret", "query-5ecret", "group-5ecret", "body-5ecret")
FIELDS = ("connection_id", "transport", "route")


class Clumsy(PersistentConnection):
    """Everything fails that can."""

    async def on_connected(self, connection: Connection) -> None:
        connection.start_soon(self.work)

    async def work(self) -> None:
        raise ValueError("the task")

    async def on_received(self, connection: Connection, data: Any) -> None:
        if data == "refuse":
            raise RemoteProtocolError("not like this")
        raise ValueError("the message")

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        raise ValueError("the end")


class Desk(Hub):
    async def fail(self, text: str) -> None:
        raise ValueError("the call")

    async def on_disconnected(self, reason: DisconnectReason) -> None:
        raise ValueError("the end of the hub")


async def user_of(request: Request) -> str | None:
    if request.query.get("fail"):
        raise ValueError("the user")
    return "ann"


def everything_in(record: logging.LogRecord) -> str:
    """The line, its traceback, its arguments and all its fields."""
    shown = logging.Formatter().format(record)
    return f"{shown} {record.args!r} { ({key: str(value) for key, value in record.__dict__.items()})!r}"


async def a_hard_day(home: House) -> dict[str, Page | Any]:
    """Clients of both dialects, with secrets in headers, queries and bodies, to whom everything happens."""
    bearer = ("Authorization: Bearer bearer-5ecret", "Cookie: a=bearer-5ecret")
    more = "secret=query-5ecret&access_token=query-5ecret"
    socket = await home.page(path="/clumsy", headers=bearer, query=more)
    socket.say('"body-5ecret"')
    socket.say('"refuse"')
    polling = await home.page(path="/clumsy", transport="longPolling", headers=bearer, query=more)
    await polling.send('"body-5ecret"')
    held = Line(home.state)
    held.data_received(http(f"/clumsy/poll?{polling.query}&messageId=nonsense&groupsToken=group-5ecret"))
    await settle()
    hub = await home.page("desk", path="/hub", headers=bearer, query=more)
    await hub.call("desk", "fail", "body-5ecret")
    await hub.call("desk", "missing", "body-5ecret")
    for target in ("/clumsy/negotiate", "/hub/negotiate", "/nothing", "/clumsy/connect"):
        await home.visitor().ask(f"{target}?clientProtocol=2.1&fail=1&{more}")
    for page in (socket, polling, hub):
        await page.stop()
    await settle()
    return {"/clumsy webSockets": socket, "/clumsy longPolling": polling, "/hub webSockets": hub}


def test_a_secret_would_be_found() -> None:
    record = logging.LogRecord("persistconn.app", logging.ERROR, "", 0, "%d things", (1,), None)
    record.__dict__["route"] = "/a?token=query-5ecret"
    assert "query-5ecret" in everything_in(record)


async def test_no_record_has_a_secret_and_those_about_connections_name_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "persistconn")
    app = App(secret_keys=["a key for the tests"], authenticate=user_of)
    app.add_connection("/clumsy", Clumsy())
    async with open_house(Desk, app=app) as rooms:
        home = rooms.home
        pages = await a_hard_day(home)
        client = await rooms.client(path="/hub?access_token=query-5ecret")
        await client.ask("fail", "body-5ecret")
        await client.ask("missing", "body-5ecret")
        await client.stop()
        await settle()
        tokens = [page.query.partition("connectionToken=")[2].partition("&")[0] for page in pages.values()]
    assert all(tokens)
    records = [record for record in caplog.records if record.name.startswith("persistconn")]
    caplog.clear()  # errors that are left fail a test
    said = [everything_in(record) for record in records]
    assert [one for one in said for secret in (*SECRETS, *tokens) if secret in one] == []

    def about(key: str) -> list[logging.LogRecord]:
        route, transport = key.split()
        wanted = (pages[key].id, transport, route)
        return [one for one in records if tuple(getattr(one, name, None) for name in FIELDS) == wanted]

    expected: dict[str, Callable[[str], bool]] = {
        "persistconn.app": lambda text: "Received of connection" in text,
        "persistconn.access": lambda text: "/connect?" in text,
    }
    for key in ("/clumsy webSockets", "/clumsy longPolling"):
        for name, is_it in expected.items():
            assert [one for one in about(key) if one.name == name and is_it(one.getMessage())], (key, name)
        messages = [one.getMessage() for one in about(key)]
        assert [text for text in messages if "a task of connection" in text], key
        assert [text for text in messages if "Disconnected of connection" in text], key
        assert [text for text in messages if text.endswith(": connected")], key
        assert [text for text in messages if text.endswith(": disconnected (closed)")], key
    calls = [one.getMessage() for one in about("/hub webSockets") if one.name == "persistconn.hubs"]
    assert [text.partition(":")[0] for text in calls] == [
        "a call of desk.fail failed",
        "a call of desk.missing was refused",
        f"on_disconnected of Desk, connection {pages['/hub webSockets'].id}, failed",
    ]
    of_connections = [one for one in records if one.name != "persistconn.access" and "connection" in one.getMessage()]
    unnamed = [one.getMessage() for one in of_connections if not getattr(one, "connection_id", "")]
    assert unnamed == []
