"""A PersistentConnection whose messages are calls: finds the method, runs it, and answers."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any, Final, TypeAlias

import anyio
import anyio.to_thread
import msgspec

from persistconn import (
    ConfigurationError,
    Connection,
    DisconnectReason,
    Payload,
    PersistentConnection,
    RemoteProtocolError,
    Reply,
    Request,
    Settings,
)

from .authorization import RolesOf, Rule
from .binding import BindingError
from .calls import Call, Failure, Outcome, ProgressReport
from .classic import DEPTH, is_too_deep, read_call, read_hub_names, write_outcome, write_progress
from .described import DescribedHub, HubTable, MethodNotFound
from .filters import Filter, HubCall, through
from .hub import Hub, HubError
from .members import Member
from .progress import Progress
from .scene import CallScene, HubStage
from .state import State

__all__ = ["Dispatcher", "Factory", "UserIdOf"]

_logger = logging.getLogger("persistconn.hubs")

_REMEMBERED: Final = 1_024
"""A longer list of hubs is read every time: what strangers send must not fill the memory."""

Factory: TypeAlias = Callable[..., Hub[Any]]
UserIdOf: TypeAlias = Callable[[Request], "str | None"]


class NotAuthorized(Exception):
    """A rule of the hub or the method says no."""


class Dispatcher(PersistentConnection):
    """The hubs of one mount, on one connection per client."""

    raw_text = True
    cancels_received = True

    def __init__(
        self,
        table: HubTable,
        settings: Settings,
        *,
        factory: Factory | None = None,
        filters: Iterable[Filter] = (),
        user_id: UserIdOf | None = None,
        roles: RolesOf | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.table = table
        self._settings = settings
        self._make = _maker(factory)
        self._filters = tuple(filters)
        for one in self._filters:
            if inspect.isfunction(one) and not inspect.iscoroutinefunction(one):
                raise ConfigurationError(f"the filter {one.__qualname__} is a plain function: write it as async def")
        self._user_id = user_id
        self._roles = roles
        self._clock = clock
        self._members: dict[str, Member] = {}
        self._stages = {hub: HubStage(self, hub, self._uses) for hub in table.hubs.values()}
        self._named = lru_cache(1_024)(self._resolve)
        rules = [rule for hub in table.hubs.values() for rule in _all_rules(hub)]
        if roles is None and any(rule.roles is not None for rule in rules):
            raise ConfigurationError("@authorize(roles=…) needs to know them: give add_hubs a function, roles=…")
        if any(hub.connect_rules for hub in table.hubs.values()):
            self.subscriptions = self._subscriptions_by_rules  # type: ignore[method-assign]  # which may wait

    def stage(self, hub: DescribedHub) -> HubStage:
        """How to reach the clients of a hub."""
        return self._stages[hub]

    # Who comes ----------------------------------------------------------------------------------

    def subscriptions(self, request: Request) -> Sequence[str] | Awaitable[Sequence[str]]:
        """The topics of the hubs that the client names."""
        return self._topics(self._hubs_of(request), request)

    async def _subscriptions_by_rules(self, request: Request) -> Sequence[str]:
        return self._topics(await self._allowed(request), request)

    def _topics(self, hubs: Iterable[DescribedHub], request: Request) -> Sequence[str]:
        user = request.user if self._user_id is None else self._user_id(request)
        topics = [hub.name for hub in hubs]
        return topics if user is None else [*topics, *[f"{name}.{user}" for name in topics]]

    def _hubs_of(self, request: Request) -> tuple[DescribedHub, ...]:
        named = request.query.get("connectionData")
        return self._named(named) if named is None or len(named) <= _REMEMBERED else self._resolve(named)

    def _resolve(self, connection_data: str | None) -> tuple[DescribedHub, ...]:
        hubs = tuple([self.table.find(name) for name in read_hub_names(connection_data)])
        if len(set(hubs)) < len(hubs):
            raise RemoteProtocolError("Duplicate Hub names found.", status=500)
        return hubs

    async def _allowed(self, request: Request) -> tuple[DescribedHub, ...]:
        """The hubs that the client names and may connect to. RemoteProtocolError if there are some, but none for it."""
        named = self._hubs_of(request)
        allowed = [hub for hub in named if await self._allows(hub.connect_rules, request)]
        if named and not allowed:
            status = 401 if request.user is None else 403
            raise RemoteProtocolError("You may not connect to these hubs.", status=status)
        return tuple(allowed)

    async def _allows(self, rules: Iterable[Rule], request: Request) -> bool:
        for rule in rules:
            if not await rule.allows(request, self._roles):
                return False
        return True

    def _uses(self, connection_id: str, hub: DescribedHub) -> bool:
        member = self._members.get(connection_id)
        return member is not None and hub in member.hubs

    # A connection's life ------------------------------------------------------------------------

    def _member(self, connection: Connection) -> Member:
        member = self._members.get(connection.id)
        if member is None:
            # Its topics, and not what this request names: who is told of a hub's messages is whom the hub is told of.
            known = self.table.hubs  # no hub has a dot in its name, and the topic of a user has one
            hubs = [known[name.lower()] for name in connection.topics if name.lower() in known]
            member = self._members[connection.id] = Member(hubs, self._settings, self._clock())
        return member

    async def on_connected(self, connection: Connection) -> None:
        """Every hub that the client named hears of it, until one fails, which refuses the client."""
        member = self._member(connection)
        for count, hub in enumerate(member.hubs, 1):
            member.told = member.hubs[:count]
            await self._tell(hub, connection, "on_connected")

    async def on_reconnected(self, connection: Connection) -> None:
        """The same."""
        for hub in self._member(connection).hubs:
            await self._tell(hub, connection, "on_reconnected")

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        """Calls that still run are cancelled; every hub hears of it, whatever the others make of it."""
        member = self._members.pop(connection.id, None)
        if member is None:
            return
        await member.end_calls()
        for hub in member.told:
            try:
                await self._tell(hub, connection, "on_disconnected", reason)
            except Exception:
                _logger.exception("on_disconnected of %s, connection %s, failed", hub.name, connection.id)

    async def on_rejoining_groups(self, connection: Connection, groups: Sequence[str]) -> Sequence[str]:
        """Every hub decides about its own groups; those of hubs that the client does not name are dropped."""
        kept: list[str] = []
        for hub in self._member(connection).hubs:
            prefix = f"{hub.name}."
            own: Sequence[str] = [name.removeprefix(prefix) for name in groups if name.startswith(prefix)]
            if own and "on_rejoining_groups" in hub.overrides:
                own = await self._tell(hub, connection, "on_rejoining_groups", own)
            kept += [prefix + name for name in own]
        return kept

    async def _tell(self, hub: DescribedHub, connection: Connection, moment: str, *args: Any) -> Any:
        if moment not in hub.overrides:
            return None
        try:
            instance = self._make(hub.hub)
        except Exception:
            _logger.exception("a %s could not be made for %s of connection %s", hub.name, moment, connection.id)
            return ()
        instance._scene = CallScene(self._stages[hub], connection, None)
        return await _run(getattr(hub.hub, moment), instance, *args)

    # Calls --------------------------------------------------------------------------------------

    async def on_received(self, connection: Connection, data: Any) -> None:
        """A call: its turn has come, or it runs beside others (`max_parallel_calls`)."""
        call = read_call(data)
        member = self._members.get(connection.id) or self._member(connection)
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
            self._check(call, connection, member)
            hub = self.table.find(call.hub)
            scene = CallScene(self._stages[hub], connection, self._read_state(call, connection))
            result = await self._run_call(call, hub, scene)
            answer = write_outcome(Outcome(call.id or "", result, scene.changes()))
        except RemoteProtocolError as error:
            if reply.has_body:
                raise
            answer = self._failed(call, scene, error)
        except Exception as error:
            answer = self._failed(call, scene, error)
        except BaseException as error:  # cancelled: by us, or something that the method awaited
            if not connection.ended:
                await reply.send(Payload.of_json(self._failed(call, scene, error)))
            raise
        if call.id is not None:
            await reply.send(Payload.of_json(answer))
        elif reply.has_body:
            await reply.send({})

    def _read_state(self, call: Call, connection: Connection) -> State | None:
        if call.state is None:
            return None
        most = self._settings.max_state_size
        if len(call.state) > most:
            connection.count_reaction("max_state_size")
            raise RemoteProtocolError(f"State has exceeded the maximum length of {most} bytes.", status=500)
        try:
            if not is_too_deep(call.state):
                return State(call.state)
        except msgspec.DecodeError:
            pass
        raise RemoteProtocolError(f"State must be an object of no more than {DEPTH} levels.", status=500)

    def _check(self, call: Call, connection: Connection, member: Member) -> None:
        """Raises HubError, so that the caller can read why."""
        settings = self._settings
        limit, most = "", ""
        if settings.max_call_rate and not member.has_allowance(settings.max_call_rate, self._clock()):
            limit, most = "max_call_rate", f"{settings.max_call_rate:g} calls a second"
        elif len(call.arguments) > settings.max_call_arguments:
            limit, most = "max_call_arguments", f"{settings.max_call_arguments} arguments"
        elif settings.max_argument_size is not None:
            if any(len(bytes(one)) > settings.max_argument_size for one in call.arguments):
                limit, most = "max_argument_size", f"{settings.max_argument_size} bytes in one argument"
        if limit:
            connection.count_reaction(limit)
            raise HubError(f"More than {most} ({limit}).")

    async def _run_call(self, call: Call, hub: DescribedHub, scene: CallScene) -> Any:
        method = hub.find(call.method, len(call.arguments))
        request = scene.connection.request
        if (hub.calls_rules or method.rules) and not await self._allows([*hub.calls_rules, *method.rules], request):
            raise NotAuthorized(f"Caller is not authorized to invoke the {method.name} method on {hub.name}.")
        if call.may_be_deep and any(is_too_deep(bytes(json)) for json in call.arguments):
            raise BindingError("an argument is nested too deep")
        arguments = method.signature.bind(call.arguments)
        instance = self._make(hub.hub)
        instance._scene = scene
        if method.is_stream:
            raise HubError(f"{method.name} gives a stream, which clients of this wire cannot take.")
        if method.signature.progress is None and not self._filters and method.is_async:
            return await method.function(instance, *arguments)
        progress = Progress[Any](partial(self._report, call, scene))
        try:
            named = {method.signature.progress: progress} if method.signature.progress else {}
            run = partial(_run, method.function, instance)
            return await through(self._filters, HubCall(instance, method.name, arguments, scene.context), run, named)
        finally:
            progress._finish()

    async def _report(self, call: Call, scene: CallScene, value: Any) -> None:
        if call.id is not None:
            payload = Payload.of_json(write_progress(ProgressReport(call.id, value)))
            await self.send(scene.connection.id, payload)

    def _failed(self, call: Call, scene: CallScene | None, error: BaseException) -> bytes:
        what = f"{call.hub}.{call.method}"
        generic = f"There was an error invoking Hub method '{what}'."
        if isinstance(error, HubError):
            failure = Failure(str(error) or type(error).__name__, True, error.data)
        else:
            if isinstance(error, MethodNotFound | BindingError | NotAuthorized | RemoteProtocolError):
                _logger.warning("a call of %s was refused: %s", _shown(what), _shown(str(error)))
            else:
                _logger.error("a call of %s failed", _shown(what), exc_info=error)
            meant_for_peers = isinstance(error, RemoteProtocolError) or self._settings.detailed_errors
            failure = Failure((meant_for_peers and str(error)) or generic)
        try:
            return write_outcome(Outcome(call.id or "", None, None if scene is None else scene.changes(), failure))
        except Exception:  # its text, its data or the state has no JSON form
            _logger.exception("the answer to a call of %s has no JSON form", _shown(what))
            return write_outcome(Outcome(call.id or "", None, None, Failure(generic, failure.deliberate)))


def _shown(text: str) -> str:
    """As it may stand in a log, whatever a client wrote: on one line, and not for long."""
    return repr(text if len(text) <= 300 else f"{text[:300]}…")[1:-1]


def _all_rules(hub: DescribedHub) -> Iterable[Rule]:
    yield from hub.calls_rules
    for methods in hub.methods.values():
        for method in methods:
            yield from method.rules


def _maker(factory: Factory | None) -> Callable[[type[Hub[Any]]], Hub[Any]]:
    """How to make an instance of a hub: by its class, or by a factory that is given the class if it takes something."""
    if factory is None:
        return lambda hub: hub()
    try:
        inspect.signature(factory).bind(Hub)
    except TypeError:
        return lambda hub: factory()
    return factory


async def _run(function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """A plain function runs in a worker thread."""
    if inspect.iscoroutinefunction(function):
        return await function(*args, **named)
    result = await anyio.to_thread.run_sync(partial(function, *args, **named))
    return await result if inspect.isawaitable(result) else result
