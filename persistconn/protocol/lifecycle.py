"""The life of sessions: moves them through their tables, keeps their timers, and queues what the application
is to be told, one event at a time per connection (rule 3)."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Sequence

from ..bus.topic import everyone, named
from ..bus.topics import Topics
from ..errors import LocalProtocolError
from ..settings import Settings
from ..wire.classic import KEEP_ALIVE
from ..wire.dialect import Traits
from ..wire.http import RawHeaders, Request
from ..wire.transports import Framing
from .delivery import Aftermath, Delivery
from .exchange import Exchange
from .heartbeat import Heartbeat
from .outputs import (
    Abandon,
    AppEvent,
    Connected,
    Deserted,
    Disconnected,
    DisconnectReason,
    Drained,
    Gap,
    Received,
    Reconnected,
    Rejoining,
    Resume,
)
from .session import TIMERS, App, AppInput, Due, Link, LinkInput, Session
from .timers import Timers

__all__ = ["Lifecycle"]

_REMEMBERED = (DisconnectReason.closed, DisconnectReason.aborted, DisconnectReason.slow)
"""Ends after which a late request does not revive the connection."""
_UNBORN, _LIVE, _GONE = App.UNBORN, App.LIVE, Link.GONE
"""Looking up a member of an enum costs as much as making an event, and these are asked for per message."""


class Lifecycle:
    """All sessions of an endpoint."""

    def __init__(self, settings: Settings, topics: Topics, delivery: Delivery) -> None:
        self.sessions: dict[str, Session] = {}
        self.ended: OrderedDict[str, DisconnectReason] = OrderedDict()
        """Ids that ended for good, the oldest first."""
        self.expects_age = False
        """The timer for what the rings hold is armed."""
        self.timers: Timers[Session | None] = Timers()
        self.reactions: Counter[str] = Counter()
        """How often each limit was met, by the name of its setting."""
        self.ends: Counter[str] = Counter()
        self._settings = settings
        self._topics = topics
        self._delivery = delivery
        self._heartbeat = Heartbeat(settings, topics, delivery, self.timers)

    # Beginnings ---------------------------------------------------------------------------------

    def create(
        self, id: str, route: str, request: Request, user: str, traits: Traits, topics: Sequence[str] = ()
    ) -> Session:
        """A session that reads all there is on its route and on `topics` from now on; nobody is on its line yet."""
        session = Session(id, self._topics.head, route, request, user, traits)
        self._topics.subscribe(session, everyone(route))
        for name in topics:
            self._topics.subscribe(session, named(route, name))
        self.sessions[id] = session
        self._arm_absence(session)
        return session

    def begin(self, session: Session, request: Request) -> None:
        """Tell the application of the connection that `request` began, unless it has been told."""
        if session.app is App.UNBORN:
            session.tell(AppInput.BEGIN)
            self._queue(session, Connected(session.id, session.route, request))
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

    # The link -----------------------------------------------------------------------------------

    def attach(self, session: Session, exchange: Exchange, framing: Framing, extra: RawHeaders) -> None:
        """Let `exchange` carry the session, which has no other."""
        self._leave_state(session)
        session.turn(LinkInput.ATTACH)
        self._delivery.attach(session, exchange, framing, extra)
        session.streams = framing.streaming
        exchange.paused = framing.duplex and self.is_full(session)
        now = self._delivery.now
        self._heartbeat.arm(session)
        if not framing.streaming or self._settings.keep_alive is None:
            self.timers.arm(session, "poll", now + self._settings.connection_timeout)

    def released(self, session: Session) -> None:
        """Nobody is on the line any more."""
        self._leave_state(session)
        session.turn(LinkInput.RELEASE)
        self._arm_absence(session)

    def release(self, session: Session) -> None:
        """End only the transport of a connection. Who polls has to be told, now or with the next answer."""
        if not session.streams:
            self._delivery.want(session, Due.HINT)
        elif session.exchange is not None:
            self._delivery.displace(session)
            self.released(session)

    def lost(self, exchange: Exchange, graceful: bool = False) -> None:
        """The peer of `exchange` is gone. What it had not taken stays in the rings."""
        exchange.ended = True
        exchange.closing = ()
        session = exchange.session
        if session is None:
            return
        if session.starts is not None and exchange in session.starts:
            session.starts.remove(exchange)
        if session.exchange is exchange:
            session.exchange = None
            exchange.idle = exchange.behind = False
            self.released(session)

    def hang_up(self, session: Session, reason: DisconnectReason, farewell: str | None = None) -> None:
        """End a connection. With a farewell its client is told not to come back."""
        if session.link is Link.GONE:
            return
        if session.exchange is not None:
            if farewell is not None:
                session.farewell = farewell
                session.due |= Due.FAREWELL
            elif reason is DisconnectReason.shutdown and not session.streams:
                session.due |= Due.HINT
            self._delivery.hang_up(session)
        self._gone(session, LinkInput.HANG_UP, reason)

    def cut(self, session: Session, reason: DisconnectReason) -> None:
        """End a connection that takes nothing any more, without waiting for what is in flight."""
        exchange = session.exchange
        assert exchange is not None
        exchange.ended = True
        exchange.idle = False
        session.exchange = None
        self._delivery.outputs.append(Abandon(exchange))
        self._gone(session, LinkInput.HANG_UP, reason)

    def _gone(self, session: Session, how: LinkInput, reason: DisconnectReason) -> None:
        self._leave_state(session)
        self.timers.disarm(session, "groups")
        session.turn(how)
        session.reason = reason
        if session.awaited:
            session.awaited = False
            self._delivery.outputs.append(Drained(session.id))
        if type(session.event) is Received:
            self._delivery.outputs.append(Deserted(session.id))
        if reason in _REMEMBERED:
            self.remember(session.id, reason)
        self.settle(session)

    def remember(self, id: str, reason: DisconnectReason) -> None:
        """Do not let a late request revive this connection."""
        self.ended[id] = reason
        while len(self.ended) > self._settings.ended_ids:
            self.ended.popitem(last=False)

    def settle(self, session: Session) -> None:
        """Apply the joint rules."""
        rule = session.settle()
        if rule is AppInput.END:
            self._queue(session, Disconnected(session.id, session.reason))
        if session.app is App.DEAD:
            self._remove(session)

    def _remove(self, session: Session) -> None:
        del self.sessions[session.id]
        self.ends[session.reason.value] += 1
        self._topics.remove(session)

    def _leave_state(self, session: Session) -> None:
        self.timers.disarm(session, *TIMERS[session.link])

    def _arm_absence(self, session: Session) -> None:
        threshold = self._settings.disconnect_threshold if session.streams else self._settings.long_poll_delay
        self.timers.arm(session, "disconnect", self._delivery.now + self._settings.disconnect_timeout + threshold)

    # Events, one at a time ----------------------------------------------------------------------

    def receive(self, session: Session, exchange: Exchange, messages: Sequence[str | bytes]) -> None:
        """Messages for the application, which hears of the connection first if it has not yet."""
        if session.app is _UNBORN:
            self.begin(session, session.request)
        id = session.id
        said = [Received(id, data, exchange) for data in messages if data != KEEP_ALIVE or not exchange.duplex]
        if said and session.event is None:
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
            raise LocalProtocolError(f"complete() for {event!r}, which is not in flight")
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
        if session.link is _GONE:  # else there is no joint rule
            self.settle(session)
        return session

    # What handing out batches brings up ---------------------------------------------------------

    def flush(self) -> None:
        """Hand out all that can leave, and deal with what that does to sessions."""
        after = self._delivery.flush()
        while after is not None:
            self._deal_with(after)
            after = self._delivery.flush() if self._topics.news or self._delivery.ready else None

    def _deal_with(self, after: Aftermath) -> None:
        for session in after.released:
            self.released(session)
        for session, missed in after.gaps:
            self._fell_out(session, missed)
        for session in after.caught_up:
            self._caught_up(session)

    def _fell_out(self, session: Session, missed: int | None) -> None:
        if session.app is App.UNBORN:  # told as soon as the application knows the connection
            self._topics.account(session)
            session.untold = None if missed is None or session.untold is None else session.untold + missed
            self._delivery.look_at(session)
        elif self._settings.slow_policy == "skip":
            self._topics.account(session)
            self._queue(session, Gap(session.id, missed))
            self._delivery.look_at(session)
        else:
            self.reactions["slow_policy"] += 1
            what = "Messages" if missed is None else f"{missed} messages"
            self.hang_up(
                session,
                DisconnectReason.slow,
                f"{what} for this connection were dropped before it took them (ring_messages, slow_policy).",
            )

    def _caught_up(self, session: Session) -> None:
        half = self._settings.send_high_water // 2
        count = size = 0
        if session.replies:
            return  # they come behind the batches that are still to be handed out
        if session.own is not None:
            count, size = self._topics.waiting(session, session.own, half + 1)
        if count <= half and size <= self._settings.send_high_water_bytes // 2:
            session.awaited = False
            self._delivery.outputs.append(Drained(session.id))

    # Time ---------------------------------------------------------------------------------------

    def expect_age(self) -> None:
        """The rings hold something again: see in a while what has become too old."""
        self.expects_age = True
        self.timers.arm(None, "rings", self._delivery.now + self._settings.ring_age / 4)

    def tick(self) -> None:
        """Everything that is due by now."""
        now = self._delivery.now
        pulses: list[Session] = []
        for session, name in list(self.timers.due(now)):
            if session is None:
                self._topics.expire(now)
                self.expects_age = False
            elif session.link is Link.GONE:
                pass  # by an earlier one of these
            elif name == "pulse":
                pulses.append(session)
            elif name == "disconnect":
                self._gone(session, LinkInput.EXPIRE, DisconnectReason.timed_out)
            elif name == "poll":
                self._poll_over(session)
            elif name == "write":
                self._stuck(session)
            else:
                self.renew_groups(session)
        for exchange in self._heartbeat.beat(pulses):
            self.reactions["ping"] += 1
            self._delivery.outputs.append(Abandon(exchange))
            self.lost(exchange)

    def _poll_over(self, session: Session) -> None:
        if session.streams:  # without keep-alives every transport has an end
            self._delivery.displace(session)
            self.released(session)
        else:
            self._delivery.want(session, Due.ANSWER)

    def _stuck(self, session: Session) -> None:
        exchange = session.exchange
        if exchange is None or exchange.in_flight < 2:
            return
        self.reactions["write_deadline"] += 1
        if self._settings.slow_policy == "disconnect":
            self.cut(session, DisconnectReason.slow)
        else:
            exchange.in_flight = 1  # judged again from the next pulse on

    def groups_changed(self, session: Session) -> None:
        """The client needs a new token; the position tells from then on who has it."""
        session.groups_version += 1
        session.groups_position = self._topics.advance()
        self.renew_groups(session)

    def renew_groups(self, session: Session) -> None:
        """Send a new groups token, and another one before half its life is over."""
        self._delivery.want(session, Due.GROUPS)
        self.timers.arm(session, "groups", self._delivery.now + self._settings.groups_lifetime / 2.5)
