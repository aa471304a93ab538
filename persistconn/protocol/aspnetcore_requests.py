"""What clients of ASP.NET Core ask for, carried out: negotiate, transports, sends, stops.

A session lives from its negotiation on and is found by its token, which only its client knows. (Sections are those of
the ASP.NET Core Transport protocols.)
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from ..errors import RemoteProtocolError
from ..settings import Settings
from ..wire import aspnetcore
from ..wire.aspnetcore import Attach, Intent, Negotiate, NegotiationError, Refresh, Send, Stop
from ..wire.aspnetcore_answers import (
    first_poll,
    negotiate_answer,
    negotiated,
    over,
    polled,
    refused,
    sent,
    stopped,
)
from ..wire.dialect import ASPNETCORE
from ..wire.http import Request
from ..wire.tokens import new_aspnetcore_id
from ..wire.transports.aspnetcore import framing
from ..wire.transports.framing import numbered
from .admission import Admission, Newcomers
from .admission import refused as not_admitted
from .exchange import Exchange
from .outputs import DisconnectReason, Received
from .session import App, Held, Session

if TYPE_CHECKING:
    from .reception import Route

__all__ = ["AspNetCoreRequests"]

_BEFORE_TRANSPORT: Final = 16_384
"""Bytes that a client may send in several requests before its transport comes."""


class AspNetCoreRequests:
    """Requests of the ASP.NET Core dialect."""

    def __init__(self, settings: Settings, newcomers: Newcomers) -> None:
        self._settings = settings
        self._newcomers = newcomers
        self._topics = newcomers.topics
        self._delivery = newcomers.delivery
        self._lifecycle = newcomers.lifecycle
        self._secret = newcomers.entropy(32)

    def take(self, exchange: Exchange, route: Route, admission: Admission) -> None:
        """Answer a request, or let its exchange carry a session."""
        extra = exchange.extra
        if admission.status != 200:
            self._delivery.answer(exchange, not_admitted(admission, extra))
            return
        try:
            intent = aspnetcore.read_request(exchange.request, route.path, self._settings)
            if intent.name not in route.names:
                raise RemoteProtocolError("There is nothing at this path.", status=404)
            self._carry_out(exchange, route, intent, admission)
        except NegotiationError as error:
            self._delivery.answer(exchange, negotiated(negotiate_answer(error=str(error)), extra))
        except RemoteProtocolError as error:
            is_poll = exchange.request.method == "GET"
            self._delivery.answer(exchange, refused(error.status, str(error), extra, poll=is_poll))

    def _carry_out(self, exchange: Exchange, route: Route, intent: Intent, admission: Admission) -> None:
        if isinstance(intent, Negotiate):
            self._negotiate(exchange, route, intent, admission)
            return
        if self._topics.news or self._delivery.ready:
            self._lifecycle.flush()  # what was sent before may leave on what is displaced now, or end the connection
        if isinstance(intent, Attach):
            if intent.token is not None:
                if intent.transport != "longPolling" or not self._last_poll(exchange, route, intent):
                    session = self._known(exchange, route, intent)
                    self._lifecycle.expect_expiry(session, admission.expires_in)
                    self._attach(exchange, route, session, intent)
            elif not self._newcomers.refuses(exchange):
                session = self._create(exchange, route, intent.name, admission, version=0)[0]
                self._attach(exchange, route, session, intent)
        elif isinstance(intent, Send):
            self._send(exchange, self._known(exchange, route, intent), intent)
        elif isinstance(intent, Stop):
            self._stop(exchange, self._known(exchange, route, intent))
        else:
            self._refresh(exchange, self._known(exchange, route, intent), admission)

    # Negotiation (§1) ---------------------------------------------------------------------------

    def _negotiate(self, exchange: Exchange, route: Route, intent: Negotiate, admission: Admission) -> None:
        extra = exchange.extra
        if self._newcomers.refuses(exchange):
            return
        if admission.error is not None or admission.redirect_url is not None:
            body = negotiate_answer(
                error=admission.error, redirect_url=admission.redirect_url, access_token=admission.access_token
            )
            self._delivery.answer(exchange, negotiated(body, extra))
            return
        session, token = self._create(exchange, route, intent.name, admission, version=intent.version)
        session.request = Request("POST", route.path)  # nothing of what a stranger sent is kept
        session.stateful = intent.stateful and route.resumable and self._settings.allow_stateful_reconnect
        lifetime = None if admission.expires_in is None else int(admission.expires_in)
        body = negotiate_answer(
            session.id, token, intent.version, route.transports, stateful=session.stateful, token_lifetime=lifetime
        )
        self._delivery.answer(exchange, negotiated(body, extra))

    def _create(
        self, exchange: Exchange, route: Route, name: str, admission: Admission, *, version: int
    ) -> tuple[Session, str]:
        """A session, and the token by which its client will be known: of version 0 it is the id."""
        request = exchange.request
        id = new_aspnetcore_id(self._newcomers.entropy)
        token = id if version == 0 else new_aspnetcore_id(self._newcomers.entropy)
        user = request.user or ""
        session = self._lifecycle.create(id, route.path, request, user, ASPNETCORE, admission.topics)
        session.key = self._key(token)
        session.place = name
        self._lifecycle.expect_expiry(session, admission.expires_in)
        self._lifecycle.by_key[session.key] = session
        return session, token

    def _key(self, token: str) -> bytes:
        """Under this it is looked up: how long that takes tells nothing about the token."""
        return blake2b(token.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=16).digest()

    def _known(self, exchange: Exchange, route: Route, intent: Attach | Send | Stop | Refresh) -> Session:
        """The session of a token. RemoteProtocolError: there is none, or not for this user."""
        session = self._lifecycle.by_key.get(self._key(intent.token or ""))
        if session is None or session.route != route.path or session.place != intent.name:
            raise RemoteProtocolError(aspnetcore.UNKNOWN_ID, status=404)
        if session.user != (exchange.request.user or ""):
            raise RemoteProtocolError(aspnetcore.USER_CHANGED, status=403)
        return session

    def _refresh(self, exchange: Exchange, session: Session, admission: Admission) -> None:
        """Newer credentials, for a connection that has the transport it needs (servers after .NET 10)."""
        if admission.expires_in is None:
            raise RemoteProtocolError("Credentials do not expire here.", status=404)
        self._lifecycle.expect_expiry(session, admission.expires_in)
        body = b'{"tokenLifetimeSeconds":%d}' % admission.expires_in
        self._delivery.answer(exchange, negotiated(body, exchange.extra))

    # Transports (§2.2, §2.4 to §2.6) ------------------------------------------------------------

    def _attach(self, exchange: Exchange, route: Route, session: Session, intent: Attach) -> None:
        transport = intent.transport
        if transport not in route.transports:
            raise RemoteProtocolError(aspnetcore.unsupported(transport), status=404)
        if session.transport not in (None, transport):
            raise RemoteProtocolError(aspnetcore.CANNOT_CHANGE_TRANSPORT, status=400)
        resumes = session.replay is not None
        if transport != "longPolling" and session.transport is not None and not resumes:
            raise RemoteProtocolError("", status=409)
        session.transport = transport
        session.request = exchange.request
        if transport == "longPolling":
            self._poll(exchange, session)
            return
        if session.exchange is not None:
            self._delivery.displace(session)  # the newest socket wins
        how = framing(transport, session.format)
        if session.replay is not None:
            how = numbered(how)
            exchange.first = tuple([how.frame(frame) for frame in session.replay.resume()])
        exchange.parts = route.takes_parts
        self._lifecycle.attach(session, exchange, how, exchange.extra)
        if session.app is App.UNBORN:
            self._lifecycle.begin(session, exchange.request)
        else:
            self._lifecycle.reconnected(session, recovered=True, missed=0)

    def _poll(self, exchange: Exchange, session: Session) -> None:
        if session.app is App.UNBORN:  # the first poll says only that the transport works
            self._lifecycle.visited(session, "longPolling")
            self._lifecycle.begin(session, exchange.request)
            self._delivery.answer(exchange, first_poll(exchange.extra))
            return
        if session.exchange is not None:
            self._delivery.displace(session)
        self._lifecycle.attach(session, exchange, framing("longPolling", session.format), exchange.extra)

    def _last_poll(self, exchange: Exchange, route: Route, intent: Attach) -> bool:
        """If a connection has ended: its client gets what it was told last, and then that it is over (§2.6)."""
        whose = (route.path, intent.name, exchange.request.user or "")
        rest = self._lifecycle.last_words.take(self._key(intent.token or ""), whose, self._delivery.now)
        if rest is not None:
            self._delivery.answer(exchange, polled(rest, exchange.extra) if rest else over(exchange.extra))
        return rest is not None

    # Sends and stops (§2.3, §2.7) ---------------------------------------------------------------

    def _send(self, exchange: Exchange, session: Session, intent: Send) -> None:
        if session.transport == "webSockets":
            raise RemoteProtocolError(aspnetcore.NO_POST_ON_WEBSOCKETS, status=405)
        exchange.session = session
        data = _text(intent.data) if session.format.name == "raw" and not session.format.binary else intent.data
        if session.app is App.UNBORN and not self._may_send_already(session, intent.data):
            raise RemoteProtocolError("Let a transport come before you send this much.", status=429)
        if session.held is None and not self._lifecycle.is_full(session):
            if data:
                self._lifecycle.receive(session, exchange, (data,))
            exchange.paused = False  # a request is whole: there is nothing to stop reading
            self._delivery.answer(exchange, sent(exchange.extra))
            return
        most = self._settings.inbox_messages
        held = session.held = deque() if session.held is None else session.held
        self._lifecycle.reactions["inbox_messages"] += 1
        if len(held) >= most:
            text = f"More than {most} requests wait until there is room for their data (inbox_messages)."
            raise RemoteProtocolError(text, status=429)
        held.append(Held(exchange, data))

    def _may_send_already(self, session: Session, data: bytes) -> bool:
        """No transport has come yet, and some clients send their handshake before; others might send anything."""
        size = sum(len(event.data) for event in session.inbox or () if isinstance(event, Received))
        return not session.inbox or size + len(data) <= _BEFORE_TRANSPORT

    def _stop(self, exchange: Exchange, session: Session) -> None:
        if session.transport != "longPolling":
            raise RemoteProtocolError(aspnetcore.NO_DELETE, status=400)
        self._lifecycle.hang_up(session, DisconnectReason.closed)
        self._delivery.answer(exchange, stopped(exchange.extra))


def _text(data: bytes) -> str | bytes:
    """Text, if it can be."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
