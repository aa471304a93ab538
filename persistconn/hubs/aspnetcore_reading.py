"""What ASP.NET Core clients say, carried out in order: the handshake, calls, what belongs to streams, the end.

Sections (§) are those of the ASP.NET Core hub protocol.
"""

from __future__ import annotations

import logging
import types
from collections.abc import Callable, Coroutine, Generator, Sequence
from functools import partial
from typing import Any

from persistconn import Connection, Format, Payload, PersistconnError, Request

from . import failures
from .aspnetcore_calls import AspNetCoreCalls, send
from .backstage import Backstage, shown
from .conversation import Conversation, Place, Resumption
from .described import DescribedHub
from .hub import HubError
from .messages import Cancel, Completion, HubProtocol, Invocation, StreamItem
from .scene import CallScene
from .session import HubSession
from .stages import Agreed, Begin, Finish, Interject, MayGoOn, Output, Transmit, UploadEnd

__all__ = ["AspNetCoreReading"]

_logger = logging.getLogger("persistconn.hubs")


class AspNetCoreReading:
    """Listens to the ASP.NET Core clients of one mount."""

    def __init__(
        self,
        backstage: Backstage,
        calls: AspNetCoreCalls,
        protocols: Sequence[HubProtocol],
        topics: Callable[[DescribedHub, Request], Sequence[str]],
    ) -> None:
        self._backstage = backstage
        self._calls = calls
        self._protocols = protocols
        self._topics = topics
        """What a client of this hub, who came with this request, is to read."""
        self.spoken: list[HubProtocol] = []
        """The protocols that somebody has asked for, so that calls of clients have to have a form in them."""
        formats = [(one, pings) for one in protocols for pings in (False, True)]
        self._formats = {(one.name, pings): _format(one, pings=pings) for one, pings in formats}

    # A connection's life ------------------------------------------------------------------------

    def begin(self, connection: Connection, hub: DescribedHub) -> Conversation:
        """A transport has come: its client has yet to say what it speaks."""
        settings, now = self._backstage.settings, self._backstage.clock()
        is_binary = connection.transport != "serverSentEvents"
        session = HubSession(self._protocols, settings, now, binary=is_binary, resumable=connection.resumable)
        talk = Conversation(connection, hub, session, settings, now)
        self._arm(talk)
        return talk

    def receive(self, talk: Conversation, data: bytes | str) -> Coroutine[Any, Any, None]:
        """More of what the client says."""
        if talk.is_read:
            return self._receive_later(talk, data)
        talk.is_read = True
        talk.outputs += talk.session.receive(data, self._backstage.clock())
        return self._read(talk, talk.connection.let_next)

    async def _receive_later(self, talk: Conversation, data: bytes | str) -> None:
        await talk.wait_for_turn()
        talk.outputs += talk.session.receive(data, self._backstage.clock())
        await self._read(talk, talk.connection.let_next)

    async def tick(self, talk: Conversation) -> None:
        """The time has come for something."""
        talk.armed = None
        for output in talk.session.tick(self._backstage.clock()):
            await self._carry_out(talk, output)
        self._arm(talk)

    async def abort(self, talk: Conversation, error: str | None = None, *, allow_reconnect: bool = False) -> None:
        """End it, for good unless its client may come back."""
        for output in talk.session.close(error, allow_reconnect=allow_reconnect):
            await self._carry_out(talk, output)

    async def end(self, talk: Conversation) -> None:
        """It has ended: nothing of it goes on."""
        talk.session.close()
        talk.lose()
        await talk.end_calls()

    def _arm(self, talk: Conversation) -> None:
        """An alarm that comes too early does no harm, so one that has been set is put off when it comes."""
        due = talk.session.deadline
        if due is not None and (talk.armed is None or due < talk.armed):
            talk.armed = due
            talk.connection.alarm(max(due - self._backstage.clock(), 0.0))

    # Reading ------------------------------------------------------------------------------------

    async def _read(self, talk: Conversation, let_next: Callable[[], None] | None = None) -> None:
        """Carry out what has been said, in order. A call that waits is not waited for: somebody else reads on."""
        outputs, calls = talk.outputs, self._calls
        waiting: tuple[Coroutine[Any, Any, None], Any] | None = None
        try:
            while outputs:
                output = outputs.popleft()
                if type(output) is not Invocation:
                    await self._carry_out(talk, output)
                    continue
                if output.is_stream or output.stream_ids:
                    calls.start_apart(talk, output)
                    continue
                if not talk.free:
                    await talk.wait_for_place()
                work = calls.serve(talk, output, Place(talk))
                try:
                    step = work.send(None)
                except StopIteration:
                    continue  # most calls wait for nothing, and cost no task
                waiting = (work, step)
                break
        finally:
            if waiting is None:
                self._have_read(talk)
        if waiting is not None:
            await self._hand_on(talk, let_next, *waiting)

    async def _hand_on(
        self, talk: Conversation, let_next: Callable[[], None] | None, work: Coroutine[Any, Any, None], step: Any
    ) -> None:
        """A call waits for something: it goes on here, and whatever comes behind it elsewhere."""
        talk.enter()
        try:
            if talk.outputs:
                talk.connection.start_soon(self._read_apart, talk)
            else:
                self._have_read(talk)
            if let_next is not None:
                let_next()
            await _go_on(work, step)
        finally:
            talk.leave()

    async def _read_apart(self, talk: Conversation) -> None:
        if not talk.connection.ended:
            with talk.cancellable():
                await self._read(talk)

    def _have_read(self, talk: Conversation) -> None:
        session, armed = talk.session, talk.armed
        session.dispatched(self._backstage.clock())
        if session.due and (armed is None or min(session.due.values()) < armed):
            self._arm(talk)
        talk.is_read = False
        if talk.next_turn is not None:
            talk.pass_turn()

    async def _carry_out(self, talk: Conversation, output: Output) -> None:
        connection = talk.connection
        match output:
            case Transmit():
                for frame in output.frames:
                    await send(connection, Payload.of_frame(frame, numbered=output.numbered))
            case Interject():
                connection.interject(output.frame)
            case StreamItem():
                if output.id in talk.uploads:
                    await talk.uploads[output.id].put(output.item)
            case UploadEnd():
                if output.id in talk.uploads:
                    talk.uploads[output.id].end(None if output.error is None else HubError(output.error))
            case Cancel():
                if output.id in talk.streams:
                    talk.streams[output.id].cancel()
            case Completion():
                if output.id in talk.awaited:
                    awaited = talk.awaited.pop(output.id)
                    awaited.completion = output
                    awaited.ready.set()
            case MayGoOn():
                connection.go_on_sending()
            case Agreed():
                self._agree(talk, output)
            case Begin():
                await self._begin(talk)
            case Finish():
                await self._finish(talk, output)

    def _agree(self, talk: Conversation, agreed: Agreed) -> None:
        protocol = agreed.protocol
        talk.spoken = protocol.name
        if protocol not in self.spoken:
            self.spoken.append(protocol)
        talk.connection.speak(self._formats[protocol.name, talk.connection.transport != "longPolling"])
        if agreed.resumable:
            replay = Resumption(talk.session, self._backstage.clock, partial(self._arm, talk))
            talk.connection.resume_with(replay)

    async def _begin(self, talk: Conversation) -> None:
        """From now on it is called; the hub hears of it, and may object (§7.1)."""
        connection = talk.connection
        talk.hubs = [talk.hub]
        talk.told = []
        try:
            for topic in self._topics(talk.hub, connection.request):
                await connection.subscribe(topic)
            talk.is_beginning = True
            scene = CallScene(self._backstage.stages[talk.hub], connection, None, _refuse_to_ask)
            await self._backstage.tell(talk.hub, scene, "on_connected")
            talk.told = [talk.hub]
        except Exception as error:
            if connection.ended:
                return
            deliberate = isinstance(error, HubError)
            if not deliberate:
                id, extra = connection.id, connection.log_extra
                _logger.error(
                    "on_connected of %s, connection %s, failed", talk.hub.name, id, exc_info=error, extra=extra
                )
            detailed = self._backstage.settings.detailed_errors
            cause = failures.cause_of(error, deliberate=deliberate, detailed=detailed)
            talk.outputs.clear()
            talk.outputs += talk.session.close(failures.closed(cause))
        finally:
            talk.is_beginning = False

    async def _finish(self, talk: Conversation, finish: Finish) -> None:
        talk.reason = finish.reason
        if finish.error is not None:
            connection = talk.connection
            extra = connection.log_extra
            _logger.warning("connection %s ends: %s", connection.id, shown(finish.error), extra=extra)
        await talk.connection.close()


def _format(protocol: HubProtocol, *, pings: bool) -> Format:
    return Format(
        protocol.name,
        binary=protocol.format == "binary",
        keep_alive=protocol.ping() if pings else None,
        farewell=protocol.close(allow_reconnect=True),
    )


def _refuse_to_ask() -> None:
    raise PersistconnError("Client results inside OnConnectedAsync Hub methods are not allowed.")


@types.coroutine
def _go_on(work: Coroutine[Any, Any, None], step: Any) -> Generator[Any, Any, None]:
    """Go on with some work that waits for something for the first time: `step` is what it waits for."""
    try:
        while True:
            try:
                value = yield step
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:
                step = work.throw(error)
            else:
                step = work.send(value)
    except StopIteration:
        pass
