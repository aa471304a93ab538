"""What a batch of posts looks like to those who get it: one envelope on classic, units of frames on ASP.NET Core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from ..bus.post import Encoded, Post
from ..bus.topic import groups_of
from ..bus.topics import Batch
from ..settings import Settings
from ..wire.classic import format_cursor
from ..wire.classic_answers import envelope, plain_envelope
from ..wire.http import Chunk, Message, Piece
from ..wire.tokens import Tokens
from ..wire.transports import Framing
from .replay import Replay
from .session import Due, Session

__all__ = ["Aftermath", "Batches", "size_of", "units", "within_reach"]

_UNIT: Final = 262_144
"""Frames are joined up to so many bytes: pysignalr takes no WebSocket message over 1 MiB (hub protocol §13, 45)."""


def units(framing: Framing, payloads: Sequence[Encoded]) -> list[Piece]:
    """Whole frames, in as few units of the transport as may be; a long poll is always a single one."""
    format = framing.format
    assert format is not None
    forms = [payload.form(format.name) for payload in payloads]
    if len(forms) < 2 or not framing.streaming:
        return [framing.frame(b"".join(forms))] if forms else []
    if not format.whole:
        return [framing.frame(form) for form in forms]
    joined: list[list[bytes]] = [[]]
    size = 0
    for form in forms:
        size += len(form)
        if size > _UNIT and joined[-1]:
            joined.append([])
            size = len(form)
        joined[-1].append(form)
    return [framing.frame(b"".join(some)) for some in joined]


def within_reach(batch: Batch, replay: Replay, session: Session) -> Batch:
    """What may be handed out of a batch before its reader has acknowledged something; its frames are numbered here."""
    for count, post in enumerate(batch.posts):
        if post.payload.numbered:
            if replay.must_wait:
                return Batch(batch.posts[:count], post.position - 1, 0)  # what lies between is not for it
            replay.track(post.payload.form(session.format.name))
    return batch


class Aftermath(Struct):
    """What handing out batches did to sessions, for whoever keeps their states."""

    released: list[Session]
    """A long poll was answered: nobody is on the line."""
    gaps: list[tuple[Session, int | None]] = []
    """They fell out of the ring; nothing was handed out."""
    caught_up: list[Session] = []
    """Those with a waiting sender that were handed something."""


class Batches:
    """Puts posts into what their readers understand."""

    def __init__(self, settings: Settings, tokens: Tokens, epoch: str, wall: float) -> None:
        self._settings = settings
        self._tokens = tokens
        self._epoch = epoch
        self._wall = wall
        self.opening: Final = b'{"C":"%b-' % epoch.encode()
        """Of a classic envelope: all before its position."""

    def is_plain(self, framing: Framing) -> bool:
        """Nothing but the messages is in what these transports get."""
        return framing.streaming or not self._settings.long_poll_delay

    def nothing(self, position: int) -> bytes:
        """The classic envelope without messages."""
        return envelope(format_cursor(self._epoch, position))

    def own(self, session: Session, framing: Framing, posts: Sequence[Post], now: float) -> list[Piece]:
        """What one session gets of posts and of what is due, which is done with."""
        due, session.due = session.due, Due.NOTHING
        if framing.format is None:
            return [framing.frame(self._envelope(session, framing, posts, due, now))]
        pieces = units(framing, [post.payload for post in posts])
        if due & Due.FAREWELL and session.format.farewell is not None:
            pieces.append(framing.frame(session.format.farewell))
        return pieces

    def _envelope(self, session: Session, framing: Framing, posts: Sequence[Post], due: int, now: float) -> bytes:
        payloads = [post.payload.json for post in posts]
        if not due & ~Due.ANSWER and self.is_plain(framing):
            return plain_envelope(self.opening, session.position, payloads)
        return envelope(
            format_cursor(self._epoch, session.position),
            payloads,
            init=bool(due & Due.INIT),
            should_reconnect=bool(due & Due.HINT),
            groups_token=self._groups_token(session, now) if due & Due.GROUPS else None,
            poll_delay=0 if framing.streaming else self._settings.long_poll_delay,
            error=session.farewell if due & Due.FAREWELL else None,
            disconnect=bool(due & Due.FAREWELL) and not session.traits.needs_start,
        )

    def _groups_token(self, session: Session, now: float) -> str:
        return self._tokens.groups(
            session.route,
            session.id,
            session.user,
            groups_of(session, session.route),
            session.groups_version,
            self._wall + now + self._settings.groups_lifetime,
        )


def size_of(pieces: Sequence[Piece]) -> int:
    """Bytes that they carry for the client."""
    size = 0
    for piece in pieces:
        if isinstance(piece, Chunk | Message):
            size += len(piece.data)
    return size
