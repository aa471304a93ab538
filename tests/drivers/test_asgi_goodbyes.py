"""How ASGI servers say that a WebSocket has ended: who has said goodbye is gone, who was cut may come back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from persistconn import App, DisconnectReason, Settings
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
