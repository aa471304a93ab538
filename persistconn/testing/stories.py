"""What is known of one connection id, and the word for what must not happen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from .rings import Report

if TYPE_CHECKING:
    from .links import Line

__all__ = ["Arrival", "Attachment", "Broken", "Phase", "Story", "Token"]


class Broken(AssertionError):
    """A sentence of the promise does not hold. `rule` is its short name."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule
        self.what = what

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.rule, self.what)  # a pool of processes hands it on


class Phase(Enum):
    """What the application knows of a connection in this process."""

    UNKNOWN = "unknown"
    NEW = "new"
    CONNECTED = "connected"
    OVER = "over"


@dataclass(slots=True)
class Attachment:
    """A receive request that the server has let in, by the number of its line."""

    line: int
    seen: int
    """How much of `Story.expected` the client had seen when it quoted its cursor."""
    is_stale: bool
    """The client has seen more since it made the request: another one overtook it."""


@dataclass(slots=True)
class Arrival:
    """A message from the client that has reached the server and waits for `Received`."""

    line: int
    text: str
    may_vanish: bool = False
    """Its request was refused or lost before the application got it."""


@dataclass(frozen=True, slots=True)
class Token:
    """A groups token: whose, from when, and for which groups (one of these sets)."""

    owner: str
    time: float
    groups: tuple[frozenset[str], ...]


class Story:
    """All that is known about one connection id."""

    __slots__ = (
        "arrivals",
        "attached_line",
        "attachments",
        "committed",
        "detached_at",
        "dialect",
        "ending",
        "expected",
        "final",
        "final_until",
        "groups",
        "has_lost",
        "has_rejoined",
        "id",
        "is_deaf",
        "is_stateful",
        "lately",
        "must_end",
        "once_in",
        "owed",
        "phase",
        "reports",
        "vague",
        "running",
        "seen",
    )

    def __init__(self, id: str) -> None:
        self.id = id
        self.phase = Phase.UNKNOWN
        self.groups: set[str] = set()
        self.once_in: set[str] = set()
        """Topics of groups it has left."""
        self.lately: list[frozenset[str]] = []
        """What `groups` was in the course of its last change."""
        self.expected: list[int] = []
        """Every publication this connection should see, in order."""
        self.seen = 0
        """How far in `expected` the client's application is."""
        self.reports: list[Report] = []
        self.vague = 0
        """The newest publication when a loss of unknown size was told."""
        """What the application was told of losses, as far as the client has not passed it."""
        self.has_rejoined = False
        self.has_lost = False
        """Something of this life was lost."""
        self.owed: list[int] = []
        """Losses that show already, while the application is still busy with something else."""
        self.attachments: dict[int, Attachment] = {}
        self.attached_line: int | None = None
        self.detached_at: float | None = None
        self.running: str | None = None
        """The callback that has not completed."""
        self.arrivals: list[Arrival] = []
        self.ending = False
        """The client or the application has asked for its end."""

        # Of ASP.NET Core only:
        self.dialect = "classic"
        self.is_deaf = False
        """It reads nothing before its handshake."""
        self.is_stateful = False
        """Stateful reconnect is on: it outlives its socket."""
        self.must_end = False
        """Its client has gone for good, and the server knows."""
        self.final: int | None = None
        """How much of `expected` there was when the application ended it; the client has to get that."""
        self.final_until = 0.0
        """Until then a poll is told so."""
        self.committed: dict[int, Line] = {}
        """Publications that were the answer to a poll, and on which line."""

    @property
    def is_known(self) -> bool:
        """This process has a session for it."""
        return self.phase is Phase.NEW or self.phase is Phase.CONNECTED
