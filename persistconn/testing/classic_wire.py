"""A connection as jquery.signalR 2.4 makes it, on each of the four transports."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote

from ..wire.transports.event_stream import EventStreamReader
from .dialing import Dialer, Heard, Refused, Wire
from .socketless import Socketless
from .streams import Frames

__all__ = ["ClassicWire"]

_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}


class ClassicWire(Wire):
    """It tells `heard` of messages and, with `answered`, of what answers a message of its own."""

    def __init__(
        self, dialer: Dialer, transport: str, heard: Heard, ended: Heard, answered: Heard, hubs: list[str]
    ) -> None:
        super().__init__(dialer, transport, heard, ended)
        self.answered = answered
        self._hubs = f"&connectionData={quote(json.dumps([{'name': name} for name in hubs]))}" if hubs else ""
        self._asked = ""
        """What every request has in its query."""
        self._cursor = ""
        self._groups = ""
        self._stops = False

    async def start(self) -> None:
        """See Wire."""
        negotiated = await self.dialer.ask("GET", "/negotiate", f"clientProtocol=2.1{self._hubs}")
        told = json.loads(negotiated)
        if told.get("Error"):
            raise Refused(f"GET {self.dialer.path}/negotiate", 200, told["Error"])
        if told.get("RedirectUrl"):
            raise Refused(f"GET {self.dialer.path}/negotiate", 200, f"go to {told['RedirectUrl']}")
        self.id = told["ConnectionId"]
        self._asked = (
            f"transport={self.transport}&clientProtocol=2.1&connectionToken={quote(told['ConnectionToken'], safe='')}"
            + self._hubs
        )
        self._cursor = self._groups = ""
        self.attach(await self._open("connect"))
        await self.dialer.ask("GET", "/start", self._asked)

    async def _open(self, verb: str) -> Socketless:
        query = self._asked
        if self._cursor:
            query += f"&messageId={quote(self._cursor, safe='')}"
        if self._groups:
            query += f"&groupsToken={quote(self._groups, safe='')}"
        if self.transport == "foreverFrame":
            query += "&frameId=1"
        line = self.dialer.open("GET", f"/{verb}", query, upgrade=self.transport == "webSockets")
        if verb == "connect" or self.transport != "longPolling":  # a poll is answered when there is something to tell
            await self.dialer.check(line, f"GET {self.dialer.path}/{verb}")
        return line

    async def say(self, message: str | bytes) -> None:
        """See Wire."""
        if self.transport == "webSockets":
            if self.line is not None:
                self.line.say(message)
            return
        text = message if isinstance(message, str) else message.decode()
        body = f"data={quote(text, safe='')}".encode()
        answer = await self.dialer.ask("POST", "/send", self._asked, headers=_FORM, body=body)
        self._take_answer(json.loads(answer) if answer.strip() else None)

    async def come_back(self) -> None:
        """See Wire."""
        self.attach(await self._open("reconnect"))

    async def leave(self) -> None:
        """See Wire."""
        line, self.line = self.line, None
        self._turn += 1
        if line is not None:
            line.hang_up()
        if self.is_open:
            self.is_open = False
            await self.dialer.ask("POST", "/abort", self._asked)

    async def ended_by_server(self) -> None:
        """Come back, as pages do; a server that has ended the connection says no."""
        if not self._stops:
            try:
                self.attach(await self._open("reconnect"))
                return
            except Refused:
                pass
        await super().ended_by_server()

    # What comes ---------------------------------------------------------------------------------

    async def listen(self, line: Socketless) -> None:
        """See Wire."""
        if self.transport == "longPolling":
            await self._poll(line)
            return
        events, scripts = EventStreamReader(), Frames(scripts=True)
        while (part := await line.next()) is not None:
            if self.transport == "webSockets":
                texts = [part if isinstance(part, str) else part.decode()]
            elif self.transport == "foreverFrame":
                texts = scripts.feed(part if isinstance(part, bytes) else part.encode())
            else:
                texts = events.feed(part if isinstance(part, bytes) else part.encode())
            for text in texts:
                if text != "initialized":
                    self._take(json.loads(text))

    async def _poll(self, line: Socketless) -> None:
        """One poll after the other, until one is refused or cut."""
        while line is self.line:
            await self.dialer.check(line, f"GET {self.dialer.path}/poll")
            content = await line.body()
            if line is not self.line or not content.strip():
                return
            self._take(json.loads(content))
            if self._stops:
                return
            line = self.line = await self._open("poll")

    def _take(self, said: dict[str, Any]) -> None:
        if "C" not in said:
            if said:
                self._take_answer(said)
            return
        self._cursor = said["C"]
        self._groups = said.get("G", self._groups)
        self.reason = said.get("E", self.reason)
        self._stops = self._stops or "E" in said or said.get("D") == 1
        for message in said.get("M", ()):
            self.heard(message)

    def _take_answer(self, answer: Any) -> None:
        if answer:
            self.answered(answer)
