"""Bugs on purpose: each changes one thing in the core, as an engineer's mistake would, and is to be found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from persistconn.bus import topics
from persistconn.bus.topics import Topics
from persistconn.protocol import Connected, Gap, server
from persistconn.protocol.classic_requests import ClassicRequests
from persistconn.protocol.delivery import Delivery
from persistconn.protocol.lifecycle import Lifecycle

__all__ = ["PLANTED", "Planted", "planter", "wrap"]


@dataclass(frozen=True)
class Planted:
    """A bug: its name, how to plant it, and the rules by which it may show."""

    name: str
    plant: Callable[[pytest.MonkeyPatch], None]
    shows: frozenset[str]
    dialects: tuple[str, ...]
    """What the clients speak that have to find it."""


_Plant = Callable[[pytest.MonkeyPatch], None]


def planter(into: list[Planted], *dialects: str) -> Callable[..., Callable[[_Plant], None]]:
    """Makes a decorator for functions that plant a bug; its arguments are the rules by which the bug may show."""

    def planted(*shows: str) -> Callable[[_Plant], None]:
        def remember(plant: _Plant) -> None:
            into.append(Planted(plant.__name__, plant, frozenset(shows), dialects))

        return remember

    return planted


PLANTED: list[Planted] = []
_planted = planter(PLANTED, "classic")


def wrap(patch: pytest.MonkeyPatch, owner: Any, name: str, replacement: Callable[..., Any]) -> None:
    """Replace a method; the replacement gets the original first."""
    original = getattr(owner, name)
    patch.setattr(owner, name, lambda *given, **named: replacement(original, *given, **named))


# Cursors ----------------------------------------------------------------------------------------


@_planted("silent loss", "ring", "recovered", "gap size")
def cursor_one_too_far(patch: pytest.MonkeyPatch) -> None:
    def quoted(original: Any, self: Any, session: Any, cursor: Any, otherwise: int) -> int:
        return int(original(self, session, cursor, otherwise)) + (cursor is not None)

    wrap(patch, ClassicRequests, "_quoted", quoted)


@_planted("order")
def cursor_one_too_short(patch: pytest.MonkeyPatch) -> None:
    def quoted(original: Any, self: Any, session: Any, cursor: Any, otherwise: int) -> int:
        return max(session.origin, int(original(self, session, cursor, otherwise)) - (cursor is not None))

    wrap(patch, ClassicRequests, "_quoted", quoted)


@_planted("order")
def sent_back_by_a_late_poll(patch: pytest.MonkeyPatch) -> None:
    def quoted(original: Any, self: Any, session: Any, cursor: Any, otherwise: int) -> int:
        is_newer = cursor is not None and self._is_ours(cursor) and cursor[1] >= session.told
        return session.position if is_newer else int(original(self, session, cursor, otherwise))

    wrap(patch, ClassicRequests, "_quoted", quoted)


@_planted("silent loss", "ring")
def position_confirmed_when_it_is_written(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, ClassicRequests, "_quoted", lambda original, self, session, cursor, otherwise: session.position)


@_planted("silent loss", "recovered", "ring")
def acknowledged_early(patch: pytest.MonkeyPatch) -> None:
    def pull(original: Any, self: Any, reader: Any) -> Any:
        for topic in reader.memberships:
            while len(topic.readers) == 1 and topic.ring and topic.ring[0].position <= reader.position:
                self._forget_front(topic, "age")
                topic.forgotten = 0
        return original(self, reader)

    wrap(patch, Topics, "pull", pull)


@_planted("silent loss", "gap size", "groups token", "recovered", "order", "audience")
def epoch_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(server, "new_epoch", lambda entropy: "aaaaaaaa")


# Rings ------------------------------------------------------------------------------------------


@_planted("silent loss")
def ring_wraps_without_a_trace(patch: pytest.MonkeyPatch) -> None:
    def drop(original: Any, self: Any, topic: Any, *more: Any) -> None:
        original(self, topic, *more)
        topic.lost.pop()

    wrap(patch, Topics, "_drop", drop)


@_planted("ring", "slow")
def ring_too_small(patch: pytest.MonkeyPatch) -> None:
    def post(original: Any, self: Any, topic: Any, *more: Any) -> Any:
        made = original(self, topic, *more)
        while len(topic.ring) > self._settings.ring_messages - 8:
            self._drop(topic, "ring_messages")
        return made

    wrap(patch, Topics, "post", post)


@_planted("audience")
def exclude_ignored_on_replay(patch: pytest.MonkeyPatch) -> None:
    def visible(original: Any, position: int, exclude: Any, intervals: Any, reader_id: str) -> bool:
        return bool(original(position, None, intervals, reader_id))

    wrap(patch, topics, "visible", visible)


@_planted("audience")
def membership_ignored_on_replay(patch: pytest.MonkeyPatch) -> None:
    def visible(original: Any, position: int, exclude: Any, intervals: Any, reader_id: str) -> bool:
        return bool(original(position, exclude, (-1,), reader_id))

    wrap(patch, topics, "visible", visible)


@_planted("order", "silent loss", "ring")
def batch_not_in_one_order(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(topics, "_position", lambda post: (post.position % 2, post.position))


# Gaps -------------------------------------------------------------------------------------------


@_planted("silent loss")
def gap_not_reported(patch: pytest.MonkeyPatch) -> None:
    def queue(original: Any, self: Any, session: Any, *events: Any) -> None:
        original(self, session, *(event for event in events if not isinstance(event, Gap)))

    wrap(patch, Lifecycle, "_queue", queue)


@_planted("gap size", "silent loss")
def gap_size_wrong_by_one(patch: pytest.MonkeyPatch) -> None:
    def missed(original: Any, *given: Any) -> int | None:
        count: int | None = original(*given)
        return count and count + 1

    wrap(patch, Topics, "_missed", missed)


@_planted("silent loss", "ring", "recovered")
def always_recovered(patch: pytest.MonkeyPatch) -> None:
    def reconnected(original: Any, self: Any, session: Any, recovered: bool, missed: Any) -> None:
        original(self, session, True, 0)

    wrap(patch, Lifecycle, "reconnected", reconnected)


# Transmits --------------------------------------------------------------------------------------


@_planted("rule 2", "LocalProtocolError")
def end_before_sent(patch: pytest.MonkeyPatch) -> None:
    def finish(original: Any, self: Any, session: Any, *more: Any) -> None:
        session.exchange.in_flight = 0
        original(self, session, *more)

    wrap(patch, Delivery, "_finish", finish)


@_planted("rule 2", "LocalProtocolError")
def two_transmits_in_flight(patch: pytest.MonkeyPatch) -> None:
    def look_at(original: Any, self: Any, session: Any) -> None:
        if session.exchange is not None:
            session.exchange.in_flight = 0
        original(self, session)

    wrap(patch, Delivery, "look_at", look_at)


# Life -------------------------------------------------------------------------------------------


@_planted("once")
def connected_twice(patch: pytest.MonkeyPatch) -> None:
    def begin(original: Any, self: Any, session: Any, request: Any) -> None:
        original(self, session, request)
        self._queue(session, Connected(session.id, session.route, request))

    wrap(patch, Lifecycle, "begin", begin)


@_planted("timed out")
def timed_out_never_fires(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Lifecycle, "_arm_absence", lambda original, self, session: None)


@_planted("rule 3", "LocalProtocolError")
def callbacks_overlap(patch: pytest.MonkeyPatch) -> None:
    def receive(original: Any, self: Any, session: Any, *more: Any) -> None:
        session.event = None
        original(self, session, *more)

    wrap(patch, Lifecycle, "receive", receive)


@_planted("revived")
def ended_ids_forgotten(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Lifecycle, "remember", lambda original, *given: None)


@_planted("groups token")
def groups_token_not_repeated_after_a_loss(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, ClassicRequests, "_has_confirmed", lambda original, *given: True)


@_planted("memory")
def readers_never_removed(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Topics, "remove", lambda original, self, reader: None)
