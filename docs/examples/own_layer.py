"""Questions and answers, in teams, on top of PersistentConnection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import anyio.lowlevel

from persistconn import App, Connection, PersistentConnection, RemoteProtocolError, Request

TEAMS = {"red", "blue"}


class Questions(PersistentConnection):
    raw_text = True  # we read the text ourselves
    cancels_received = True  # a client that has gone waits for no answer

    def subscriptions(self, request: Request) -> Sequence[str]:
        """Who comes hears of one team from the first moment on."""
        team = request.query.get("team", "")
        if team not in TEAMS:
            raise RemoteProtocolError("There is no such team.", status=404)
        return [team]

    async def on_received(self, connection: Connection, data: Any) -> None:
        reply = connection.take_reply()  # for now, or for later
        try:
            question = json.loads(data)
            add = [float(number) for number in question["add"]]
        except (ValueError, KeyError, TypeError):
            raise RemoteProtocolError('Ask {"add": [numbers]}.') from None
        if len(add) > 100:
            connection.count_reaction("numbers")  # in app.statistics().reactions
            raise RemoteProtocolError("That are more than 100 numbers.")
        await anyio.lowlevel.checkpoint()  # work that takes its time
        await reply.send({"sum": sum(add)})
        (team,) = connection.topics
        await self.topics[team].send({"asked": len(add)}, exclude=[connection])


app = App()
app.add_connection("/questions", Questions())
