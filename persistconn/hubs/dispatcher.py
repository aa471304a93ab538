"""A PersistentConnection whose messages are calls of hubs, whichever dialect its clients speak."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any, Final, TypeAlias

from persistconn import (
    Connection,
    ConnectionClosed,
    DisconnectReason,
    Payload,
    PersistconnError,
    PersistentConnection,
    RemoteProtocolError,
    Request,
    Settings,
)

from .aspnetcore_calls import AspNetCoreCalls
from .aspnetcore_json import JsonProtocol
from .aspnetcore_messagepack import MessagePackProtocol
from .aspnetcore_reading import AspNetCoreReading
from .authorization import RolesOf
from .backstage import Backstage, Factory
from .calls import ClientCall
from .classic import read_hub_names, write_client_call
from .classic_calls import ClassicCalls
from .conversation import Conversation
from .described import DescribedHub, HubTable
from .filters import Filter
from .members import Member
from .messagepack_values import PYTHON, Conventions
from .messages import HubProtocol
from .scene import CallScene, HubStage

__all__ = ["Dispatcher", "Factory", "UserIdOf"]

_logger = logging.getLogger("persistconn.hubs")

_REMEMBERED: Final = 1_024
"""A longer list of hubs is read every time: what strangers send must not fill the memory."""

UserIdOf: TypeAlias = Callable[[Request], "str | None"]


class Dispatcher(PersistentConnection):
    """The hubs of one mount, on one connection per client."""

    raw_text = True
    cancels_received = True
    takes_parts = True
    resumable = True

    def __init__(
        self,
        table: HubTable,
        settings: Settings,
        *,
        factory: Factory | None = None,
        filters: Iterable[Filter] = (),
        user_id: UserIdOf | None = None,
        roles: RolesOf | None = None,
        messagepack: Conventions = PYTHON,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.table = table
        self.names: Collection[str] = {*table.hubs, *([""] if len(table.hubs) == 1 else [])}
        self._settings = settings
        self._user_id = user_id
        self._clock = clock
        self._backstage = Backstage(table, settings, clock, factory=factory, filters=filters, roles=roles)
        self._backstage.stages = {hub: HubStage(self, hub, self) for hub in table.hubs.values()}
        protocols: list[HubProtocol] = [JsonProtocol(), MessagePackProtocol(messagepack)]
        self._classic = ClassicCalls(self, self._backstage)
        self._aspnetcore = AspNetCoreCalls(self._backstage)
        self._reading = AspNetCoreReading(self._backstage, self._aspnetcore, protocols, self._topics)
        self._forms: dict[str, Callable[[Any], bytes]] = {one.name: partial(_written_late, one) for one in protocols}
        self._members: dict[str, Member] = {}
        self._named = lru_cache(1_024)(self._resolve)
        if any(hub.connect_rules for hub in table.hubs.values()):
            self.subscriptions = self._subscriptions_by_rules  # type: ignore[method-assign]  # which may wait

    def stage(self, hub: DescribedHub) -> HubStage:
        """How to reach the clients of a hub."""
        return self._backstage.stages[hub]

    # Who comes ----------------------------------------------------------------------------------

    def subscriptions(self, request: Request) -> Sequence[str] | Awaitable[Sequence[str]]:
        """The topics of the hubs that the client names; over there only the handshake makes it a client of them."""
        return [] if request.dialect == "aspnetcore" else self._all_topics(self._hubs_of(request), request)

    async def _subscriptions_by_rules(self, request: Request) -> Sequence[str]:
        allowed = await self._allowed(request)
        return [] if request.dialect == "aspnetcore" else self._all_topics(allowed, request)

    def _all_topics(self, hubs: Sequence[DescribedHub], request: Request) -> Sequence[str]:
        user = self._user_of(request)
        topics = [hub.name for hub in hubs]
        return topics if user is None else [*topics, *[f"{name}.{user}" for name in topics]]

    def _topics(self, hub: DescribedHub, request: Request) -> Sequence[str]:
        return self._all_topics([hub], request)

    def _user_of(self, request: Request) -> str | None:
        return request.user if self._user_id is None else self._user_id(request)

    def _hubs_of(self, request: Request) -> tuple[DescribedHub, ...]:
        if request.dialect == "aspnetcore":
            return (self._hub_at(request.path),)
        named = request.query.get("connectionData")
        return self._named(named) if named is None or len(named) <= _REMEMBERED else self._resolve(named)

    def _hub_at(self, path: str) -> DescribedHub:
        """The hub that an ASP.NET Core client asks for: what stands behind the path of the mount, if anything does."""
        parts = path.lower().strip("/").split("/")
        if parts[-1] in ("negotiate", "refresh"):
            del parts[-1]
        only = next(iter(self.table.hubs.values()))
        return self.table.hubs.get(parts[-1] if parts else "", only)

    def _resolve(self, connection_data: str | None) -> tuple[DescribedHub, ...]:
        hubs = tuple([self.table.find(name) for name in read_hub_names(connection_data)])
        if len(set(hubs)) < len(hubs):
            raise RemoteProtocolError("Duplicate Hub names found.", status=500)
        return hubs

    async def _allowed(self, request: Request) -> tuple[DescribedHub, ...]:
        """The hubs that the client names and may connect to. RemoteProtocolError if there are some, but none for it."""
        named = self._hubs_of(request)
        allowed = [hub for hub in named if await self._backstage.allows(hub.connect_rules, request)]
        if named and not allowed:
            status = 401 if request.user is None else 403
            raise RemoteProtocolError("You may not connect to these hubs.", status=status)
        return tuple(allowed)

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
        """Every hub that the client named hears of it, until one fails, which refuses the client.

        A client of ASP.NET Core has a handshake before it.
        """
        if connection.dialect == "aspnetcore":
            hub = self._hub_at(connection.request.path)
            self._members[connection.id] = self._reading.begin(connection, hub)
            return
        member = self._member(connection)
        for count, hub in enumerate(member.hubs, 1):
            member.told = member.hubs[:count]
            await self._tell(hub, connection, "on_connected")

    async def on_received(self, connection: Connection, data: Any) -> None:
        """A call, or a part of what is said on the other wire."""
        member = self._members.get(connection.id) or self._member(connection)
        if type(member) is Conversation:
            await self._reading.receive(member, data)
        else:
            await self._classic.receive(connection, member, data)

    async def on_alarm(self, connection: Connection) -> None:
        """Something is due."""
        member = self._members.get(connection.id)
        if type(member) is Conversation:
            await self._reading.tick(member)

    async def on_reconnected(self, connection: Connection) -> None:
        """Every hub hears of it."""
        member = self._member(connection)
        if type(member) is Conversation:
            member.session.reconnected()
        for hub in member.hubs:
            await self._tell(hub, connection, "on_reconnected")

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        """Calls that still run are cancelled; every hub hears of it, whatever the others make of it."""
        member = self._members.pop(connection.id, None)
        if member is None:
            return
        if type(member) is Conversation:
            reason = member.reason or reason
            await self._reading.end(member)
        else:
            await member.end_calls()
        for hub in member.told:
            try:
                await self._tell(hub, connection, "on_disconnected", reason)
            except Exception:
                id, extra = connection.id, connection.log_extra
                _logger.exception("on_disconnected of %s, connection %s, failed", hub.name, id, extra=extra)

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
        return await self._backstage.tell(hub, CallScene(self.stage(hub), connection), moment, *args)

    # What hubs ask: see Wires -------------------------------------------------------------------

    def uses(self, connection_id: str, hub: DescribedHub) -> bool:
        """A connection named this hub."""
        member = self._members.get(connection_id)
        return member is not None and hub in member.hubs

    def write(self, call: ClientCall) -> Payload:
        """A call of clients, in the formats that they speak; a TypeError belongs to who makes the call."""
        forms = self._forms
        if self._reading.spoken:
            written = {one.name: _frame(one, call) for one in self._reading.spoken}
            forms = {**forms, **{name: partial(_ready, frame) for name, frame in written.items()}}
        return Payload.of_forms(call, forms, json=write_client_call(call))

    async def ask(self, hub: DescribedHub, id: str, call: ClientCall, returns: Any, timeout: float | None) -> Any:
        """Call a client, and give what it returns."""
        member = self._members.get(id)
        if member is None or hub not in member.hubs:
            raise ConnectionClosed(f"Connection '{id}' does not exist.")
        if type(member) is not Conversation:
            raise PersistconnError(
                f"{call.method} was to return a value, but clients of the classic wire cannot return any: "
                "call a method of the hub"
            )
        return await self._aspnetcore.ask(member, call, returns, timeout)

    async def abort(self, connection: Connection) -> None:
        """End a connection for good."""
        member = self._members.get(connection.id)
        if type(member) is Conversation:
            await self._reading.abort(member)
        else:
            await connection.close()


def _frame(protocol: HubProtocol, call: ClientCall) -> bytes:
    return protocol.invocation(call.method, call.arguments)


def _ready(frame: bytes, _: ClientCall) -> bytes:
    return frame


def _written_late(protocol: HubProtocol, call: ClientCall) -> bytes:
    """For the first client of a format, who came after the call was made: nobody is left to be told of an error."""
    try:
        return _frame(protocol, call)
    except TypeError:
        _logger.exception("a call of %s has no form in %s", call.method, protocol.name)
        return protocol.ping()
