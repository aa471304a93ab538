"""A session: what it may do next, as two tables, the rules that join them, and the timers of each state.

*Link*: is anybody on the line? *App*: what has the application been told? Neither knows the other;
`JOINT` couples them, applied until nothing changes. A move that is in no table is a bug of ours and raises.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from ..bus.topic import Reader, Topic
from ..errors import LocalProtocolError
from ..wire.dialect import Traits
from ..wire.format import RAW_TEXT
from ..wire.http import Message, Request
from .outputs import AppEvent, DisconnectReason
from .replay import Replay

if TYPE_CHECKING:
    from .exchange import Exchange
    from .statistics import Tally

__all__ = ["APP", "JOINT", "LINK", "TIMERS", "App", "AppInput", "Due", "Link", "LinkInput", "Session"]


class Link(Enum):
    """Is anybody on the line?"""

    IDLE = "known, but no transport has come yet"
    ATTACHED = "a transport carries it"
    DETACHED = "between two transports, or lost"
    GONE = "over"

    __hash__ = object.__hash__  # one of its own costs half a microsecond


class LinkInput(Enum):
    """What can happen to a link."""

    ATTACH = "a transport came"
    RELEASE = "the transport ended or was lost"
    EXPIRE = "nobody came in time"
    HANG_UP = "one side ended the connection"

    __hash__ = object.__hash__  # one of its own costs half a microsecond


class App(Enum):
    """What has the application been told?"""

    UNBORN = "nothing"
    STARTING = "it is being told of the connection"
    LIVE = "it knows the connection"
    ENDING = "it is being told of the end"
    DEAD = "it has been told all, or nothing and never will be"

    __hash__ = object.__hash__  # one of its own costs half a microsecond


class AppInput(Enum):
    """What can happen to the application's side."""

    BEGIN = "tell it"
    COMPLETED = "it has dealt with the beginning, or with the end"
    END = "tell it of the end"
    FORGET = "never tell it"

    __hash__ = object.__hash__  # one of its own costs half a microsecond


LINK: Final = {
    (Link.IDLE, LinkInput.ATTACH): Link.ATTACHED,
    (Link.IDLE, LinkInput.EXPIRE): Link.GONE,
    (Link.IDLE, LinkInput.HANG_UP): Link.GONE,
    (Link.ATTACHED, LinkInput.ATTACH): Link.ATTACHED,  # the older exchange is ended first
    (Link.ATTACHED, LinkInput.RELEASE): Link.DETACHED,
    (Link.ATTACHED, LinkInput.HANG_UP): Link.GONE,
    (Link.DETACHED, LinkInput.ATTACH): Link.ATTACHED,
    (Link.DETACHED, LinkInput.EXPIRE): Link.GONE,
    (Link.DETACHED, LinkInput.HANG_UP): Link.GONE,
}

APP: Final = {
    (App.UNBORN, AppInput.BEGIN): App.STARTING,
    (App.UNBORN, AppInput.FORGET): App.DEAD,
    (App.STARTING, AppInput.COMPLETED): App.LIVE,
    (App.LIVE, AppInput.END): App.ENDING,
    (App.ENDING, AppInput.COMPLETED): App.DEAD,
}

JOINT: Final = {
    (Link.GONE, App.UNBORN): AppInput.FORGET,
    (Link.GONE, App.LIVE): AppInput.END,
    # (GONE, STARTING) waits for COMPLETED
}

TIMERS: Final[dict[Link, tuple[str, ...]]] = {
    Link.IDLE: ("disconnect",),
    Link.ATTACHED: ("pulse", "poll", "write"),
    Link.DETACHED: ("disconnect",),
    Link.GONE: (),
}
"""The timers that may be armed in a state; leaving it disarms them. `groups` belongs to all but GONE."""


class Due:
    """What has to be in the next envelope beside messages: bits of an int, for an IntFlag costs 20 times as much."""

    NOTHING: Final = 0
    INIT: Final = 1
    """The envelope that begins a transport (`S`)."""
    GROUPS: Final = 2
    """A new groups token (`G`)."""
    ANSWER: Final = 4
    """A long poll has to be answered, if only with nothing."""
    HINT: Final = 8
    """Come back: we are going away (`T`)."""
    FAREWELL: Final = 16
    """Do not come back (`E`)."""


