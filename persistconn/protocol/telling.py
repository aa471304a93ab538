"""What the application is told of connections: one event at a time for each of them (rule 3)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Sequence

from ..errors import LocalProtocolError
from ..settings import Settings
from ..wire.aspnetcore_answers import sent
from ..wire.http import Request
from .delivery import Delivery
from .exchange import Exchange
from .outputs import AppEvent, Connected, Disconnected, Gap, Received, Reconnected, Rejoining, Resume
from .session import App, AppInput, Link, Session

__all__ = ["TWO_CALLERS", "Telling"]

TWO_CALLERS = (
    "this call came while another one hands out what leaves: make all calls in one loop, or hold one lock around each"
    " call and the poll() that follows (rule 5)"
)

_UNBORN, _LIVE, _GONE = App.UNBORN, App.LIVE, Link.GONE
"""Looking up a member of an enum costs as much as making an event, and these are asked for per message."""


class Telling(ABC):
    """Queues what the application is to be told, and gives the next event when it has dealt with one."""

    def __init__(self, settings: Settings, delivery: Delivery) -> None:
        self.sessions: dict[str, Session] = {}
        self.reactions: Counter[str] = Counter()
        """How often each limit was met, by the name of its setting."""
        self._settings = settings
        self._delivery = delivery

    @abstractmethod
    def settle(self, session: Session) -> None:
        """Apply the joint rules."""

    # Beginnings ---------------------------------------------------------------------------------

    def begin(self, session: Session, request: Request) -> None:
        """Tell the application of the connection that `request` began, unless it has been told."""
        if session.app is App.UNBORN:
            session.tell(AppInput.BEGIN)
            session.event = event = Connected(session.id, session.route, request)
            self._delivery.events.append(event)  # what a client sent before its transport came waits behind it
            if session.untold != 0:
                self._queue(session, Gap(session.id, session.untold))

    def adopt(self, session: Session, groups: tuple[str, ...] | None) -> None:
        """Tell the application of a connection that began elsewhere, with the groups it says it is in (None: yet)."""
        session.tell(AppInput.BEGIN)
        session.owes_groups = groups is None
        if groups:
            self.rejoin(session, groups)
        self._queue(
            session, Reconnected(session.id, session.route, session.request, recovered=False, missed=None, adopted=True)
        )

    def rejoin(self, session: Session, groups: tuple[str, ...]) -> None:
        """Ask the application which of its groups an adopted connection is to have here."""
        session.owes_groups = False
        self._queue(session, Rejoining(session.id, session.route, session.request, groups))

    # Messages -----------------------------------------------------------------------------------

    def receive(self, session: Session, exchange: Exchange, messages: Sequence[str | bytes]) -> None:
        """Messages for the application, which hears of the connection first if it has not yet."""
        if session.app is _UNBORN and not session.traits.remembers_negotiation:
            self.begin(session, session.request)
        id, empty = session.id, session.traits.sign_of_life
        if len(messages) == 1 and session.event is None and session.app is not _UNBORN:  # what comes most of all
            if messages[0] != empty or not exchange.duplex:
                session.event = only = Received(id, messages[0], exchange)
                session.tally.messages_in += 1
                self._delivery.events.append(only)
            return
        said = [Received(id, data, exchange) for data in messages if data != empty or not exchange.duplex]
        session.tally.messages_in += len(said)
        if said and session.event is None and session.app is not _UNBORN:
            session.event = first = said.pop(0)
            self._delivery.events.append(first)
        if said:
            if session.inbox is None:
                session.inbox = deque(said)
            else:
                session.inbox.extend(said)
            if self.is_full(session):
                exchange.paused = True
                self.reactions["inbox_messages"] += 1

    def is_full(self, session: Session) -> bool:
        """The application is too far behind this client for another message."""
        return session.inbox is not None and len(session.inbox) >= self._settings.inbox_messages

    def reconnected(self, session: Session, recovered: bool, missed: int | None) -> None:
        """The application learns of a new transport and of what was lost; two such news in a row become one."""
        if session.inbox and isinstance(last := session.inbox[-1], Reconnected):
            session.inbox.pop()
            recovered = recovered and last.recovered
            missed = None if missed is None or last.missed is None else missed + last.missed
            adopted = last.adopted
        else:
            adopted = False
        event = Reconnected(session.id, session.route, session.request, recovered, missed, adopted)
        self._queue(session, event)

    def _queue(self, session: Session, *events: AppEvent) -> None:
        for event in events:
            if session.event is None:
                session.event = event
                self._delivery.events.append(event)
            elif session.inbox is None:
                session.inbox = deque((event,))
            else:
                session.inbox.append(event)

    def completed(self, event: AppEvent) -> Session:
        """The application has dealt with `event`; the next one follows. Gives the session, dead perhaps."""
        session = self.sessions.get(event.connection_id)
        if session is None or session.event is not event:
            raise LocalProtocolError(
                f"complete() for {type(event).__name__} of connection {event.connection_id}, which is not in flight:"
                " call it once for each event that poll() gave (rule 3)"
            )
        if session.app is not _LIVE and (
            (session.app is App.STARTING and isinstance(event, Connected | Reconnected))
            or (session.app is App.ENDING and isinstance(event, Disconnected))
        ):
            session.tell(AppInput.COMPLETED)
        inbox = session.inbox
        if inbox is None:
            session.event = None
        else:
            session.event = following = inbox.popleft()
            self._delivery.events.append(following)
            if not inbox:
                session.inbox = None  # an empty one costs an idle connection more than a new one costs a busy one
            exchange = session.exchange
            if exchange is not None and exchange.paused and len(inbox) <= self._settings.inbox_messages // 2:
                exchange.paused = False
                self._delivery.outputs.append(Resume(exchange))
            if session.held is not None and len(inbox) <= self._settings.inbox_messages // 2:
                self._admit(session)
        if session.link is _GONE:  # else there is no joint rule
            self.settle(session)
        return session

    def _admit(self, session: Session) -> None:
        """There is room for data that was held back: its requests are answered."""
        held = session.held
        assert held is not None
        while held and not self.is_full(session):
            exchange, data = held.popleft()
            self.receive(session, exchange, (data,))
            if not exchange.ended:
                self._delivery.answer(exchange, sent(exchange.extra))
        if not held:
            session.held = None
