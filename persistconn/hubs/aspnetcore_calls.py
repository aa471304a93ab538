"""Calls of ASP.NET Core clients: answered by id, some with streams either way; and what we ask of such clients.

Sections (§) are those of the ASP.NET Core hub protocol.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import anyio
from msgspec import UNSET, Raw

from persistconn import Connection, ConnectionClosed, Payload

from . import failures
from .backstage import Backstage, NotAuthorized, shown
from .binding import BindingError, Parameter
from .calls import ClientCall
from .conversation import Awaited, Conversation, Place
from .described import DescribedHub, DescribedMethod
from .hub import HubError
from .messages import HubProtocol, Invocation
from .scene import CallScene
from .uploads import Upload

__all__ = ["AspNetCoreCalls", "send"]

_logger = logging.getLogger("persistconn.hubs")

_NULL: Final = {"text": Raw(b"null"), "binary": Raw(b"\xc0")}


_MOST_SPELLINGS: Final = 1_024
"""What strangers call must not fill the memory."""


class _Refused(Exception):
    """A call that is not begun: what the caller is told, and what our log says if that is more."""

    def __init__(self, told: str, logged: str = "") -> None:
        super().__init__(logged or told)
        self.told = told


class AspNetCoreCalls:
    """Serves the calls of one mount."""

    def __init__(self, backstage: Backstage) -> None:
        self._backstage = backstage

    async def serve(self, talk: Conversation, call: Invocation, place: Place) -> None:
        """A call without streams, in the place that it has."""
        try:
            hub, connection, protocol = talk.hub, talk.connection, talk.session.protocol
            hub.calls += 1
            method = hub.plain.get((call.target, len(call.arguments))) if self._backstage.is_plain else None
            if method is None:
                answer = await self._answer(talk, call, (), place.give_back)
            else:  # nothing stands between the caller and the method
                try:
                    arguments = method.signature.bind(call.arguments, talk.spoken)
                    instance = hub.hub()
                    instance._scene = CallScene(self._backstage.stages[hub], connection, None, place.give_back)
                    result = await method.function(instance, *arguments)
                    answer = None if call.id is None else protocol.completion(call.id, result=result)
                except BaseException as error:
                    answer = await self._went_wrong(talk, call, error)
            if answer is not None:
                try:
                    await connection.send(Payload.of_frame(answer))
                except ConnectionClosed:
                    pass  # nobody is there to read it
        finally:
            place.give_back()

    def start_apart(self, talk: Conversation, call: Invocation) -> None:
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
        talk.hub.calls += 1
        with talk.cancellable():
            try:
                answer = None if call.id is None else talk.session.protocol.completion(call.id)  # if it is cancelled
                if not scope.cancel_called:
                    with scope:
                        answer = await self._answer(talk, call, uploads)
            finally:
                talk.close_uploads(call, uploads)
                if call.is_stream and call.id is not None:
                    del talk.streams[call.id]
                    talk.session.ids.end_stream(call.id)
            if answer is not None:
                await send(talk.connection, Payload.of_frame(answer))

    async def _answer(
        self, talk: Conversation, call: Invocation, uploads: Sequence[Upload], asking: Callable[[], None] = lambda: None
    ) -> bytes | None:
        """Run a call: the completion, if the caller wants one."""
        protocol = talk.session.protocol
        try:
            result = await self._run(talk, call, uploads, asking)
            return None if call.id is None else protocol.completion(call.id, result=result)
        except BaseException as error:
            return await self._went_wrong(talk, call, error)

    async def _went_wrong(self, talk: Conversation, call: Invocation, error: BaseException) -> bytes | None:
        """The completion of a call that failed, if the caller wants one; what cancels this task goes on."""
        talk.hub.failed += 1
        if isinstance(error, Exception):
            return self._failed(talk, call, error)
        scope = talk.streams.get(call.id or "")  # cancelled: by us, or something that the method awaited
        if not talk.connection.ended and (scope is None or not scope.cancel_called):
            answer = self._failed(talk, call, error)
            if answer is not None:
                await send(talk.connection, Payload.of_frame(answer))
        raise error

    async def _run(
        self, talk: Conversation, call: Invocation, uploads: Sequence[Upload], asking: Callable[[], None]
    ) -> Any:
        backstage, connection = self._backstage, talk.connection
        backstage.check(call.arguments, connection, talk)
        method = self._find(talk.hub, call)
        await backstage.authorize(talk.hub, method, connection.request)
        arguments = self._bind(method, call, uploads, talk.session.protocol)
        scene = CallScene(backstage.stages[talk.hub], connection, None, asking)
        if method.is_plain and not talk.hub.needs and len(talk.hub.plain) < _MOST_SPELLINGS:
            talk.hub.plain[call.target, len(call.arguments)] = method
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
        cause = failures.wrong_count(given, expected)
        raise _Refused(failures.arguments_wrong(call.target, self._data_error(cause)), cause)

    def _bind(
        self, method: DescribedMethod, call: Invocation, uploads: Sequence[Upload], protocol: HubProtocol
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
                frame = protocol.stream_item(id, item)
                try:
                    await talk.connection.send(Payload.of_frame(frame))
                except ConnectionClosed:
                    return  # nobody is there to read more, which the method need not know
        except Exception as error:
            if not has_begun or talk.connection.ended:
                raise
            self._log(talk, call, error)
            raise _Refused(failures.stream_failed(self._cause(error))) from None
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()

    # What went wrong ----------------------------------------------------------------------------

    def _failed(self, talk: Conversation, call: Invocation, error: BaseException) -> bytes | None:
        match error:
            case _Refused():
                text = error.told
            case NotAuthorized():
                text = failures.method_unauthorized(call.target)
            case BindingError():
                text = failures.arguments_wrong(call.target, self._data_error(failures.BINDING))
            case _:
                text = failures.method_failed(call.target, self._cause(error))
        if talk.connection.ended and isinstance(error, ConnectionClosed):
            return None  # which is what it has been told
        self._log(talk, call, error)
        if call.id is None:
            return None
        try:
            return talk.session.protocol.completion(call.id, error=text)
        except TypeError:  # half a character
            extra = talk.connection.log_extra
            _logger.exception("the answer to a call of %s has no form", shown(call.target), extra=extra)
            return talk.session.protocol.completion(call.id, error=failures.method_failed(call.target))

    def _cause(self, error: BaseException) -> str:
        deliberate = isinstance(error, HubError)
        return failures.cause_of(error, deliberate=deliberate, detailed=self._backstage.settings.detailed_errors)

    def _data_error(self, text: str) -> str:
        return failures.cause_of(text, "InvalidDataException", detailed=self._backstage.settings.detailed_errors)

    def _log(self, talk: Conversation, call: Invocation, error: BaseException) -> None:
        extra = talk.connection.log_extra
        if isinstance(error, _Refused | NotAuthorized | BindingError):
            _logger.warning("a call of %s was refused: %s", shown(call.target), shown(str(error)), extra=extra)
        elif not isinstance(error, HubError):
            _logger.error("a call of %s failed", shown(call.target), exc_info=error, extra=extra)

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


@lru_cache(1_024)
def _result_of(returns: Any) -> Parameter:
    return Parameter("result", returns)


async def _drop_report(value: Any) -> None:
    """This wire has no message for progress."""


async def send(connection: Connection, payload: Any) -> None:
    """Send something to a client that may have gone."""
    try:
        await connection.send(payload)
    except ConnectionClosed:
        pass  # nobody is there to read it
