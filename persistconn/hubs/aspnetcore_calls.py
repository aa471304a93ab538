"""Calls on the dialect of ASP.NET Core: many messages on one pipe, answered by id, some of them streams.

Sections (§) are those of the ASP.NET Core hub protocol.
"""

from __future__ import annotations

import logging
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence
from functools import lru_cache, partial
from typing import Any, Final

import anyio
from msgspec import UNSET, Raw

from persistconn import Connection, ConnectionClosed, Format, Payload, PersistconnError

from . import failures
from .backstage import Backstage, NotAuthorized, shown
from .binding import BindingError, Parameter
from .calls import ClientCall
from .conversation import Awaited, Conversation, Place, Resumption
from .described import DescribedHub, DescribedMethod
from .hub import HubError
from .messages import Cancel, Completion, HubProtocol, Invocation, StreamItem
from .scene import CallScene
from .session import HubSession
from .stages import Agreed, Begin, Finish, Interject, MayGoOn, Output, Transmit, UploadEnd
from .uploads import Upload

__all__ = ["AspNetCoreCalls"]

_logger = logging.getLogger("persistconn.hubs")

_NULL: Final = {"text": Raw(b"null"), "binary": Raw(b"\xc0")}


class _Refused(Exception):
    """A call that is not begun; the text is for the caller."""


