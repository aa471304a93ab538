"""A client of ASP.NET Core as the specification (What the TypeScript client needs) describes it, under a seed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..wire.http import Headers, Request
from .ledger import Events, Ledger, invocation
from .links import Line, Packet
from .listener import Listener
from .stories import Broken

if TYPE_CHECKING:
    from .simulation import Simulation

__all__ = ["TRANSPORTS", "AspNetCorePeer"]

TRANSPORTS = ("webSockets", "serverSentEvents", "longPolling")
_ANSWER_TIMEOUT = 4.0
_MOST_WAITING = 12
_CLOSE = b'{"type":7}\x1e'


class AspNetCorePeer(Listener):
    """One client: negotiates, falls back, speaks, resumes once where that was agreed, and else begins again."""

    dialect = "aspnetcore"
    groups_token: str | None = None
    """This dialect has none."""

    def __init__(self, world: Simulation, name: str) -> None:
        self.world = world
        self.name = name
        self.spoken = 0
        self._forget()

    def __repr__(self) -> str:
        return f"{self.name} ({self.state})"

    def _forget(self) -> None:
        self.state = "away"
        self.id = ""
        self.token = ""
        self.version = 1
        self.skips = False
        """It opens a WebSocket without negotiation."""
        self.is_eager = False
        """It waits for no answer before it posts again; JavaScript and .NET do, and merge what waits."""
        self.is_hub = False
        self.wishes = False
        """It asks for stateful reconnect."""
        self.may_resume = False
        """The server has granted that."""
        self.ledger: Ledger | None = None
        self.transports: list[str] = []
        self.transport = ""
        self.line: Line | None = None
        self.asking: Line | None = None
        """Its negotiate, or its POST."""
        self.to_send: list[tuple[bytes, str]] = []
        """Frames, and what is said by them; they leave together."""
        self.acks_due = False
        self.in_step = True
        self.acks_due = False

    # Beginning ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start from nothing, as somebody new."""
        if self.state != "away" or self.world.is_closing:
            return
        self._forget()
        rng = self.world.rng
        self.is_hub = self.world.has_hubs and rng.random() < 0.7
        self.is_eager = rng.random() < 0.3
        self.wishes = self.is_hub and rng.random() < 0.7
        self.version = rng.choice((0, 1, 1))
        some = rng.sample(TRANSPORTS, rng.randrange(1, 4))
        self.transports = [name for name in TRANSPORTS if name in some]
        if self.wishes and rng.random() < 0.8:
            self.transports = ["webSockets"]
        self.skips = not self.wishes and self.transports == ["webSockets"] and rng.random() < 0.5
        self._negotiate()

    def _negotiate(self) -> None:
        """A transport that failed takes what was negotiated for it with it."""
        if not self.transports:
            self._give_up()
            return
        self.id = self.token = ""
        self.state = "negotiating"
        if self.skips:
            self._connect()
        else:
            self.asking = self._dial("negotiate", "")

    def _connect(self) -> None:
        self.state = "connecting"
        self.transport = self.transports.pop(0)
        line = self._dial("connect", self.transport)
        self.world.after(self.world.settings.transport_connect_timeout, self._not_open, line)

    def _not_open(self, line: Line) -> None:
        if line is self.line and self.state in ("connecting", "shaking hands"):
            self.broken(line)

    def _dial(self, action: str, transport: str, body: bytes = b"", texts: tuple[str, ...] = ()) -> Line:
        world = self.world
        path = "/echo/hub" if self.is_hub else "/echo"
        query = f"id={self.token}" if self.token else ""
        method = "GET" if action in ("connect", "reconnect", "poll") else "DELETE" if action == "abort" else "POST"
        headers = []
        if action == "negotiate":
            path += "/negotiate"
            query = f"negotiateVersion={self.version}" + ("&useStatefulReconnect=true" if self.wishes else "")
        elif transport == "serverSentEvents" and method == "GET":
            headers.append((b"accept", b"text/event-stream"))
        upgrade = transport == "webSockets" and method == "GET"
        request = Request(method, path, query, Headers(tuple(headers)), body=body, upgrade=upgrade)
        line = Line(world.next_number(), self, action, transport, request)
        line.texts = texts
        if line.is_receiving:
            line.seen = world.seen_of(self.id)
            line.frames = Events() if transport == "serverSentEvents" else None
            self.line = line
        world.dial(line)
        waits = transport == "longPolling" and line.is_receiving
        world.after(world.settings.poll_timeout + 3.0 if waits else _ANSWER_TIMEOUT, self._too_long, line)
        return line

    def _too_long(self, line: Line) -> None:
        if not line.wanted or (line.is_stream and line.head_seen):
            return
        if line.action == "poll" and line is self.line and self.state == "connected":
            self._poll_again(line)  # only a time-out is no reason to give up
        elif line is self.line or line is self.asking:
            self.broken(line)

    def _poll_again(self, line: Line) -> None:
        line.wanted = False
        self.world.hang_up(line)
        self._dial("poll", self.transport)

    # Hearing ------------------------------------------------------------------------------------

    def hear(self, line: Line, packet: Packet) -> None:
        """Something has arrived on one of its lines."""
        if not line.wanted:
            return
        world = self.world
        line.heard_at = world.now
        line.jumps = world.jumps
        if packet.status is not None:
            line.head_seen = True
        if not line.is_stream:
            line.answer += packet.data
            if packet.ended:
                line.wanted = False
                self._answered(line)
            return
        if packet.status not in (None, 101, 200):
            self.broken(line)
            return
        if packet.status is not None:
            self._opened(line)
        if packet.messages:
            for message in packet.messages:
                self.take(line, message)
        elif packet.data:
            assert isinstance(line.frames, Events)
            for event in line.frames.feed(packet.data):
                self.take(line, event)
        if packet.ended and line.wanted:
            self._ended_well(line)
            self.broken(line)

    def _ended_well(self, line: Line) -> None:
        """The server says that it has said all."""
        if not line.cut and self.state == "connected" and self.in_step:
            self.world.oracle.left_well(line.id)

    def _opened(self, line: Line) -> None:
        """The transport works."""
        self.id = line.id
        if line.is_stream:
            self.world.after(self.world.patience, self._check_silence, line)
        if line.action == "reconnect":
            self.state = "connected"
            ledger = self.ledger
            assert ledger is not None
            number, frames = ledger.resume()
            self.in_step = False
            self.world.say(line, b'{"type":9,"sequenceId":%d}\x1e' % number + b"".join(frames))
        elif self.is_hub:
            self.state = "shaking hands"
            version = 2 if self.world.rng.random() < 0.9 else 1
            if self.may_resume and version == 2 and self.transport == "webSockets":
                self.ledger = Ledger()
            self.write(b'{"protocol":"json","version":%d}\x1e' % version, "")
        else:
            self.state = "connected"

    def _answered(self, line: Line) -> None:
        if line is self.line:
            self._polled(line)
        elif line is self.asking:
            self.asking = None
            if line.action == "send" and self.state != "shaking hands":
                self._send_next()
            elif line.status != 200:
                self._give_up()
            elif line.action == "negotiate":
                answer = json.loads(line.answer)
                self.id = answer["connectionId"]
                self.token = answer.get("connectionToken", self.id)
                self.may_resume = answer.get("useStatefulReconnect", False)
                self._connect()

    def _polled(self, line: Line) -> None:
        if line.action == "connect":
            if line.status != 200 or line.answer:
                if line.answer and line.status == 200:
                    raise Broken("poll", f"the first poll of {self} was answered with {line.answer!r}")
                self.line = None
                self._negotiate()
                return
            self._opened(line)
        elif line.status == 204:
            self.world.oracle.left_well(self.id)
            self._give_up()
            return
        elif line.status != 200:
            self._give_up()
            return
        elif line.answer:
            self.take(line, line.answer)
        self._dial("poll", self.transport)

    # Losing and coming back ---------------------------------------------------------------------

    def _check_silence(self, line: Line) -> None:
        if not line.wanted or line is not self.line:
            return
        world = self.world
        due = line.heard_at + world.patience
        if world.now < due - 0.001:
            world.at(due, self._check_silence, line)
            return
        if line.unhurt and not line.cut and line.jumps == world.jumps and line.stalled_until == 0.0:
            if self.state == "connected":
                raise Broken("keep-alive", f"{line} heard nothing for {world.patience} s")
        self.broken(line)

    def broken(self, line: Line) -> None:
        """The client notices that a line is no good: broken, refused, ended or silent."""
        if not line.wanted:
            return
        line.wanted = False
        self.world.hang_up(line)
        if line is self.asking:
            self.asking = None
            if line.action == "send" and self.state != "shaking hands":
                self._send_next()  # whoever sent it is told
            else:
                self._give_up()
        elif line is self.line:
            self.line = None
            if self.state == "connecting":
                self._negotiate()
            elif self.state == "connected" and self.ledger is not None:
                self.state = "resuming"
                self._dial("reconnect", self.transport)
            else:
                self._give_up()

    # Speaking -----------------------------------------------------------------------------------

    def speak(self) -> None:
        """Send a message or a few."""
        if self.state != "connected":
            return
        for _ in range(self.world.rng.choice((1, 1, 1, 8 if self.is_eager else 3))):
            self.spoken += 1
            text = f"{self.name}.{self.spoken}"
            if self.ledger is not None:
                if self.ledger.waiting >= _MOST_WAITING:
                    return  # it waits for an Ack
                frame = invocation(text)
                self.ledger.keep(frame)
                self.world.oracle.said(self.id, text)
                self.write(frame, "")
            else:
                self.write(invocation(text) if self.is_hub else text.encode() + b"\x1e", text)

    def write(self, frame: bytes, text: str) -> None:
        """Send a frame; `text` is what is said by it."""
        if self.transport == "webSockets":
            if self.line is not None:
                self.world.say(self.line, frame, text)
        elif self.is_eager and text:
            self._dial("send", self.transport, frame, (text,))
        elif len(self.to_send) < _MOST_WAITING:
            self.to_send.append((frame, text))
            if self.asking is None:
                self._send_next()

    def _send_next(self) -> None:
        if self.to_send and self.state in ("connected", "shaking hands"):
            waiting, self.to_send = self.to_send, []
            texts = tuple(text for _, text in waiting if text)
            self.asking = self._dial("send", self.transport, b"".join(frame for frame, _ in waiting), texts)

    # Leaving ------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Leave, and say so."""
        line = self.line
        if self.state in ("connected", "shaking hands") and line is not None and self.transport == "webSockets":
            if self.is_hub and self.state == "connected":
                self.world.say(line, _CLOSE)
            self._leave()
            self.world.say_goodbye(line)
            self.world.rest(self)
        elif self.state in ("connected", "shaking hands") and self.transport == "longPolling":
            self._give_up()
            self._dial("abort", self.transport)
        elif self.state != "away":
            self._give_up()

    def _give_up(self) -> None:
        for line in self._leave():
            self.world.hang_up(line)
        self.world.rest(self)

    def vanish(self) -> None:
        """Be gone, without a word to anybody."""
        if self.state != "away":
            for line in self._leave():
                self.world.fall_silent(line)
            self.world.rest(self)

    def _leave(self) -> list[Line]:
        self.state = "away"
        self.ledger = None
        left = [line for line in (self.line, self.asking) if line is not None]
        self.line = self.asking = None
        for line in left:
            line.wanted = False
        return left

    def hop(self) -> None:
        """Come back while the server still has the old line: on a new socket, or with another poll."""
        line = self.line
        if self.state != "connected" or line is None or not line.wanted:
            return
        if self.ledger is not None:
            line.wanted = False
            self.world.fall_silent(line)
            self.state = "resuming"
            self._dial("reconnect", self.transport)
        elif line.action == "poll":
            self._poll_again(line)