class Held(NamedTuple):
    """A request that is not answered before there is room for its data."""

    exchange: Exchange
    data: str | bytes


class Session(Reader):
    """A logical connection; outlives its exchanges. It reads its topics from its position on."""

    __slots__ = (
        "ahead",
        "ahead_bytes",
        "app",
        "awaited",
        "began",
        "due",
        "event",
        "exchange",
        "farewell",
        "format",
        "groups_position",
        "groups_version",
        "held",
        "inbox",
        "key",
        "link",
        "origin",
        "owes_groups",
        "own",
        "place",
        "reason",
        "replies",
        "replies_bytes",
        "replies_position",
        "replay",
        "request",
        "route",
        "starts",
        "stateful",
        "streams",
        "tally",
        "told",
        "traits",
        "transport",
        "untold",
        "user",
    )

    def __init__(
        self, id: str, position: int, route: str, request: Request, user: str, traits: Traits, tally: Tally
    ) -> None:
        super().__init__(id, position)
        self.route = route
        self.request = request
        """The request of its newest transport."""
        self.user = user
        self.streams = request.query.get("transport", "").lower() != "longpolling"
        """Its newest transport takes many envelopes per exchange."""
        self.traits = traits
        self.tally = tally
        """Where it is counted: for its dialect and its newest transport."""
        self.began: float | None = None  # when its first transport came
        self.link = Link.IDLE
        self.app = App.UNBORN
        self.origin = position
        """Where it began: a client that has confirmed nothing gets everything from here."""
        self.told = -1
        """The newest position told to the client (-1: none); nothing for it lies between this and `position`."""
        self.exchange: Exchange | None = None
        self.due: int = Due.NOTHING
        self.replies: list[Message] | None = None
        """Messages that travel outside envelopes."""
        self.replies_bytes = self.replies_position = 0
        """What was posted up to here leaves before them."""
        self.farewell = ""
        """The text of a FAREWELL."""
        self.own: Topic | None = None
        """The topic only it reads, once something was sent to it."""
        self.ahead = self.ahead_bytes = 0
        """At most so many posts of its own topic has it not been handed: a bound, counted anew when it is high."""
        self.awaited = False
        """A sender waits until it has caught up."""
        self.groups_version = self.groups_position = 0
        """Where its groups changed last: a client that quotes this or more knows of it."""
        self.owes_groups = False
        """It was adopted because of a `/send`, which names no groups; its next transport will."""
        self.untold: int | None = 0
        """What it missed before the application knew of it; None: more than can be counted."""
        self.inbox: deque[AppEvent] | None = None
        """Events that wait for the one in flight (rule 3)."""
        self.event: AppEvent | None = None
        """The event in flight."""
        self.starts: list[Exchange] | None = None
        """The `/start` requests that wait until the application knows the connection."""
        self.reason = DisconnectReason.closed
        # ASP.NET Core only:
        self.key = b""  # under which it is found by its token
        self.place = ""
        """What stood between the path of the route and the end of the URL: a hub's name."""
        self.transport: str | None = None
        """Its transport, which does not change."""
        self.stateful = False
        """The client negotiated stateful reconnect."""
        self.replay: Replay | None = None
        """Keeps what the client may not have, once stateful reconnect is on."""
        self.format = RAW_TEXT
        self.held: deque[Held] | None = None
        """Requests whose data finds no room in the inbox."""

    def turn(self, what: LinkInput) -> None:
        """Move the link by the table."""
        after = LINK.get((self.link, what))
        if after is None:
            raise LocalProtocolError(f"connection {self.id}: {what.name} is not possible in {self.link.name}")
        self.link = after

    def tell(self, what: AppInput) -> None:
        """Move the application's side by the table."""
        after = APP.get((self.app, what))
        if after is None:
            raise LocalProtocolError(f"connection {self.id}: {what.name} is not possible in {self.app.name}")
        self.app = after

    def settle(self) -> AppInput | None:
        """Apply the joint rule of the two states, if there is one, and say which."""
        rule = JOINT.get((self.link, self.app))
        if rule is not None:
            self.tell(rule)
        return rule

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.link.name} {self.app.name}>"
