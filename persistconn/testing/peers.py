"""A client of the classic protocol as the specification (What the JS client does) describes it, under a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from ..wire.http import Request
from .links import Line, Packet
from .stories import Broken
from .streams import Envelope, Frames, check_envelope, parse_envelope

if TYPE_CHECKING:
    from .simulation import Simulation

__all__ = ["TRANSPORTS", "Peer"]

TRANSPORTS = ("webSockets", "serverSentEvents", "foreverFrame", "longPolling")
_ANSWER_TIMEOUT = 4.0
_SENDS_WAITING = 8


class Peer:
    """One client: begins, falls back, reconnects, speaks, stops or vanishes, and begins again."""

    dialect = "classic"

    def __init__(self, world: Simulation, name: str) -> None:
        self.world = world
        self.name = name
        self.lives = 0
        self.spoken = 0
        self._forget()

    def __repr__(self) -> str:
        return f"{self.name} ({self.state})"

    def _forget(self) -> None:
        self.state = "away"
        self.id = ""
        self.token = ""
        self.cursor: str | None = None
        self.epoch = -1
        """The life of the server that the cursor is from."""
        self.groups_token: str | None = None
        self.transports: list[str] = []
        self.transport = ""
        self.line: Line | None = None
        """What it receives on."""
        self.asking: Line | None = None
        """Its negotiate, start or send."""
        self.to_send: list[str] = []
        self.lost_at = 0.0
        self.keep_alive_timeout = 0.0
        self.attempt = 0

    # Beginning ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start from nothing, with a new connection id."""
        if self.state != "away" or self.world.is_closing:
            return
        self._forget()
        self.lives += 1
        self.state = "negotiating"
        rng = self.world.rng
        self.transports = list(TRANSPORTS) if rng.random() < 0.3 else rng.sample(TRANSPORTS, 2)
        self.asking = self._dial("negotiate", "")

    def _dial(self, action: str, transport: str, text: str = "") -> Line:
        world = self.world
        query = "clientProtocol=2.1"
        method, body = "GET", b""
        if action != "negotiate":
            query = f"transport={transport}&{query}&connectionToken={self.token}"
            fields = []
            if action in ("reconnect", "poll"):
                if self.groups_token:
                    fields.append("groupsToken=" + self.groups_token)
                if self.cursor:
                    fields.append("messageId=" + quote(self.cursor))
            if transport == "longPolling" and action != "start":
                method, body = "POST", "&".join(fields).encode()
            elif fields:
                query = "&".join((*fields, query))
            if transport == "foreverFrame" and action in ("connect", "reconnect"):
                query += "&frameId=1"
            if action == "send":
                method, body = "POST", b"data=" + text.encode()
            elif action == "abort":
                method = "POST"
        upgrade = transport == "webSockets" and action in ("connect", "reconnect")
        request = Request(method, f"/echo/{action}", query, body=body, upgrade=upgrade)
        line = Line(world.next_number(), self, action, transport, request)
        line.text = text
        if line.is_receiving:
            if action != "connect":
                line.epoch, line.groups_token = self.epoch, self.groups_token
            line.seen = world.seen_of(self.id)
            if line.is_stream and transport != "webSockets":
                line.frames = Frames(scripts=transport == "foreverFrame")
        world.dial(line)
        if line.is_receiving:
            self.line = line
            if line.transport == "longPolling":
                world.after(world.settings.connection_timeout + 10.0, self._too_long, line)
        else:
            world.after(_ANSWER_TIMEOUT, self._too_long, line)
        return line

    def _too_long(self, line: Line) -> None:
        if line.wanted and (line is self.line or line is self.asking):
            self.broken(line)

    def _connect(self) -> None:
        if not self.transports:
            self._give_up()
            return
        self.state = "connecting"
        self.transport = self.transports.pop(0)
        line = self._dial("connect", self.transport)
        self.world.after(self.world.settings.transport_connect_timeout, self._no_init, line)

    def _no_init(self, line: Line) -> None:
        if line is self.line and self.state == "connecting":
            self.broken(line)

    # Hearing ------------------------------------------------------------------------------------

    def hear(self, line: Line, packet: Packet) -> None:
        """Something has arrived on one of its lines."""
        if not line.wanted:
            return
        world = self.world
        line.heard_at = world.now
        line.jumps = world.jumps
        if not line.is_receiving:
            line.answer += packet.data
            if packet.status is not None:
                line.head_seen = True
            if packet.ended:
                line.wanted = False
                self._answered(line, line.status, line.answer)
            return
        if packet.status is not None:
            line.head_seen = True
            if packet.status not in (101, 200):
                self.broken(line)
                return
            if line.is_stream:
                world.after(self.keep_alive_timeout, self._check_silence, line)
                if line.action == "reconnect":
                    self._is_back()
        if packet.messages:
            for message in packet.messages:
                self._take(line, message)
        elif line.transport == "longPolling":
            line.answer += packet.data
            if packet.ended:
                line.wanted = False
                self._polled(line)
                return
        elif packet.data:
            frames = line.frames
            assert isinstance(frames, Frames)
            for text in frames.feed(packet.data):
                if text != "initialized":
                    self._take(line, text)
        if packet.ended and line.wanted:
            self.broken(line)

    def _take(self, line: Line, text: str | bytes) -> None:
        if text in ("{}", b"{}"):
            if not line.welcomed and line.action == "connect":
                raise Broken("init", f"{line}: the first frame is a keep-alive")
            return
        envelope = parse_envelope(text)
        try:
            check_envelope(envelope)
        except ValueError as error:
            raise Broken("envelope", f"{line}: {error}: {text!r}") from None
        if not line.welcomed and line.action == "connect" and "S" not in envelope and "E" not in envelope:
            if not (line.transport == "longPolling" and not envelope["M"]):  # a displaced connect
                raise Broken("init", f"{line}: the first envelope has no S: {text!r}")
        line.welcomed = True
        self._accept(line, envelope)

    def _accept(self, line: Line, envelope: Envelope) -> None:
        if line is not self.line:
            return
        self.cursor, self.epoch = envelope["C"], self.world.epoch
        token = envelope.get("G")
        if token is not None:
            self.groups_token = token
        messages = envelope["M"]
        if messages:
            self.world.oracle.delivered(self.id, [m if type(m) is int else m[0] for m in messages])
        if "E" in envelope:
            self._give_up()
        elif "S" in envelope and self.state == "connecting":
            self.state = "starting"
            self.asking = self._dial("start", self.transport)

    def _polled(self, line: Line) -> None:
        if line is not self.line or self.state == "away":
            return
        if not line.answer.strip():
            self.broken(line)
            return
        self._take(line, line.answer)
        envelope = parse_envelope(line.answer)
        if self.state == "connecting":  # displaced before its S: nothing to go on with
            self.broken(line)
        elif self.state == "starting" or self.state == "connected" or self.state == "reconnecting":
            if self.state == "reconnecting":
                self._is_back()
            self._dial("reconnect" if "T" in envelope else "poll", self.transport)

    def _answered(self, line: Line, status: int, body: bytes) -> None:
        if line.action == "abort" or line is not self.asking:
            return
        self.asking = None
        if line.action == "negotiate":
            if status != 200:
                self._give_up()
                return
            answer = parse_envelope(body)
            self.id, self.token = answer["ConnectionId"], answer["ConnectionToken"]
            self.keep_alive_timeout = answer["KeepAliveTimeout"]
            self._connect()
        elif line.action == "start":
            if self.state == "starting":
                if status == 200 and parse_envelope(body) == {"Response": "started"}:
                    self.state = "connected"
                else:
                    self.stop()
        elif line.action == "send":
            self._send_next()

    # Losing and coming back ---------------------------------------------------------------------

    def _check_silence(self, line: Line) -> None:
        if not line.wanted or line is not self.line:
            return
        world = self.world
        due = line.heard_at + self.keep_alive_timeout
        if world.now < due - 0.001:
            world.at(due, self._check_silence, line)
            return
        if line.unhurt and not line.cut and line.jumps == world.jumps and line.stalled_until == 0.0:
            raise Broken("keep-alive", f"{line} heard nothing for {self.keep_alive_timeout} s")
        self.broken(line)

    def broken(self, line: Line) -> None:
        """The client notices that a line is no good: broken, refused, ended or silent."""
        if not line.wanted:
            return
        line.wanted = False
        self.world.hang_up(line)
        if line is self.asking:
            self.asking = None
            if line.action == "send":
                self._send_next()
            elif line.action == "start":
                self.stop()
            else:
                self._give_up()
        elif line is self.line:
            if self.state == "connecting":
                self._connect()
            elif self.state == "starting":
                self.stop()
            elif self.state == "connected":
                self.state = "reconnecting"
                self.lost_at = self.world.now
                self._retry()
            elif self.state == "reconnecting":
                self._retry()

    def _retry(self) -> None:
        world = self.world
        if world.now - self.lost_at > world.settings.disconnect_timeout and not world.is_calm:
            self._give_up()
            return
        self.attempt += 1
        world.after(world.rng.random() * 2.0, self._reconnect, self.attempt)

    def _reconnect(self, attempt: int) -> None:
        if self.state != "reconnecting" or attempt != self.attempt:
            return
        line = self._dial("reconnect", self.transport)
        self.world.after(4.0, self._reconnecting, line)

    def _reconnecting(self, line: Line) -> None:
        if line is not self.line or self.state != "reconnecting" or not line.wanted:
            return
        if line.transport == "longPolling":
            self._is_back()  # it has been pending for a while without failing
        elif not line.head_seen:
            self.broken(line)

    def _is_back(self) -> None:
        if self.state == "reconnecting":
            self.state = "connected"

    # Speaking -----------------------------------------------------------------------------------

    def speak(self) -> None:
        """Send a message."""
        if self.state != "connected":
            return
        self.spoken += 1
        text = f"{self.name}.{self.spoken}"
        if self.transport == "webSockets":
            if self.line is not None:
                self.world.say(self.line, text)
        elif len(self.to_send) < _SENDS_WAITING:
            self.to_send.append(text)
            if self.asking is None:
                self._send_next()

    def _send_next(self) -> None:
        if self.to_send and self.state in ("connected", "reconnecting"):
            self.asking = self._dial("send", self.transport, self.to_send.pop(0))

    # Leaving ------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Leave, and say so."""
        if self.state == "away":
            return
        if self.token and self.transport:
            self._leave()
            self._dial("abort", self.transport)
            self.world.rest(self)
        else:
            self._give_up()

    def _give_up(self) -> None:
        self._leave()
        self.world.rest(self)

    def _leave(self) -> None:
        self.state = "away"
        for line in (self.line, self.asking):
            if line is not None:
                line.wanted = False
                self.world.hang_up(line)
        self.line = self.asking = None

    def vanish(self) -> None:
        """Be gone, without a word to anybody."""
        if self.state == "away":
            return
        self.state = "away"
        for line in (self.line, self.asking):
            if line is not None:
                line.wanted = False
                self.world.fall_silent(line)
        self.line = self.asking = None
        self.world.rest(self)

    def hop(self) -> None:
        """Come back on another transport while the server still has the old one."""
        transport = self.world.rng.choice(TRANSPORTS)
        if self.state == "connected" and self.line is not None:
            self.line.wanted = False
            self.world.fall_silent(self.line)
            self.state = "reconnecting"
            self.lost_at = self.world.now
            self.attempt += 1
            self.transport = transport
            self._reconnect(self.attempt)
