"""Whom users send to beside single connections: groups and topics, and the groups that one connection is in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from .bus.post import Encoded, Payload
from .bus.topic import group, named
from .outlet import Nothing

if TYPE_CHECKING:
    from .connection import Connection, PersistentConnection

__all__ = ["Group", "Groups", "Memberships", "Topics", "Who", "ids_of", "payload_of"]

Who: TypeAlias = "Iterable[str | Connection]"


def payload_of(data: Any) -> Encoded:
    """What is sent of `data`."""
    return data if isinstance(data, Encoded) else Payload(data)


def ids_of(who: Who) -> frozenset[str]:
    """The ids of connections, or of one alone."""
    if isinstance(who, str) or not isinstance(who, Iterable):
        who = (who,)
    return frozenset(one if isinstance(one, str) else one.id for one in who)


class Memberships:
    """The groups of one connection."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def join(self, name: str) -> Nothing:
        """From now on the connection gets what is sent to this group. Twice is once.

        Groups need not be declared, and end with their last member. Membership survives reconnects.
        """
        return self._connection._outlet.join(self._connection.id, name)

    def leave(self, name: str) -> Nothing:
        """From now on the connection gets nothing more from this group."""
        return self._connection._outlet.leave(self._connection.id, name)


class Group:
    """All connections that joined under one name, or that were subscribed to one topic."""

    __slots__ = ("_name", "_owner", "_topic")

    def __init__(self, owner: PersistentConnection, name: str, topic: Callable[[str, str], str] = group) -> None:
        self._owner = owner
        self._name = name
        self._topic = topic

    def send(self, data: Any, *, exclude: Who = ()) -> Nothing:
        """Send to every member, except to those in `exclude` (ids or connections). Waits for nobody."""
        owner = self._owner
        return owner._outlet.publish(self._topic(owner._route, self._name), payload_of(data), ids_of(exclude))


class Groups:
    """The groups of a PersistentConnection, by name."""

    __slots__ = ("_owner",)

    def __init__(self, owner: PersistentConnection) -> None:
        self._owner = owner

    def __getitem__(self, name: str) -> Group:
        return Group(self._owner, name)

    def join(self, connection_id: str, name: str) -> Nothing:
        """Put a connection into a group, from anywhere. An unknown id is no error."""
        return self._owner._outlet.join(connection_id, name)

    def leave(self, connection_id: str, name: str) -> Nothing:
        """Take a connection out of a group, from anywhere."""
        return self._owner._outlet.leave(connection_id, name)


class Topics:
    """The topics of a PersistentConnection, by name: see `PersistentConnection.subscriptions`."""

    __slots__ = ("_owner",)

    def __init__(self, owner: PersistentConnection) -> None:
        self._owner = owner

    def __getitem__(self, name: str) -> Group:
        return Group(self._owner, name, named)
