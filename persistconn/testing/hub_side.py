"""What a layer above the core does for ASP.NET Core clients, in small: puts frames together, shakes hands, counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from json import loads

from ..hubs.aspnetcore_json import JsonProtocol
from ..hubs.messages import Invocation
from ..hubs.session import HubSession
from ..hubs.stages import Agreed, Begin, Finish, Interject, MayGoOn, Output, Transmit
from ..protocol import DisconnectReason, Payload, ServerEndpoint
from ..wire.format import Format
from .ledger import RECORD_SEPARATOR
from .stories import Broken

__all__ = ["ALL", "HUB_PATH", "HubSide", "payload_of"]

HUB_PATH = "/hub"
"""Behind the mount: here a client speaks the hub protocol; at the mount itself it only sends texts."""
ALL = "all"
"""The topic that everybody reads: hub connections from their handshake on."""
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

    def __init__(
        self,
        endpoint: ServerEndpoint,
        id: str,
        is_hub: bool,
        most: int,
        clock: Callable[[], float],
        must_wait: Callable[[str], None],
    ) -> None:
        now = clock()
        self.id = id
        self._clock = clock
        self._must_wait = must_wait
        self.is_open = not is_hub
        """Messages may be sent to it."""
        self.is_stateful = False
        self.has_closed = False
        """The client has said goodbye in a message, or took too long with its handshake."""
        self._endpoint = endpoint
        self._rest = b""
        self._armed: float | None = None
        self._session: HubSession | None = None
        if is_hub:
            resumable = endpoint.terms.is_resumable(id)
            self._session = HubSession([_JSON], endpoint.settings, now, resumable=resumable, replay_bytes=most)
            self._arm(now)
        else:
            endpoint.terms.speak(id, _LINES, now)

    # What the core asks -------------------------------------------------------------------------

    @property
    def must_wait(self) -> bool:
        """Too much is not acknowledged."""
        return self._hub.must_wait

    def track(self, frame: bytes) -> None:
        """A numbered frame is being written."""
        self._hub.track(frame)

    def lost(self) -> None:
        """The socket is lost."""
        self._hub.ended(graceful=False)

    def resume(self) -> Sequence[bytes]:
        """A new socket begins with this."""
        return [frame for said in self._hub.resume(self._clock(), late=True) for frame in said.frames]

    @property
    def unacknowledged(self) -> int:
        """Bytes that the client has not acknowledged."""
        return self._hub.buffered

    @property
    def _hub(self) -> HubSession:
        assert self._session is not None
        return self._session

    # What the client says -----------------------------------------------------------------------

    def receive(self, data: str | bytes, now: float) -> list[str]:
        """The texts that are whole with this."""
        if self._session is None:
            whole = self._rest + (data.encode() if isinstance(data, str) else data)
            *records, self._rest = whole.split(RECORD_SEPARATOR)
            return [record.decode() for record in records]
        said = self._carry_out(self._session.receive(data, now), now)
        self._session.dispatched(now)
        self._arm(now)
        return said

    def _carry_out(self, outputs: Sequence[Output], now: float) -> list[str]:
        endpoint, id = self._endpoint, self.id
        texts: list[str] = []
        for output in outputs:
            match output:
                case Invocation():
                    texts.append(loads(bytes(output.arguments[0])))
                case Agreed():
                    self.is_open = True
                    self.is_stateful = output.resumable
                    endpoint.terms.speak(id, _HUB, now)
                case Transmit():
                    for frame in output.frames:
                        if endpoint.send(id, Payload.of_frame(frame, numbered=output.numbered), now) is False:
                            self._must_wait(id)
                case Begin():
                    if self.is_stateful:
                        endpoint.terms.resume_with(id, self, now)
                    endpoint.terms.subscribe(id, ALL, now)
                case Interject():
                    endpoint.terms.interject(id, output.frame, now)
                case MayGoOn():
                    endpoint.terms.go_on_sending(id, now)
                case Finish():
                    self._finish(output)
        return texts

    def _finish(self, end: Finish) -> None:
        if self.is_open and end.reason is not DisconnectReason.closed:
            raise Broken("hub protocol", f"{self.id} broke it: {end.error}")
        self.has_closed = True

    # Time ---------------------------------------------------------------------------------------

    def is_back(self, now: float) -> None:
        """It is on a new socket, and all that the old one brought has been read."""
        self._hub.reconnected()
        self._arm(now)

    def alarm(self, now: float) -> None:
        """What was waited for is due."""
        self._armed = None
        self._carry_out(self._hub.tick(now), now)
        self._arm(now)

    def _arm(self, now: float) -> None:
        deadline = self._hub.deadline
        if deadline != self._armed:
            self._armed = deadline
            self._endpoint.terms.alarm(self.id, deadline, now)
