"""One hub connection on the dialect of ASP.NET Core: bytes go in as they come, values of what is to be done come out.

No I/O, no clock. Sections (§) are those of the ASP.NET Core hub protocol.

1. `receive` what comes, in any pieces; carry out what it returns, in order; then call `dispatched`, always.
2. Write a frame of a call, an item or a completion only if `track` says so, and a Transmit of them, too (`numbered`).
3. Sleep until `deadline`, then call `tick`. Any call may move the deadline.
4. Tell of the transport: `ended`, and with stateful reconnect `resume`.
5. After Finish nothing more comes out, whatever goes in.

Time is an argument and only moves forward. Nothing that a peer does makes a call raise.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from typing import Final

from persistconn import DisconnectReason, LocalProtocolError, RemoteProtocolError, Settings

from . import failures
from .aspnetcore_json import RECORD_SEPARATOR
from .handshake import ACCEPTANCE, NEWEST_VERSION, Refused, answer, refusal
from .ids import Ids
from .messages import (
    TRACKED,
    Ack,
    Cancel,
    Close,
    Completion,
    HubProtocol,
    Invocation,
    Message,
    Ping,
    Sequence,
    StreamItem,
)
from .replay import REPLAY_BYTES, Replay
from .stages import (
    STAGES,
    TIMERS,
    Agreed,
    Begin,
    Finish,
    Interject,
    MayGoOn,
    Output,
    Stage,
    StageInput,
    Timer,
    Transmit,
)

__all__ = ["ACK_INTERVAL", "HubSession"]

ACK_INTERVAL: Final = 1.0
"""Seconds from a tracked message to the Ack that covers it (§6.3)."""


_OPEN: Final = Stage.OPEN
_CLIENT: Final = Timer.CLIENT
"""Looking up a member of an enum costs as much as making a message."""


class HubSession:
    r"""What one client has said and been told, and what is due.

    :param protocols: the formats that may be chosen; their names are matched ignoring case.
    :param settings: of these count `handshake_timeout`, `client_timeout`, `max_message_size` and `detailed_errors`.
    :param now: the time in seconds, on any clock that only moves forward.
    :param binary: the transport can carry binary (server-sent events cannot).
    :param resumable: stateful reconnect was negotiated, and the transport is a WebSocket.
    :param replay_bytes: how much may wait for an Ack before senders have to wait.

    >>> from persistconn import Settings
    >>> from persistconn.hubs.aspnetcore_json import JsonProtocol
    >>> session = HubSession([JsonProtocol()], Settings(), now=0.0)
    >>> session.receive(b'{"protocol":"json","version":1}\x1e{"type":1,"target":"Hi","argum', now=0.1)
    [Agreed(...), Transmit(frames=(b'{}\x1e',), numbered=False), Begin()]
    >>> session.dispatched(now=0.2)
    >>> session.receive(b'ents":[]}\x1e', now=0.3)
    [Invocation(target='Hi', arguments=[], id=None, stream_ids=(), is_stream=False, headers=None)]
    >>> session.dispatched(now=0.4)
    >>> session.deadline is None  # silence says nothing before the client's first ping
    True
    """

    __slots__ = (
        "_at_work",
        "_binary",
        "_heard",
        "_is_late",
        "_protocols",
        "_replay",
        "_rest",
        "_settings",
        "due",
        "ids",
        "protocol",
        "stage",
    )

    def __init__(
        self,
        protocols: Several[HubProtocol],
        settings: Settings,
        now: float,
        *,
        binary: bool = True,
        resumable: bool = False,
        replay_bytes: int = REPLAY_BYTES,
    ) -> None:
        self.stage = Stage.HANDSHAKE
        self.protocol: HubProtocol = protocols[0]
        """What the client has chosen; before that, the first one there is."""
        self.ids = Ids()
        """Calls, streams and uploads under way. Tell it of those that end here."""
        self._protocols = protocols
        self._settings = settings
        self._binary = binary
        self._replay = Replay(replay_bytes) if resumable else None
        self._rest = bytearray()
        self._is_late = False
        """What comes is of a socket that has been replaced."""
        self.due: dict[Timer, float] = {Timer.HANDSHAKE: now + settings.handshake_timeout}
        """What goes off when."""
        self._heard = False
        """The client gives signs of life, so that silence says something (§8)."""
        self._at_work = 0
        """Times that `dispatched` is owed; silence meanwhile says nothing about the client."""

    # What comes ---------------------------------------------------------------------------------

    def receive(self, data: bytes | str, now: float) -> list[Output]:
        """The client's next bytes, cut anywhere: what is to be done. Then `dispatched` has to be called, whatever it
        was; until then nobody judges the client's silence.
        """
        self._at_work += 1
        if self.due:
            self.due.pop(_CLIENT, None)
        if self.stage is _OPEN and not self._rest and self._replay is None:
            call = self.protocol.plain_call(data, self._settings.max_message_size)
            if call is not None:
                return [call]
        said: list[Output] = []
        if self._is_late or self.stage in (Stage.AWAY, Stage.OVER):
            return said
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        buffer: bytes | bytearray = data
        if self._rest:
            self._rest += data
            buffer = self._rest
        try:
            if self.stage is Stage.HANDSHAKE:
                buffer = self._shake_hands(buffer, said)
            buffer = self._read(buffer, now, said)
        except RemoteProtocolError as error:
            self._break(str(error), said)
        else:
            if buffer is not self._rest and (buffer or self._rest):
                self._rest = bytearray(buffer)
        return said

    def dispatched(self, now: float) -> None:
        """What the last `receive` returned has been carried out. LocalProtocolError if there is none left."""
        if not self._at_work:
            raise LocalProtocolError("dispatched() without a receive()")
        self._at_work -= 1
        if self._heard and not self._at_work and _CLIENT in TIMERS[self.stage]:
            self.due[_CLIENT] = now + self._settings.client_timeout

    def _read(self, buffer: bytes | bytearray, now: float, said: list[Output]) -> bytes | bytearray:
        """Take in what is whole; gives the rest."""
        limit = self._settings.max_message_size
        while buffer and self._listens():
            records, buffer = self.protocol.split(buffer, limit)
            if not records:
                break
            for record in records:
                message = self.protocol.read(record)
                if message is not None:
                    self._take(message, now, said)
                    if not self._listens():
                        return b""
        return buffer

    def _take(self, message: Message, now: float, said: list[Output]) -> None:
        if self._replay is not None and isinstance(message, TRACKED):
            is_new = self._replay.take()
            self.due.setdefault(Timer.ACK, now + ACK_INTERVAL)
            if not is_new:
                return
        match message:
            case Invocation():
                self._take_call(message, said)
            case StreamItem() | Completion() | Cancel():
                event = self.ids.place(message)
                if event is not None:
                    said.append(event)
            case Ping():
                self._heard = True
            case Close():
                said.append(Transmit((self.protocol.close(),)))
                said.append(self._end(DisconnectReason.closed, message.error))
            case _:
                self._take_number(message, said)

    def _take_call(self, call: Invocation, said: list[Output]) -> None:
        if self.ids.admit(call):
            said.append(call)
        else:
            id = call.id or ""
            said.append(Transmit((self.protocol.completion(id, error=failures.id_in_use(id)),), numbered=True))

    def _take_number(self, message: Ack | Sequence, said: list[Output]) -> None:
        replay = self._replay
        if replay is None:
            return
        if isinstance(message, Ack):
            was_full = replay.is_full
            replay.acknowledge(message.sequence)
            if was_full and not replay.is_full:
                said.append(MayGoOn())
        elif not replay.resynchronize(message.sequence):
            raise RemoteProtocolError(failures.SEQUENCE_AHEAD)

    # The handshake ------------------------------------------------------------------------------

    def _shake_hands(self, buffer: bytes | bytearray, said: list[Output]) -> bytes | bytearray:
        """Answer the request, if it is whole; gives what follows it."""
        limit = self._settings.max_message_size
        request, separator, rest = buffer.partition(RECORD_SEPARATOR)
        if limit is not None and len(request) >= limit:
            self._refuse(failures.HANDSHAKE_CANCELED, said)
            return b""
        if not separator:
            return buffer
        asked = answer(request, self._protocols, binary=self._binary, detailed=self._settings.detailed_errors)
        if isinstance(asked, Refused):
            self._refuse(asked.error, said)
            return b""
        self.protocol = asked.protocol
        self._turn(StageInput.AGREE)
        if asked.version < NEWEST_VERSION:
            self._replay = None
        said += (Agreed(self.protocol, self._replay is not None), Transmit((ACCEPTANCE,)), Begin())
        return rest

    def _refuse(self, text: str, said: list[Output]) -> None:
        said.append(Transmit((refusal(text),)))
        said.append(self._end(DisconnectReason.aborted, text))

    # What goes ----------------------------------------------------------------------------------

    def track(self, frame: bytes) -> bool:
        """A frame of a call, an item or a completion is to go out. True: write it now. False: do not, for it either
        leaves with the next `resume`, or the connection is over. LocalProtocolError before the handshake.
        """
        if self.stage is Stage.HANDSHAKE:
            raise LocalProtocolError("nothing may precede the answer to the handshake")
        if self._replay is not None:
            self._replay.keep(frame)
        return self.stage is Stage.OPEN

    @property
    def is_over(self) -> bool:
        """There was a Finish: nothing more comes out, and nothing can be sent."""
        return self.stage is Stage.OVER

    @property
    def must_wait(self) -> bool:
        """Who can wait with the next frame should, until MayGoOn or Finish: too much is not acknowledged (§6.4)."""
        return self._replay is not None and self._replay.is_full

    @property
    def buffered(self) -> int:
        """Bytes that wait for an Ack."""
        return 0 if self._replay is None else self._replay.buffered

    def close(
        self,
        error: str | None = None,
        *,
        allow_reconnect: bool = False,
        reason: DisconnectReason = DisconnectReason.aborted,
    ) -> list[Output]:
        """End it from our side. Nothing happens if it is over already.

        The error is for the client: `failures.closed` when `on_connected` failed; none for `abort()`. Let it come back
        by itself where that makes sense: on shutdown, or when its authentication has expired (§4.7).
        """
        if self.is_over:
            return []
        said: list[Output] = []
        if self.stage is Stage.OPEN:
            said.append(Transmit((self.protocol.close(error, allow_reconnect),)))
        said.append(self._end(reason, None))
        return said

    # The transport ------------------------------------------------------------------------------

    @property
    def may_resume(self) -> bool:
        """A new socket is welcome (§6.6). If not, answer its request with 204."""
        return self._replay is not None and (self.stage, StageInput.RESUME) in STAGES

    def ended(self, *, graceful: bool) -> list[Output]:
        """The transport has ended. `graceful`: the client said so, by a close frame or DELETE; else it was lost, and
        with stateful reconnect it may come back: how long to wait for it is for the caller to say, with `close`.
        """
        if self.stage in (Stage.AWAY, Stage.OVER):
            return []
        if self.stage is Stage.OPEN and not graceful and self._replay is not None:
            self._turn(StageInput.LOSE)
            self._rest = bytearray()
            return []
        said: list[Output] = []
        if self._rest and self.stage is Stage.OPEN:
            self._break(failures.INCOMPLETE, said)
            return said
        if self.stage is Stage.OPEN and graceful:
            said.append(Transmit((self.protocol.close(allow_reconnect=True),)))
        said.append(self._end(DisconnectReason.closed, None))
        return said

    def reconnected(self) -> None:
        """What comes now is of the socket that `resume` was for, from its beginning."""
        self._is_late = False
        self._rest = bytearray()

    def resume(self, now: float, *, late: bool = False) -> list[Transmit]:
        """A new socket carries the connection: what has to be written on it first (§6.6).

        `late`: what the old socket brought may still be received, until `reconnected`. It has to be ignored, all of it
        or nothing, since the client repeats it and numbers are counted. LocalProtocolError unless `may_resume`.
        """
        if self._replay is None or not self.may_resume:
            raise LocalProtocolError("this connection cannot be resumed")
        self._turn(StageInput.RESUME)
        self._is_late = late
        self._rest = bytearray()  # of a message that comes again, from its beginning
        if self._replay.owes_ack:
            self.due.setdefault(Timer.ACK, now + ACK_INTERVAL)
        number, frames = self._replay.resume()
        return [Transmit((self.protocol.sequence(number), *frames))]

    # Time ---------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When to call `tick`; None: not at all."""
        return min(self.due.values()) if self.due else None

    def tick(self, now: float) -> list[Output]:
        """What is due by now."""
        said: list[Output] = []
        for timer in [timer for timer, at in self.due.items() if at <= now]:
            if self.due.pop(timer, None) is None:
                continue  # an earlier one has ended it
            match timer:
                case Timer.HANDSHAKE:
                    self._refuse(failures.HANDSHAKE_CANCELED, said)
                case Timer.ACK:
                    assert self._replay is not None
                    said.append(Interject(self.protocol.ack(self._replay.tell())))
                case _:
                    self._break(failures.CLIENT_TIMEOUT, said, "OperationCanceledException", DisconnectReason.timed_out)
        return said

    # Ends ---------------------------------------------------------------------------------------

    def _break(
        self,
        why: str,
        said: list[Output],
        kind: str = "InvalidDataException",
        reason: DisconnectReason = DisconnectReason.aborted,
    ) -> None:
        """The client broke the protocol, or fell silent (§4.7)."""
        if self.stage is Stage.OPEN:
            error = failures.closed(failures.cause_of(why, kind, detailed=self._settings.detailed_errors))
            said.append(Transmit((self.protocol.close(error, allow_reconnect=True),)))
        said.append(self._end(reason, why))

    def _end(self, reason: DisconnectReason, error: str | None) -> Finish:
        connected = self.stage is not Stage.HANDSHAKE
        self._turn(StageInput.END)
        self._replay = None
        self._rest = bytearray()
        return Finish(reason, error, connected)

    def _listens(self) -> bool:
        return self.stage is Stage.OPEN

    def _turn(self, what: StageInput) -> None:
        self.stage = STAGES[self.stage, what]
        for timer in list(self.due):
            if timer not in TIMERS[self.stage]:
                del self.due[timer]
