"""Calls on the classic wire: each is one message with one answer, which goes back where the message came from."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import anyio
import msgspec

from persistconn import Connection, Payload, PersistentConnection, RemoteProtocolError, Reply

from .backstage import Backstage, NotAuthorized, shown
from .binding import BindingError
from .calls import Call, Failure, Outcome, ProgressReport
from .classic import DEPTH, is_too_deep, read_call, write_outcome, write_progress
from .described import DescribedHub, MethodNotFound
from .hub import HubError
from .members import Member
from .scene import CallScene
from .state import State

__all__ = ["ClassicCalls"]

_logger = logging.getLogger("persistconn.hubs")


class ClassicCalls:
    """Serves the calls of one mount."""

    def __init__(self, owner: PersistentConnection, backstage: Backstage) -> None:
        self._owner = owner
        self._backstage = backstage

    async def receive(self, connection: Connection, member: Member, data: Any) -> None:
        """A call: its turn has come, or it runs beside others (`max_parallel_calls`)."""
        call = read_call(data)
        if member.places is None:
            await self._serve(call, connection, member, connection.take_reply())
        else:
            await member.places.acquire()
            reply = connection.take_reply()
            member.owe(reply)
            connection.start_soon(self._serve_apart, call, connection, member, member.places, reply)

    async def _serve_apart(
        self, call: Call, connection: Connection, member: Member, places: anyio.Semaphore, reply: Reply
    ) -> None:
        if connection.ended:
            return  # nobody waits for it: it is not begun
        try:
            with member.cancellable():
                await self._serve(call, connection, member, reply)
                member.has_answered(reply)
        except RemoteProtocolError as error:
            reply.refuse(error)
            member.has_answered(reply)
        finally:
            places.release()

    async def _serve(self, call: Call, connection: Connection, member: Member, reply: Reply) -> None:
        """Run a call and answer it. RemoteProtocolError: it is answered with a status."""
        scene: CallScene | None = None
        answer: bytes
        try:
            self._backstage.check(call.arguments, connection, member)
            hub = self._backstage.table.find(call.hub)
            state = self._read_state(call, connection)
            hub.calls += 1
            scene = CallScene(self._backstage.stages[hub], connection, state)
            result = await self._run(call, hub, scene)
            answer = write_outcome(Outcome(call.id or "", result, scene.changes()))
        except RemoteProtocolError as error:
            if reply.has_body:
                if scene is not None:
                    scene.stage.hub.failed += 1
                raise
            answer = self._failed(connection, call, scene, error)
        except Exception as error:
            answer = self._failed(connection, call, scene, error)
        except BaseException as error:  # cancelled: by us, or something that the method awaited
            if not connection.ended:
                await reply.send(Payload.of_json(self._failed(connection, call, scene, error)))
            raise
        if call.id is not None:
            await reply.send(Payload.of_json(answer))
        elif reply.has_body:
            await reply.send({})

    def _read_state(self, call: Call, connection: Connection) -> State | None:
        if call.state is None:
            return None
        most = self._backstage.settings.max_state_size
        if len(call.state) > most:
            connection.count_reaction("max_state_size")
            raise RemoteProtocolError(f"State has exceeded the maximum length of {most} bytes.", status=500)
        try:
            if not is_too_deep(call.state):
                return State(call.state)
        except msgspec.DecodeError:
            pass
        raise RemoteProtocolError(f"State must be an object of no more than {DEPTH} levels.", status=500)

    async def _run(self, call: Call, hub: DescribedHub, scene: CallScene) -> Any:
        method = hub.find(call.method, len(call.arguments))
        await self._backstage.authorize(hub, method, scene.connection.request)
        if call.may_be_deep and any(is_too_deep(bytes(json)) for json in call.arguments):
            raise BindingError("an argument is nested too deep")
        if method.signature.uploads:
            raise HubError(f"{method.name} takes a stream, which clients of this wire cannot send.")
        arguments = method.signature.bind(call.arguments)
        if method.is_stream:
            raise HubError(f"{method.name} gives a stream, which clients of this wire cannot take.")
        return await self._backstage.run(hub, method, arguments, scene, partial(self._report, call, scene))

    async def _report(self, call: Call, scene: CallScene, value: Any) -> None:
        if call.id is not None:
            payload = Payload.of_json(write_progress(ProgressReport(call.id, value)))
            await self._owner.send(scene.connection.id, payload)

    def _failed(self, connection: Connection, call: Call, scene: CallScene | None, error: BaseException) -> bytes:
        what = f"{call.hub}.{call.method}"
        if scene is not None:
            scene.stage.hub.failed += 1
        generic = f"There was an error invoking Hub method '{what}'."
        if isinstance(error, HubError):
            failure = Failure(str(error) or type(error).__name__, True, error.data)
        else:
            extra = connection.log_extra
            if isinstance(error, MethodNotFound | BindingError | NotAuthorized | RemoteProtocolError):
                _logger.warning("a call of %s was refused: %s", shown(what), shown(str(error)), extra=extra)
            else:
                _logger.error("a call of %s failed", shown(what), exc_info=error, extra=extra)
            meant_for_peers = isinstance(error, RemoteProtocolError) or self._backstage.settings.detailed_errors
            failure = Failure((meant_for_peers and str(error)) or generic)
        try:
            return write_outcome(Outcome(call.id or "", None, None if scene is None else scene.changes(), failure))
        except Exception:  # its text, its data or the state has no JSON form
            extra = connection.log_extra
            _logger.exception("the answer to a call of %s has no JSON form", shown(what), extra=extra)
            return write_outcome(Outcome(call.id or "", None, None, Failure(generic, failure.deliberate)))
