"""How ASGI servers say that a WebSocket has ended: who has said goodbye is gone, who was cut may come back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from persistconn import App, Connection, DisconnectReason, PersistentConnection, Settings
from persistconn.hubs import Hub
from tests.drivers.asgi_client import AsgiClient
from tests.line import settle

RS = "\x1e"

GOODBYES: dict[str, dict[str, Any]] = {
    "with a code": {"code": 1000},
    "with a code, and a reason": {"code": 1001, "reason": "moving on"},
    "without a code: uvicorn": {"code": 1005, "reason": ""},
    "without a code: daphne": {"code": None},
}
CUTS: dict[str, dict[str, Any]] = {
    "daphne, hypercorn": {"code": 1006},
    "uvicorn with websockets": {"code": 1006, "reason": ""},
    "uvicorn with websockets-sansio or wsproto, granian": {"code": 1005},
    "uvicorn when it shuts down": {"code": 1012},
    "as the specification has it": {},
}


class Doorman(PersistentConnection):
    async def on_received(self, connection: Connection, data: object) -> None:
        await connection.close()


class Told(Hub):
    ended: list[DisconnectReason] = []

    async def on_disconnected(self, reason: DisconnectReason) -> None:
        self.ended.append(reason)


async def who_ended(disconnect: dict[str, Any]) -> tuple[list[DisconnectReason], bool]:
    """What the hub of a client that may come back is told at this end of its WebSocket, and whether it still can."""
    Told.ended = []
    app = App(secret_keys=["only for these tests"], settings=Settings(allow_stateful_reconnect=True))
    app.add_hubs("/hub", Told)
    async with AsgiClient.of(app) as client:
        _, body = await client.post("/hub/negotiate?negotiateVersion=1&useStatefulReconnect=true")
        target = f"/hub?id={json.loads(body)['connectionToken']}"
        call = client.begin(client.call("websocket", target))
        call.say("websocket.connect")
        call.text(f'{{"protocol":"json","version":2}}{RS}')
        assert await call.hear() == f"{{}}{RS}"
        call.say("websocket.disconnect", **disconnect)
        await call.ended()
        await settle()
        ended = list(Told.ended)
        again = client.begin(client.call("websocket", target))
        again.say("websocket.connect")
        return ended, (await again.next())["type"] == "websocket.accept"


@pytest.mark.parametrize("said", GOODBYES.values(), ids=GOODBYES)
async def test_after_a_goodbye_nobody_is_waited_for(said: dict[str, Any]) -> None:
    assert await who_ended(said) == ([DisconnectReason.closed], False)


@pytest.mark.parametrize("said", CUTS.values(), ids=CUTS)
async def test_who_was_cut_may_come_back(said: dict[str, Any]) -> None:
    assert await who_ended(said) == ([], True)


async def test_our_last_word_is_answered_before_the_server_may_cut_the_socket() -> None:
    """hypercorn does so as soon as the application returns, and then a client cannot tell it from a breakdown."""
    app = App(secret_keys=["only for these tests"])
    app.add_connection("/door", Doorman())
    async with AsgiClient.of(app) as client:
        _, call = await client.aspnetcore("/door", "webSockets")
        call.answers = False
        call.text("let me out")
        assert (await call.hear())["code"] == 1000
        call.text("one thing more")
        await settle()
        assert not call.over
        call.say("websocket.disconnect", code=1000)
        await call.ended()


async def test_who_does_not_answer_our_last_word_is_waited_for_no_longer_than_close_timeout() -> None:
    app = App(secret_keys=["only for these tests"], settings=Settings(close_timeout=0.01))
    app.add_connection("/door", Doorman())
    async with AsgiClient.of(app) as client:
        _, call = await client.aspnetcore("/door", "webSockets")
        call.answers = False
        call.text("let me out")
        await call.ended()
        assert call.sent[-1]["type"] == "websocket.close"


async def test_a_hub_says_itself_that_a_message_is_too_large() -> None:
    app = App(secret_keys=["only for these tests"], settings=Settings(max_message_size=100, detailed_errors=True))
    app.add_hubs("/hub", Told)
    for message in ("x" * 101 + RS, b"x" * 101 + RS.encode()):
        async with AsgiClient.of(app) as client:
            _, call = await client.aspnetcore("/hub", "webSockets")
            call.text(f'{{"protocol":"json","version":1}}{RS}')
            assert await call.hear() == f"{{}}{RS}"
            call.say("websocket.receive", **{"text" if isinstance(message, str) else "bytes": message})
            said = json.loads((await call.hear()).rstrip(RS))
            assert said["type"] == 7 and "The maximum message size of 100B was exceeded." in said["error"]
            assert (await call.hear())["type"] == "websocket.close"
