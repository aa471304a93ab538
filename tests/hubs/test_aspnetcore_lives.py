"""The life of an ASP.NET Core client's connection: handshake, hubs, groups, silence, the end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from persistconn import App, ConfigurationError, DisconnectReason, Request
from persistconn.hubs import DOTNET, Hub, HubError, authorize

from .aspnetcore_line import JSON, MESSAGEPACK, Client, open_house, settle
from .test_aspnetcore_calls import LOG, Item
from .test_aspnetcore_calls import from_zero as from_zero


class Red(Hub):
    async def on_connected(self) -> None:
        LOG.append(f"hello {self.context.transport}")
        await self.clients.caller.welcome(type(self).__name__)

    async def on_disconnected(self, reason: DisconnectReason) -> None:
        LOG.append(f"goodbye {reason.value}")

    async def join(self, name: str) -> None:
        await self.groups.join(self.context.connection_id, name)

    async def tell(self, whom: str, *names: str) -> None:
        clients: dict[str, Any] = {
            "all": lambda: self.clients.all,
            "others": lambda: self.clients.others,
            "group": lambda: self.clients.group(*names),
            "user": lambda: self.clients.user(*names),
        }
        await clients[whom]().heard(whom)

    async def item(self) -> Item:
        return Item(1, "x")


class Blue(Red):
    pass


class Shy(Hub):
    how = ""

    async def on_connected(self) -> None:
        if self.how == "so":
            raise HubError("not today")
        if self.how == "ask":
            await self.clients.caller.invoke("name")
        raise ValueError("secret")

    async def on_disconnected(self, reason: DisconnectReason) -> None:
        LOG.append("goodbye")


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (b'{"protocol":"foo","version":1}', "The protocol 'foo' is not supported."),
        (b'{"protocol":"json","version":3}', "The server does not support version 3 of the 'json' protocol."),
        (b"?", "An unexpected error occurred during connection handshake."),
    ],
)
async def test_a_handshake_that_fails(request_: bytes, error: str) -> None:
    async with open_house(Red) as rooms:
        client = await rooms.visitor()
        client.say(request_ + b"\x1e")
        await settle()
        assert client._written().decode() == f'{{"error":"{error}"}}\x1e'
        assert client.closed and LOG == []


async def test_no_handshake_in_time() -> None:
    async with open_house(Red, handshake_timeout=0.05) as rooms:
        client = await rooms.visitor()
        while not client.closed:
            await settle()
            said = client._written()
            if said:
                assert said == b'{"error":"Handshake was canceled."}\x1e'
        assert LOG == []


async def test_nothing_precedes_the_answer_to_the_handshake() -> None:
    async with open_house(Red) as rooms:
        early = await rooms.visitor()
        await rooms.app.clients(Red).all.news()
        await settle()
        assert early._written() == b""
        early.say(b'{"protocol":"json","version":1}\x1e' + early.call("Join", "x", id="1"))
        assert (await early_words(early)) == [("call", "welcome", "Red"), ("result", "1", None)]


async def early_words(client: Client) -> list[Any]:
    await settle()
    answer, _, rest = client._written().partition(b"\x1e")
    assert answer == b"{}"
    client._take(rest)
    return await client.hear()


@pytest.mark.parametrize(
    ("how", "detailed", "close"),
    [
        ("", False, ("close", "Connection closed with an error.")),
        ("", True, ("close", "Connection closed with an error. ValueError: secret")),
        ("so", False, ("close", "Connection closed with an error. HubException: not today")),
        (
            "ask",
            True,
            (
                "close",
                "Connection closed with an error. PersistconnError: Client results inside OnConnectedAsync Hub methods "
                "are not allowed.",
            ),
        ),
    ],
)
async def test_a_hub_refuses_a_client(
    how: str, detailed: bool, close: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Shy, "how", how)
    async with open_house(Shy, detailed_errors=detailed) as rooms:
        client = await rooms.visitor()
        client.say(b'{"protocol":"json","version":1}\x1e' + client.call("Nope", id="1"))
        assert await early_words(client) == [close] and client.closed
        assert LOG == []


async def test_each_client_uses_one_hub() -> None:
    async with open_house(Red, Blue) as rooms:
        red, blue = await rooms.client(path="/hub/red"), await rooms.client(path="/hub/BLUE")
        page = await rooms.page("red", "blue")
        assert await red.hear() == [("call", "welcome", "Red")] and await blue.hear() == [("call", "welcome", "Blue")]
        await page.heard()
        await red.ask("Tell", "all")
        assert await red.hear() == [] == await blue.hear()
        assert await page.heard() == [{"H": "Red", "M": "heard", "A": ["all"]}]
        for client in (red, blue):
            await client.ask("Join", "room")
        await blue.ask("Tell", "group", "room")
        assert await red.hear() == []


async def test_users_and_groups() -> None:
    async def authenticate(request: Request) -> str | None:
        return request.headers.get("x-user") or None

    app = App(secret_keys=["a key for the tests"], authenticate=authenticate)
    async with open_house(Red, app=app) as rooms:
        ann, ben = [await rooms.client(headers=(f"X-User: {name}",)) for name in ("ann", "ben")]
        for client in (ann, ben):
            await client.hear()
        ben.say(ben.call("Tell", "user", "ann"))
        await settle()
        assert (await ann.hear(), await ben.hear()) == ([("call", "heard", "user")], [])
        await ann.ask("Join", "room")
        ben.say(ben.call("Tell", "group", "room"), ben.call("Tell", "others"))
        assert (await ben.hear(), await ann.hear()) == ([], [("call", "heard", "group"), ("call", "heard", "others")])


async def test_only_who_may_connects() -> None:
    @authorize
    class Closed(Hub):
        pass

    async with open_house(Closed, Red) as rooms:
        page = rooms.home.visitor(path="/hub")
        status, _ = await page.ask("/hub/closed/negotiate?negotiateVersion=1", method="POST")
        assert status == 401
        status, _ = await page.ask("/hub/red/negotiate?negotiateVersion=1", method="POST")
        assert status == 200


# Ends -------------------------------------------------------------------------------------------

BROKEN = ("close", "Connection closed with an error.", "again")


async def test_the_client_breaks_the_protocol() -> None:
    async with open_house(Red) as rooms:
        client = await rooms.client()
        await client.hear()
        client.say(b"?\x1e")
        assert await client.hear() == [BROKEN] and client.closed
        assert LOG == ["hello webSockets", "goodbye aborted"]


async def test_the_client_says_goodbye_or_just_goes() -> None:
    async with open_house(Red) as rooms:
        client, other = await rooms.client(), await rooms.client()
        await client.hear()
        assert await client.stop() == [("close",)] and client.closed
        other.cut()
        await settle()
        assert LOG[2:] == ["goodbye closed", "goodbye closed"]


async def test_silence_is_the_end_once_the_client_has_given_a_sign_of_life(caplog: pytest.LogCaptureFixture) -> None:
    async with open_house(Red, client_timeout=0.05) as rooms:
        client = await rooms.client()
        await client.hear()
        client.say(JSON.ping())
        assert await client.hear(1) == [BROKEN]
        assert LOG[-1] == "goodbye timed_out"


async def test_the_server_goes() -> None:
    async with open_house(Red) as rooms:
        client = await rooms.client()
        await client.hear()
        host: Any = rooms.app._host
        host.drain()
        assert await client.hear() == [("close", "again")] and client.closed
        assert LOG == ["hello webSockets", "goodbye shutdown"]


# Names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["negotiate", "Start", "send", "hubs", "js", "abort", "refresh"])
def test_a_hub_is_not_called_as_something_else_at_its_path(name: str) -> None:
    class Odd(Hub):
        pass

    Odd.__name__ = name
    app = App(secret_keys=["a key for the tests"], dialects=["classic", "aspnetcore"])
    with pytest.raises(ConfigurationError, match="would be asked for"):
        app.add_hubs("/hub", Odd)
    App(secret_keys=["a key for the tests"], dialects=["classic"]).add_hubs("/hub", Odd, javascript=False)


async def test_messagepack_may_be_spelt_as_dotnet_does() -> None:
    async with open_house(Red, messagepack=DOTNET) as rooms:
        client, other = await rooms.client(MESSAGEPACK), await rooms.client(JSON)
        await client.hear(), await other.hear()
        assert await client.ask("Item") == ("result", {"ObjId": 1, "ObjVal": "x"})
        assert await other.ask("Item") == ("result", {"obj_id": 1, "obj_val": "x"})


# Stateful reconnect -----------------------------------------------------------------------------


async def test_a_connection_outlives_its_socket() -> None:
    async with open_house(Red, allow_stateful_reconnect=True) as rooms:
        page = rooms.home.visitor(path="/hub")
        _, body = await page.ask("/hub/negotiate?negotiateVersion=1&useStatefulReconnect=true", method="POST")
        told = msgspec.json.decode(body)
        assert told["useStatefulReconnect"] is True
        path = f"/hub?id={told['connectionToken']}"
        client = await rooms.visitor_at(path)
        assert await client.shake("json", 2) == "{}"
        assert await client.hear() == [("call", "welcome", "Red")]
        client.cut()
        await settle()
        await rooms.app.clients(Red).all.news(1)
        again = await rooms.visitor_at(path)
        assert await again.hear() == [("sequence", 1), ("call", "welcome", "Red"), ("call", "news", 1)]
        again.say(JSON.sequence(1), again.call("Join", "x", id="1"), JSON.ack(2))
        assert await again.hear() == [("result", "1", None)]
        assert LOG == ["hello webSockets"]