class AspNetCoreCalls:
    """Serves the calls of one mount."""

    def __init__(
        self, backstage: Backstage, protocols: Sequence[HubProtocol], topics: Callable[[DescribedHub, Any], Sequence[str]]
    ) -> None:
        self._backstage = backstage
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

    async def receive(self, talk: Conversation, data: bytes | str) -> None:
        """More of what the client says."""
        await talk.take_turn()
        talk.outputs += talk.session.receive(data, self._backstage.clock())
        await self._read(talk, talk.connection.let_next)

    async def tick(self, talk: Conversation) -> None:
        """The time has come for something."""
        talk.armed = None
        for output in talk.session.tick(self._backstage.clock()):
            await self._carry_out(talk, output)
        self._arm(talk)

    async def abort(self, talk: Conversation) -> None:
        """End it for good."""
        for output in talk.session.close():
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
        handed_on = False

        def hand_on() -> None:
            nonlocal handed_on
            handed_on = True
            talk.enter()
            if talk.outputs:
                talk.connection.start_soon(self._read_apart, talk)
            else:
                self._have_read(talk)
            if let_next is not None:
                let_next()

        try:
            while talk.outputs and not handed_on:
                output = talk.outputs.popleft()
                if type(output) is not Invocation:
                    await self._carry_out(talk, output)
                elif output.is_stream or output.stream_ids:
                    self._start_apart(talk, output)
                else:
                    place = await talk.take_place()
                    await _at_first_wait(self._serve(talk, output, place), hand_on)
        finally:
            if handed_on:
                talk.leave()
            else:
                self._have_read(talk)

    async def _read_apart(self, talk: Conversation) -> None:
        if not talk.connection.ended:
            with talk.cancellable():
                await self._read(talk)

    def _have_read(self, talk: Conversation) -> None:
        talk.session.dispatched(self._backstage.clock())
        self._arm(talk)
        talk.pass_turn()

    async def _carry_out(self, talk: Conversation, output: Output) -> None:
        connection = talk.connection
        match output:
            case Transmit():
                for frame in output.frames:
                    await _send(connection, Payload.of_frame(frame, numbered=output.numbered))
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
                _logger.error("on_connected of %s, connection %s, failed", talk.hub.name, connection.id, exc_info=error)
            detailed = self._backstage.settings.detailed_errors
            cause = failures.cause_of(error, deliberate=deliberate, detailed=detailed)
            talk.outputs.clear()
            talk.outputs += talk.session.close(failures.closed(cause))
        finally:
            talk.is_beginning = False

    async def _finish(self, talk: Conversation, finish: Finish) -> None:
        talk.reason = finish.reason
        if finish.error is not None:
            _logger.warning("connection %s ends: %s", talk.connection.id, shown(finish.error))
        await talk.connection.close()

    # Calls --------------------------------------------------------------------------------------

    async def _serve(self, talk: Conversation, call: Invocation, place: Place) -> None:
        """A call without streams, in the place that it has."""
        try:
            answer = await self._answer(talk, call, [], place.give_back)
            if answer is not None:
                await _send(talk.connection, Payload.of_frame(answer))
        finally:
            place.give_back()

    def _start_apart(self, talk: Conversation, call: Invocation) -> None:
        """A call with streams is not waited for, and has no place (§7.3); what follows may be for it already."""
        scope = anyio.CancelScope()
        if call.is_stream and call.id is not None:
            talk.streams[call.id] = scope
        talk.connection.start_soon(self._serve_apart, talk, call, talk.open_uploads(call), scope)

    async def _serve_apart(
        self, talk: Conversation, call: Invocation, uploads: list[Upload], scope: anyio.CancelScope
    ) -> None:
        if talk.connection.ended:
            return
        with talk.cancellable():
            try:
                answer = None if call.id is None else talk.session.protocol.completion(call.id)  # if it is cancelled
                with scope:
                    answer = await self._answer(talk, call, uploads)
            finally:
                talk.close_uploads(call, uploads)
                if call.is_stream and call.id is not None:
                    del talk.streams[call.id]
                    talk.session.ids.end_stream(call.id)
            if answer is not None:
                await _send(talk.connection, Payload.of_frame(answer))

    async def _answer(
        self, talk: Conversation, call: Invocation, uploads: list[Upload], asking: Callable[[], None] = lambda: None
    ) -> bytes | None:
        """Run a call: the completion, if the caller wants one."""
        protocol = talk.session.protocol
        try:
            result = await self._run(talk, call, uploads, asking)
            return None if call.id is None else protocol.completion(call.id, result=result)
        except Exception as error:
            return self._failed(talk, call, error)
        except BaseException as error:  # cancelled: by us, or something that the method awaited
            scope = talk.streams.get(call.id or "")
            if not talk.connection.ended and (scope is None or not scope.cancel_called):
                answer = self._failed(talk, call, error)
                if answer is not None:
                    await _send(talk.connection, Payload.of_frame(answer))
            raise

    async def _run(
        self, talk: Conversation, call: Invocation, uploads: list[Upload], asking: Callable[[], None]
    ) -> Any:
        backstage, connection = self._backstage, talk.connection
        backstage.check(call.arguments, connection, talk)
        method = self._find(talk.hub, call)
        await backstage.authorize(talk.hub, method, connection.request)
        arguments = self._bind(method, call, uploads, talk.session.protocol)
        scene = CallScene(backstage.stages[talk.hub], connection, None, asking)
        result = await backstage.run(talk.hub, method, arguments, scene, _drop_report)
        if not method.is_stream:
            return result
        if not hasattr(result, "__aiter__"):
            raise _Refused(failures.no_stream_given(call.target))
        await self._stream(talk, call, aiter(result))
        return UNSET

    def _find(self, hub: DescribedHub, call: Invocation) -> DescribedMethod:
        methods, given = hub.named(call.target), len(call.arguments)
        if not methods:
            raise _Refused(failures.method_missing(call.target))
        for method in methods:
            if method.signature.takes(given):
                return method
        signature = methods[0].signature
        expected = signature.least if signature.most is None or given < signature.least else signature.most
        raise _Refused(failures.arguments_wrong(call.target, self._data_error(failures.wrong_count(given, expected))))

    def _bind(
        self, method: DescribedMethod, call: Invocation, uploads: list[Upload], protocol: HubProtocol
    ) -> list[Any]:
        if method.is_stream and not call.is_stream:
            raise _Refused(failures.only_a_stream(call.target))
        if call.is_stream and not method.is_stream:
            raise _Refused(failures.not_a_stream(call.target))
        wanted = method.signature.uploads
        if len(wanted) != len(uploads):
            raise _Refused(failures.wrong_stream_count(call.target, len(uploads), len(wanted)))
        for (_, parameter), upload in zip(wanted, uploads, strict=True):
            upload.read = parameter.reader(protocol.name)
        return method.signature.bind(call.arguments, protocol.name, uploads)

    async def _stream(self, talk: Conversation, call: Invocation, items: AsyncIterator[Any]) -> None:
        """Bring what the method yields to the caller, as fast as the caller takes it."""
        protocol, id = talk.session.protocol, call.id or ""
        has_begun = False
        try:
            async for item in items:
                has_begun = True
                await talk.connection.send(Payload.of_frame(protocol.stream_item(id, item)))
        except Exception as error:
            if not has_begun or talk.connection.ended:
                raise
            self._log(call, error)
            raise _Refused(failures.stream_failed(self._cause(error))) from None
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()

    # What went wrong ----------------------------------------------------------------------------

    def _failed(self, talk: Conversation, call: Invocation, error: BaseException) -> bytes | None:
        match error:
            case _Refused():
                text = str(error)
            case NotAuthorized():
                text = failures.method_unauthorized(call.target)
            case BindingError():
                text = failures.arguments_wrong(call.target, self._data_error(failures.BINDING))
            case _:
                text = failures.method_failed(call.target, self._cause(error))
        self._log(call, error)
        if call.id is None:
            return None
        try:
            return talk.session.protocol.completion(call.id, error=text)
        except TypeError:  # half a character
            _logger.exception("the answer to a call of %s has no form", shown(call.target))
            return talk.session.protocol.completion(call.id, error=failures.method_failed(call.target))

    def _cause(self, error: BaseException) -> str:
        deliberate = isinstance(error, HubError)
        return failures.cause_of(error, deliberate=deliberate, detailed=self._backstage.settings.detailed_errors)

    def _data_error(self, text: str) -> str:
        return failures.cause_of(text, "InvalidDataException", detailed=self._backstage.settings.detailed_errors)

    def _log(self, call: Invocation, error: BaseException) -> None:
        if isinstance(error, _Refused | NotAuthorized | BindingError):
            _logger.warning("a call of %s was refused: %s", shown(call.target), shown(str(error)))
        elif not isinstance(error, HubError):
            _logger.error("a call of %s failed", shown(call.target), exc_info=error)

    # Results of clients -------------------------------------------------------------------------

    async def ask(self, talk: Conversation, call: ClientCall, returns: Any, timeout: float | None) -> Any:
        """Call a client's function and wait for what it returns (§7.6)."""
        protocol, ids = talk.session.protocol, talk.session.ids
        parameter = _result_of(returns)
        id = ids.expect_result()
        try:
            frame = protocol.invocation(call.method, call.arguments, id)
            awaited = talk.awaited[id] = Awaited()
            with anyio.fail_after(timeout):
                await talk.connection.send(Payload.of_frame(frame))
                await awaited.ready.wait()
        finally:
            ids.forget_result(id)
            talk.awaited.pop(id, None)
        if awaited.completion is None:
            raise awaited.failure or ConnectionClosed(f"Connection '{talk.connection.id}' disconnected.")
        if awaited.completion.error is not None:
            raise HubError(awaited.completion.error)
        result = awaited.completion.result
        try:
            return parameter.reader(protocol.name)(_NULL[protocol.format] if result is UNSET else result)
        except BindingError as error:
            raise HubError(f"Error trying to deserialize result to {parameter.type_name}. {error}") from None


def _format(protocol: HubProtocol, *, pings: bool) -> Format:
    return Format(
        protocol.name,
        binary=protocol.format == "binary",
        keep_alive=protocol.ping() if pings else None,
        farewell=protocol.close(allow_reconnect=True),
    )


@lru_cache(1_024)
def _result_of(returns: Any) -> Parameter:
    return Parameter("result", returns)


def _refuse_to_ask() -> None:
    raise PersistconnError("Client results inside OnConnectedAsync Hub methods are not allowed.")


async def _drop_report(value: Any) -> None:
    """This wire has no message for progress."""


async def _send(connection: Connection, payload: Payload) -> None:
    try:
        await connection.send(payload)
    except ConnectionClosed:
        pass  # nobody is there to read it


@types.coroutine
def _at_first_wait(work: Coroutine[Any, Any, None], tell: Callable[[], None]) -> Generator[Any, Any, None]:
    """Do some work; `tell` when it waits for something for the first time. Most never does, and costs no task."""
    try:
        step = work.send(None)
        tell()
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
