"""What a layer above the core does for ASP.NET Core clients, in small: puts frames together, shakes hands, counts."""

from __future__ import annotations

from collections.abc import Sequence
from json import loads

from ..hubs.aspnetcore_json import JsonProtocol
from ..hubs.handshake import ACCEPTANCE, NEWEST_VERSION, Refused, answer
from ..hubs.messages import TRACKED, Ack, Close, Invocation
from ..hubs.messages import Sequence as Number
from ..hubs.replay import Replay
from ..protocol import Exchange, Payload, ServerEndpoint
from ..wire.format import Format
from .ledger import RECORD_SEPARATOR
from .stories import Broken

__all__ = ["ALL", "HUB_PATH", "HubSide", "payload_of"]

HUB_PATH = "/hub"
"""Behind the mount: here a client speaks the hub protocol; at the mount itself it only sends texts."""
ALL = "all"
"""The topic that everybody reads: hub connections from their handshake on."""
_ACK_INTERVAL = 1.0
_LINES = Format("lines", keep_alive=b"{}\x1e", farewell=b'{"over":true}\x1e')
_JSON = JsonProtocol()
_HUB = Format("json", keep_alive=_JSON.ping(), farewell=_JSON.close(allow_reconnect=True))


def _line(json_text: bytes) -> bytes:
    return json_text + RECORD_SEPARATOR


def _call(json_text: bytes) -> bytes:
    return b'{"type":1,"target":"take","arguments":[%b]}\x1e' % json_text


_FORMS = {"raw": _line, "lines": _line, "json": _call}


def payload_of(json_text: bytes) -> Payload:
    """A publication, for readers of every format."""
    return Payload.of_forms(json_text, _FORMS, json_text)


class HubSide:
    """One connection. To the core it is the `Replay` of a stateful one."""

    def __init__(self, endpoint: ServerEndpoint, id: str, is_hub: bool, most: int, now: float) -> None:
        self.id = id
        self.is_hub = is_hub
        self.is_open = not is_hub
        """Messages may be sent to it."""
        self.is_stateful = False
        self.has_closed = False
        """The client has said goodbye in a message."""
        self._endpoint = endpoint
        self._replay = Replay(most)
        self._exchange: Exchange | None = None
        self._rest = b""
        self._acks_at: float | None = None
        if not is_hub:
            endpoint.terms.speak(id, _LINES, now)

    # What the core asks -------------------------------------------------------------------------

    @property
    def must_wait(self) -> bool:
        """Too much is not acknowledged."""
        return self._replay.is_full

    def track(self, frame: bytes) -> None:
        """A numbered frame is being written."""
        self._replay.keep(frame)

    def lost(self) -> None:
        """The socket is lost. What it brought before, and still waits to be read, counts."""

    def resume(self) -> Sequence[bytes]:
        """A new socket begins with this."""
        number, frames = self._replay.resume()
        return (_JSON.sequence(number), *frames)

    @property
    def unacknowledged(self) -> int:
        """Bytes that the client has not acknowledged."""
        return self._replay.buffered

    # What the client says -----------------------------------------------------------------------

    def receive(self, data: str | bytes, exchange: Exchange, now: float) -> list[str]:
        """The texts that are whole with this."""
        if exchange is not self._exchange and (exchange.duplex or self._exchange is None):
            self._exchange = exchange
            self._rest = b""  # what was cut off comes again, from its beginning
        *records, self._rest = (self._rest + (data.encode() if isinstance(data, str) else data)).split(RECORD_SEPARATOR)
        if not self.is_hub:
            return [record.decode() for record in records]
        said: list[str] = []
        for record in records:
            if self.is_open:
                said += self._read(record, now)
            else:
                self._shake_hands(record, now)
        return said

    def _shake_hands(self, record: bytes, now: float) -> None:
        asked = answer(record, [_JSON])
        if isinstance(asked, Refused):
            raise Broken("handshake", f"{self.id}: {asked.error}")
        self.is_open = True
        endpoint, id = self._endpoint, self.id
        endpoint.terms.speak(id, _HUB, now)
        endpoint.send(id, Payload.of_frame(ACCEPTANCE, numbered=False), now)
        if asked.version >= NEWEST_VERSION and endpoint.terms.is_resumable(id):
            self.is_stateful = True
            endpoint.terms.resume_with(id, self, now)
        endpoint.terms.subscribe(id, ALL, now)

    def _read(self, record: bytes, now: float) -> list[str]:
        message = _JSON.read(record)
        if self.is_stateful and isinstance(message, TRACKED):
            is_new = self._replay.take()
            self._owe_ack(now)
            if not is_new:
                return []
        if isinstance(message, Invocation):
            return [loads(bytes(message.arguments[0]))]
        if isinstance(message, Close):
            self.has_closed = True
        elif isinstance(message, Ack) and self.is_stateful:
            was_full = self._replay.is_full
            self._replay.acknowledge(message.sequence)
            if was_full and not self._replay.is_full:
                self._endpoint.terms.go_on_sending(self.id, now)
        elif isinstance(message, Number) and not self._replay.resynchronize(message.sequence):
            raise Broken("sequence", f"{self.id}: the client goes on with {message.sequence}, so something is lost")
        return []

    def _owe_ack(self, now: float) -> None:
        if self._acks_at is None:
            self._acks_at = now + _ACK_INTERVAL
            self._endpoint.terms.alarm(self.id, self._acks_at, now)

    # Time ---------------------------------------------------------------------------------------

    def is_back(self, now: float) -> None:
        """It is on a new socket: the last Ack may have been lost with the old one."""
        if self._replay.owes_ack:
            self._owe_ack(now)

    def alarm(self, now: float) -> None:
        """The time for an Ack has come."""
        if self._acks_at is None:
            raise Broken("alarm", f"{self.id}: nobody has set it")
        if now < self._acks_at - 1.0:  # a caller's clock may be late by so much
            raise Broken("alarm", f"{self.id}: it comes at {now:.3f}, and was set for {self._acks_at:.3f}")
        self._acks_at = None
        self._endpoint.terms.interject(self.id, _JSON.ack(self._replay.tell()), now)
