"""A topic: its name, its ring of recent posts, and those who read it."""

from __future__ import annotations

from array import array
from collections import deque
from typing import Any, Final

from .intervals import Intervals, Spans
from .post import Post

__all__ = ["Reader", "Topic", "connection", "everyone", "group", "groups_of", "named", "named_of"]

_PRIVATE: Final = "connection:"


def everyone(route: str) -> str:
    """The topic that all connections of a route read.

    >>> everyone("/echo")
    'all:/echo'
    """
    return f"all:{route}"


def group(route: str, name: str) -> str:
    """The topic of a group; the two lengths never mix, since a route holds no line feed.

    >>> group("/echo", "lobby")
    'group:/echo\\nlobby'
    """
    return f"group:{route}\n{name}"


def named(route: str, name: str) -> str:
    """The topic of those whom the application has chosen when they came; no token speaks of it.

    >>> named("/chat", "red")
    'topic:/chat\\nred'
    """
    return f"topic:{route}\n{name}"


def connection(connection_id: str) -> str:
    """The topic of one connection.

    >>> connection("4b1c")
    'connection:4b1c'
    """
    return f"{_PRIVATE}{connection_id}"


def groups_of(reader: Reader, route: str) -> tuple[str, ...]:
    """The names of the groups of `route` that `reader` is in now, sorted."""
    prefix = group(route, "")
    return tuple(
        sorted(
            topic.name.removeprefix(prefix)
            for topic, intervals in reader.memberships.items()
            if len(intervals) % 2 and topic.name.startswith(prefix)
        )
    )


def named_of(reader: Reader, route: str) -> tuple[str, ...]:
    """What was chosen for `reader` when it came, in that order."""
    prefix = named(route, "")
    return tuple(topic.name.removeprefix(prefix) for topic in reader.memberships if topic.name.startswith(prefix))


class Topic:
    """A ring of posts and those who read it."""

    __slots__ = ("bytes", "excludes", "forgotten", "head", "is_private", "lost", "name", "news", "readers", "ring")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_private = name.startswith(_PRIVATE)
        """It is the topic of one connection, so nobody else reads it."""
        self.ring: deque[Post] = deque()
        self.news: list[Post] | None = None
        """Posts since `take_news`."""
        self.lost: array[int] | None = None
        """Positions of posts that the ring has dropped, the oldest first, so that a gap can be counted."""
        self.excludes: dict[int, frozenset[str]] | None = None
        """Who was excluded from which of them."""
        self.bytes = 0
        """Of what is in the ring."""
        self.head = 0
        """Position of the newest post ever."""
        self.forgotten = 0
        """Position of the newest post of which nothing is known any more."""
        self.readers: dict[Any, None] = {}
        """Readers, in the order they came; the endpoint's are its sessions."""

    def __repr__(self) -> str:
        return f"<Topic {self.name.splitlines()[0]} {len(self.ring)} posts, {len(self.readers)} readers>"


class Reader:
    """Somebody who reads topics: an id, a position, and memberships over time."""

    __slots__ = ("accounted", "id", "memberships", "position")

    def __init__(self, id: str, position: int) -> None:
        self.id = id
        self.position = position
        """Everything up to here has been handed out, or was not for this reader."""
        self.memberships: dict[Topic, Intervals] = {}
        self.accounted: dict[Topic, Spans] | None = None
        """Which losses have been reported, per topic that lost something; a cursor may go back behind them."""
