"""What classic clients ask for, carried out: negotiate, ping, and everything with a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from ..bus.post import Encoded
from ..bus.topic import groups_of
from ..errors import RemoteProtocolError
from ..settings import Settings
from ..wire import classic
from ..wire.classic import Abort, Attach, Negotiate, Ping, Send, Start
from ..wire.classic_answers import (
    aborted,
    empty_answer,
    envelope,
    json_answer,
    negotiate_answer,
    pong,
    refusal,
    started,
    text_answer,
)
from ..wire.http import End, Head, RawHeaders
from ..wire.tokens import GroupsToken, Tokens, new_connection_id
from .admission import ADMITTED, Admission, Newcomers, refused
from .exchange import Exchange
from .outputs import DisconnectReason
from .session import App, Due, Link, Session

if TYPE_CHECKING:
    from .reception import Route

__all__ = ["ClassicRequests"]

Cursor: TypeAlias = tuple[str, int]

_ENDED = "This connection has ended."
_RETRY: RawHeaders = ((b"Retry-After", b"5"),)


class ClassicRequests:
    """Requests of the classic dialect."""

    def __init__(self, settings: Settings, tokens: Tokens, epoch: str, wall: float, newcomers: Newcomers) -> None:
        self._settings = settings
        self._tokens = tokens
        self._epoch = epoch
        self._wall = wall
        self._newcomers = newcomers
        self._topics = newcomers.topics
        self._delivery = newcomers.delivery
        self._lifecycle = newcomers.lifecycle

    def take(self, exchange: Exchange, route: Route, admission: Admission) -> None:
        """Answer a request, or let its exchange carry a session. Raises RemoteProtocolError."""
        extra = exchange.extra
        try:
            intent = classic.read_request(exchange.request, route.path, self._settings)
        except RemoteProtocolError as error:
            # The JSONP gate stands before everything else; of other mistakes only those who are let in learn.
            if error.status == 403 or admission.status == 200:
                raise
            intent = None
        if intent is None or admission.status != 200:
            self._delivery.answer(exchange, refused(admission, extra))
        elif isinstance(intent, Negotiate):
            self._negotiate(exchange, route, intent, admission, extra)
        elif isinstance(intent, Ping):
            self._delivery.answer(exchange, json_answer(pong(), intent.callback, extra))
        else:
            self._by_token(exchange, route, intent, admission, extra)

    def _negotiate(
        self, exchange: Exchange, route: Route, intent: Negotiate, admission: Admission, extra: RawHeaders
    ) -> None:
        if self._newcomers.refuses(exchange):
            return
        user = exchange.request.user
        told = admission.error is not None or admission.redirect_url is not None
        if told and not intent.version.knows_redirects:
            text = admission.error or "This client cannot follow a redirect: it speaks a protocol below 2.0."
            raise RemoteProtocolError(text, status=403)
        connection_id = new_connection_id(self._newcomers.entropy)
        body = negotiate_answer(
            intent.url,
            connection_id,
            self._tokens.connection(route.path, connection_id, user),
            intent.version,
            self._settings,
            error=admission.error,
            redirect_url=admission.redirect_url,
            access_token=admission.access_token,
            try_websockets="webSockets" in route.transports,
        )
        self._delivery.answer(exchange, json_answer(body, intent.callback, extra))

    # Requests with a token ----------------------------------------------------------------------

    def _by_token(
        self,
        exchange: Exchange,
        route: Route,
        intent: Start | Send | Abort | Attach,
        admission: Admission,
        extra: RawHeaders,
    ) -> None:
        request = exchange.request
        told = self._tokens.read_connection(route.path, intent.token)
        if told is None:
            raise RemoteProtocolError(classic.INCORRECT_ID)
        id, user = told
        if user != (request.user or "") and not classic.same_user(user, request.user):
            raise RemoteProtocolError(classic.USER_CHANGED, status=403)
        if self._topics.news or self._delivery.ready:
            self._lifecycle.flush()  # what was sent before may leave on what is displaced now, or end the connection
        session = self._lifecycle.sessions.get(id)
        if isinstance(intent, Abort):
            self._abort(exchange, id, session, extra)
            return
        if id in self._lifecycle.ended:
            self._farewell(exchange, intent, extra)
            return
        if session is not None and session.link is Link.GONE:  # the application is being told of the end
            self._delivery.answer(exchange, text_answer(503, _ENDED, extra + _RETRY))
            return
        adopted = session is None
        if session is None:
            if self._newcomers.refuses(exchange):
                return
            session = self._lifecycle.create(id, route.path, request, user, intent.version.traits, admission.topics)
        if isinstance(intent, Send):
            self._send(exchange, session, intent, adopted, extra)
        elif isinstance(intent, Attach):
            if intent.framing.name not in route.transports:
                raise RemoteProtocolError(classic.UNKNOWN_TRANSPORT)
            if admission is not ADMITTED:
                self._lifecycle.expect_expiry(session, admission.expires_in)
            self._attach(exchange, session, intent, adopted, extra)
        else:
            self._start(exchange, session)

    def _abort(self, exchange: Exchange, id: str, session: Session | None, extra: RawHeaders) -> None:
        if session is not None:
            self._lifecycle.hang_up(session, DisconnectReason.closed)
        else:
            self._lifecycle.remember(id, DisconnectReason.closed)
        self._delivery.answer(exchange, aborted(extra))

    def _farewell(self, exchange: Exchange, intent: Start | Send | Attach, extra: RawHeaders) -> None:
        """The connection has ended for good: say so in the way that stops this client from trying again."""
        if not isinstance(intent, Attach) or not intent.version.knows_redirects:
            self._delivery.answer(exchange, text_answer(410, _ENDED, extra))
            return
        framing = intent.framing
        cursor = classic.format_cursor(self._epoch, self._topics.head)
        last = framing.frame(envelope(cursor, error=_ENDED))
        head = Head(framing.head.status, framing.head.headers + extra)
        self._delivery.answer(exchange, (head, *framing.opening, last, End()))

    def _start(self, exchange: Exchange, session: Session) -> None:
        self._lifecycle.begin(session, exchange.request)
        exchange.session = session
        if session.app is App.STARTING:
            if session.starts is None:
                session.starts = []
            session.starts.append(exchange)
        else:
            self._answer_start(exchange)

    def started(self, session: Session, error: BaseException | None) -> None:
        """The application knows the connection: the waiting `/start` requests get their answer."""
        starts, session.starts = session.starts, None
        for exchange in starts or ():
            if error is not None:
                self._delivery.answer(exchange, empty_answer(500, exchange.extra))
            else:
                self._answer_start(exchange)

    def _answer_start(self, exchange: Exchange) -> None:
        callback = exchange.request.query.get("callback")
        self._delivery.answer(exchange, json_answer(started(), callback, exchange.extra))

    def _send(self, exchange: Exchange, session: Session, intent: Send, adopted: bool, extra: RawHeaders) -> None:
        if adopted:
            self._lifecycle.adopt(session, None)
        if session.inbox is not None and self._lifecycle.is_full(session):
            self._lifecycle.reactions["inbox_messages"] += 1
            text = f"More than {self._settings.inbox_messages} messages wait to be dealt with (inbox_messages)."
            self._delivery.answer(exchange, text_answer(429, text, (*extra, (b"Retry-After", b"1"))))
            return
        self._lifecycle.receive(session, exchange, (intent.data or "",))
        exchange.paused = False  # a request is whole: there is nothing to stop reading

    def answer_send(self, exchange: Exchange, payload: Encoded | None, error: BaseException | None) -> None:
        """The answer to a `/send`: empty, a reply, what a RemoteProtocolError says, or 500 for any other failure."""
        if exchange.ended:
            return
        extra = exchange.extra
        if isinstance(error, RemoteProtocolError):
            self._delivery.answer(exchange, refusal(error, extra))
        elif error is not None:
            self._delivery.answer(exchange, empty_answer(500, extra))
        elif payload is None:
            self._delivery.answer(exchange, empty_answer(200, extra))
        else:
            callback = exchange.request.query.get("callback")
            self._delivery.answer(exchange, json_answer(payload.json, callback, extra))

    # Transports ---------------------------------------------------------------------------------

    def _attach(self, exchange: Exchange, session: Session, intent: Attach, new: bool, extra: RawHeaders) -> None:
        if session.exchange is not None:  # the older one ends where it was, before the position goes back
            self._delivery.displace(session)
        session.request = exchange.request
        cursor = classic.parse_cursor(intent.cursor)
        token = None if intent.groups_token is None else self._groups_token(session, intent.groups_token)
        if intent.kind == "connect":
            self._connect(session, cursor)
        elif new:
            self._lifecycle.adopt(session, () if token is None else token.groups)
        else:
            self._resume(session, intent.kind, cursor)
        if session.owes_groups and token is not None and token.groups:
            self._lifecycle.rejoin(session, token.groups)
        if (
            session.groups_version
            and not self._knows_groups(session, token)
            and not self._has_confirmed(session, cursor)
        ):
            session.due |= Due.GROUPS
        self._lifecycle.attach(session, exchange, intent.framing, extra)

    def _groups_token(self, session: Session, token: str) -> GroupsToken | None:
        wall = self._wall + self._delivery.now
        return self._tokens.read_groups(session.route, session.id, session.user, token, wall)

    def _knows_groups(self, session: Session, token: GroupsToken | None) -> bool:
        """The client has a token of its groups as they are."""
        # The version alone will not do: a token of another process may have the same.
        return (
            token is not None
            and token.version == session.groups_version
            and set(token.groups) == set(groups_of(session, session.route))
        )

    def _has_confirmed(self, session: Session, cursor: Cursor | None) -> bool:
        """The client quotes a position at which its groups were as they are."""
        return cursor is not None and cursor[0] == self._epoch and cursor[1] >= session.groups_position

    def _connect(self, session: Session, cursor: Cursor | None) -> None:
        """A transport that begins: the client starts with what the connection has not confirmed yet."""
        session.due |= Due.INIT
        if session.app is App.UNBORN:
            # A client that falls back has thrown away what came before the envelope it never saw.
            session.position = self._quoted(session, cursor, session.origin)
            if not session.traits.needs_start:
                self._lifecycle.begin(session, session.request)
        elif session.told < 0:  # `/start` came before its transport
            session.position = session.origin
        elif self._is_ours(cursor):
            self._resume(session, "connect", cursor)
        else:
            # A browser repeats the request of an event stream as it was, without a position: go on where we
            # stopped writing. What was on the way may be lost, and nobody can know.
            self._topics.account(session)
            self._lifecycle.reconnected(session, recovered=False, missed=None)

    def _resume(self, session: Session, kind: classic.Kind, cursor: Cursor | None) -> None:
        """A transport that goes on where another one ended."""
        foreign = cursor is not None and cursor[0] != self._epoch
        # A cursor of another epoch: the client has confirmed nothing since this process knows it.
        session.position = self._quoted(session, cursor, session.origin if foreign else session.position)
        if kind == "poll":
            return
        if session.app is App.UNBORN:
            self._lifecycle.begin(session, session.request)
            return
        missed = self._topics.account(session)
        if cursor is None:
            missed = None
        self._lifecycle.reconnected(session, recovered=missed == 0, missed=missed)

    def _is_ours(self, cursor: Cursor | None) -> bool:
        return cursor is not None and cursor[0] == self._epoch and cursor[1] <= self._topics.head

    def _quoted(self, session: Session, cursor: Cursor | None, otherwise: int) -> int:
        """Where to go on for a client that quotes `cursor`."""
        if cursor is None or not self._is_ours(cursor):
            return otherwise
        if cursor[1] < session.told:
            session.told = cursor[1]
            return cursor[1]
        # Between the newest position it was told and our own nothing was for it. Ours is behind where a request that
        # the client had given up came late and sent it back.
        return max(session.position, cursor[1])
