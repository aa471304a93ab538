"""A connection as the clients of ASP.NET Core SignalR make it, on each of their three transports."""

from __future__ import annotations

import json
from typing import Final

from ..wire.transports.event_stream import EventStreamReader
from .dialing import Dialer, Heard, Refused, Wire
from .socketless import Socketless

__all__ = ["AspNetCoreWire"]

_EVENTS: Final = {"Accept": "text/event-stream"}


class AspNetCoreWire(Wire):
    """It tells `heard` of text and bytes as they come. `stateful`: it asks for stateful reconnect."""

    def __init__(self, dialer: Dialer, transport: str, heard: Heard, ended: Heard, *, stateful: bool) -> None:
        super().__init__(dialer, transport, heard, ended)
        self.stateful = stateful
        """Asked for, and from `start` on whether it was granted."""
        self._wishes = stateful and transport == "webSockets"  # the others have no use for it
        self._asked = ""

    async def start(self) -> None:
        """See Wire."""
        query = "negotiateVersion=1" + ("&useStatefulReconnect=true" if self._wishes else "")
        told = json.loads(await self.dialer.ask("POST", "/negotiate", query))
        what = f"POST {self.dialer.path}/negotiate"
        if "error" in told:
            raise Refused(what, 200, told["error"])
        if "url" in told:
            raise Refused(what, 200, f"go to {told['url']}")
        offered = [one["transport"].lower() for one in told["availableTransports"]]
        if self.transport.lower() not in offered:
            raise Refused(what, 200, f"there is no {self.transport} here, but {', '.join(offered)}")
        self.id = told["connectionId"]
        self.stateful = told.get("useStatefulReconnect", False)
        self._asked = f"id={told['connectionToken']}"
        line = await self._open()
        if self.transport == "longPolling":  # the first poll says only that it works
            line.lose()
            line = self._poll_again()
        self.attach(line)

    async def _open(self) -> Socketless:
        headers = _EVENTS if self.transport == "serverSentEvents" else None
        line = self.dialer.open("GET", "", self._asked, headers=headers, upgrade=self.transport == "webSockets")
        await self.dialer.check(line, f"GET {self.dialer.path}")
        return line

    def _poll_again(self) -> Socketless:
        return self.dialer.open("GET", "", self._asked)

    async def say(self, message: str | bytes) -> None:
        """See Wire."""
        if self.transport == "webSockets":
            if self.line is not None:
                self.line.say(message)
            return
        body = message.encode() if isinstance(message, str) else message
        await self.dialer.ask("POST", "", self._asked, body=body)

    async def come_back(self) -> None:
        """See Wire."""
        if self.transport == "longPolling":
            self.attach(self._poll_again())
        elif self.stateful:
            self.attach(await self._open())
        else:
            await self.start()

    async def leave(self) -> None:
        """See Wire."""
        line, self.line = self.line, None
        self._turn += 1
        if line is not None:
            line.hang_up()
        if self.is_open and self.transport == "longPolling":
            try:
                await self.dialer.ask("DELETE", "", self._asked)
            except Refused:  # the server has ended it meanwhile
                pass
        self.is_open = False

    async def listen(self, line: Socketless) -> None:
        """See Wire."""
        if self.transport == "longPolling":
            await self._poll(line)
            return
        events = EventStreamReader()
        while (part := await line.next()) is not None:
            if self.transport == "webSockets":
                self.heard(part)
                continue
            for text in events.feed(part if isinstance(part, bytes) else part.encode()):
                self.heard(text)

    async def _poll(self, line: Socketless) -> None:
        """One poll after the other, until one says that it is over, or is cut."""
        while line is self.line:
            await self.dialer.check(line, f"GET {self.dialer.path}")
            content = await line.body()
            if line is not self.line or line.status == 204:
                return
            if content:
                self.heard(content)
            line = self.line = self._poll_again()
