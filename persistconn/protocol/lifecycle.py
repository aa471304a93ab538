"""The life of sessions: moves them through their tables, and keeps their timers."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence

from ..bus.topic import everyone, named
from ..bus.topics import Topics
from ..errors import LocalProtocolError
from ..settings import Settings
from ..wire.aspnetcore_answers import refused
from ..wire.dialect import Traits
from ..wire.http import RawHeaders, Request
from ..wire.transports import Framing
from .batches import Aftermath
from .delivery import Delivery
from .exchange import Exchange
from .heartbeat import Heartbeat
from .last_words import LastWords
from .outputs import Abandon, Alarm, Deserted, Disconnected, DisconnectReason, Drained, Gap, Received
from .session import TIMERS, App, AppInput, Due, Link, LinkInput, Session
from .statistics import Ended, EndpointStatistics, OnEnded, Tally
from .telling import TWO_CALLERS, Telling
from .timers import Timers

__all__ = ["Lifecycle"]

_REMEMBERED = (DisconnectReason.closed, DisconnectReason.aborted, DisconnectReason.slow)
"""Ends after which a late request does not revive the connection."""
_EXPIRED = "The credentials of this connection have expired."
_OURS = (DisconnectReason.shutdown, DisconnectReason.slow)  # no layer above knows beforehand: the format says goodbye


class Lifecycle(Telling):
    """All sessions of an endpoint."""

    def __init__(self, settings: Settings, topics: Topics, delivery: Delivery) -> None:
        super().__init__(settings, delivery)
        self.ended: OrderedDict[str, DisconnectReason] = OrderedDict()
        """Ids that ended for good, the oldest first."""
        self.by_key: dict[bytes, Session] = {}
        """Sessions that are found by a token of which only they know."""
        self.last_words = LastWords(most=settings.ended_ids, lifetime=settings.disconnect_timeout)
        self.is_flushing = False
        """A call hands out what leaves, and no other may be made."""
        self.expects_age = False
        """The timer for what the rings hold is armed."""
        self.timers: Timers[Session | None] = Timers()
        self.ends: Counter[str] = Counter()
        self.on_ended: OnEnded | None = None
        """Told of each connection that ends and had a transport; it must not raise."""
        self._attached = 0
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._without = {dialect: Tally(dialect, "") for dialect in ("classic", "aspnetcore")}
        """For those that had no transport yet."""
        self._topics = topics
        self._heartbeat = Heartbeat(settings, topics, delivery, self.timers)

    # Beginnings ---------------------------------------------------------------------------------

    def create(
        self, id: str, route: str, request: Request, user: str, traits: Traits, topics: Sequence[str] = ()
    ) -> Session:
        """A session that reads all there is on its route and on `topics` from now on; nobody is on its line yet."""
        session = Session(id, self._topics.head, route, request, user, traits, self._without[traits.dialect])
        self._topics.subscribe(session, everyone(route))
        for name in topics:
            self._topics.subscribe(session, named(route, name))
        self.sessions[id] = session
        self._arm_absence(session)
        return session

    # The link -----------------------------------------------------------------------------------

    def attach(self, session: Session, exchange: Exchange, framing: Framing, extra: RawHeaders) -> None:
        """Let `exchange` carry the session, which has no other."""
        self._leave_state(session)
        self._attached += session.link is not Link.ATTACHED
        session.turn(LinkInput.ATTACH)
        if session.tally.transport != framing.name:
            self._count_on(session, framing.name)
        self._delivery.attach(session, exchange, framing, extra)
        session.streams = framing.streaming
        exchange.paused = framing.duplex and self.is_full(session)
        now = self._delivery.now
        self._heartbeat.arm(session)
        if session.traits.remembers_negotiation:
            if not framing.streaming:
                self.timers.arm(session, "poll", now + self._settings.poll_timeout)
        elif not framing.streaming or self._settings.keep_alive is None:
            self.timers.arm(session, "poll", now + self._settings.connection_timeout)

    def visited(self, session: Session, transport: str) -> None:
        """A transport came and has gone: it only showed that it works."""
        session.streams = False
        session.turn(LinkInput.ATTACH)
        self._attached += 1
        self._count_on(session, transport)
        self.released(session)

    def _count_on(self, session: Session, transport: str) -> None:
        """From now on it counts as one of this transport."""
        key = session.traits.dialect, transport
        tally = self._tallies.get(key) or self._tallies.setdefault(key, Tally(*key))
        if session.began is None:
            session.began = self._delivery.now
            tally.started += 1
        else:
            session.tally.active -= 1
        tally.active += 1
        session.tally = tally

    def _count_end(self, session: Session, began: float, reason: DisconnectReason) -> None:
        tally = session.tally
        tally.active -= 1
        tally.ended[reason.value] += 1
        if self.on_ended is not None:
            duration = self._delivery.now - began
            self.on_ended(Ended(session.id, session.route, tally.dialect, tally.transport, reason, duration))

    def statistics(self) -> EndpointStatistics:
        """How many connections there are, how they ended, which limits were met, what the rings hold."""
        return EndpointStatistics(
            connections=len(self.sessions),
            attached=self._attached,
            ended=dict(self.ends),
            reactions=dict(self.reactions),
            rings=self._topics.statistics(),
            transports=tuple([tally.statistics() for tally in list(self._tallies.values())]),
        )

    def expect_expiry(self, session: Session, seconds: float | None) -> None:
        """The newest credentials of a connection are good for so long; None: for ever."""
        if seconds is None:
            self.timers.disarm(session, "expiry")
        else:
            self.timers.arm(session, "expiry", self._delivery.now + seconds)

    def released(self, session: Session) -> None:
        """Nobody is on the line any more."""
        self._leave_state(session)
        session.turn(LinkInput.RELEASE)
        self._attached -= 1
        self._arm_absence(session)

    def release(self, session: Session) -> None:
        """End only the transport of a connection. Who polls has to be told, now or with the next answer."""
        if session.traits.remembers_negotiation:
            self.hang_up(session, DisconnectReason.aborted)  # its clients come back as somebody new
        elif not session.streams:
            self._delivery.want(session, Due.HINT)
        elif session.exchange is not None:
            self._delivery.displace(session)
            self.released(session)

    def lost(self, exchange: Exchange, graceful: bool = False) -> None:
        """The peer of `exchange` is gone. What it had not taken stays in the rings."""
        unrepeated = exchange.in_flight and exchange.unrepeated
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
            if session.replay is not None and not graceful:
                session.replay.lost()
                self.released(session)
            elif session.traits.remembers_negotiation and session.streams:
                self._gone(session, LinkInput.HANG_UP, DisconnectReason.closed)
            else:
                self.released(session)
        elif unrepeated:
            self.hang_up(session, DisconnectReason.closed)  # what follows would follow a gap

    def hang_up(
        self, session: Session, reason: DisconnectReason, farewell: str | None = None, code: int = 1000
    ) -> None:
        """End a connection. With a farewell its client is told not to come back."""
        if session.link is Link.GONE:
            return
        if session.traits.remembers_negotiation:
            if reason in _OURS or farewell == _EXPIRED:
                session.due |= Due.FAREWELL
            if not session.streams and session.app is not App.UNBORN and reason is not DisconnectReason.closed:
                self._leave_word(session)
        elif farewell is not None:
            session.farewell = farewell
            session.due |= Due.FAREWELL
        elif reason is DisconnectReason.shutdown and not session.streams:
            session.due |= Due.HINT
        if session.exchange is not None:
            self._delivery.hang_up(session, code if session.traits.remembers_negotiation else 1000)
        self._gone(session, LinkInput.HANG_UP, reason)

    def _leave_word(self, session: Session) -> None:
        """Who polls has to learn of the end, and what was said before: from its next polls, until one is answered 204.

        (ASP.NET Core, Transport protocols: long polling.)
        """
        rest = self._delivery.rest(session)
        if session.exchange is not None:
            if not rest:
                return  # the poll that waits is told
            rest = b""
        whose = (session.route, session.place, session.user)
        self.last_words.leave(session.key, whose, rest, self._delivery.now)

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
        self.timers.disarm(session, "groups", "alarm", "expiry")
        self._attached -= session.link is Link.ATTACHED
        session.turn(how)
        if session.began is not None:
            self._count_end(session, session.began, reason)
        session.reason = reason
        if session.awaited:
            session.awaited = False
            self._delivery.outputs.append(Drained(session.id))
        if type(session.event) is Received:
            self._delivery.outputs.append(Deserted(session.id))
        if session.traits.remembers_negotiation:
            self.by_key.pop(session.key, None)
            self._let_go(session)
        elif reason in _REMEMBERED:
            self.remember(session.id, reason)
        self.settle(session)

    def _let_go(self, session: Session) -> None:
        """Requests whose data finds no room any more learn why."""
        held, session.held = session.held, None
        for exchange, _ in held or ():
            if not exchange.ended:
                self._delivery.answer(exchange, refused(404, "", exchange.extra, poll=False))

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
        settings = self._settings
        if session.link is Link.IDLE and session.traits.remembers_negotiation:
            away = settings.handshake_timeout  # anybody can negotiate, and need not come back
        else:
            away = settings.disconnect_timeout
            away += settings.disconnect_threshold if session.streams else settings.long_poll_delay
        self.timers.arm(session, "disconnect", self._delivery.now + away)

    # What handing out batches brings up ---------------------------------------------------------

    def flush(self) -> None:
        """Hand out all that can leave, and deal with what that does to sessions."""
        if self.is_flushing:
            raise LocalProtocolError(TWO_CALLERS)
        self.is_flushing = True
        try:
            after = self._delivery.flush()
            while after is not None:
                self._deal_with(after)
                after = self._delivery.flush() if self._topics.news or self._delivery.ready else None
        finally:
            self.is_flushing = False

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
            elif name == "alarm":
                self._queue(session, Alarm(session.id))
            elif name == "expiry":
                self.hang_up(session, DisconnectReason.aborted, _EXPIRED)
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
        if session.replay is not None:  # nothing is lost: perhaps it is only the socket that is dead
            self._delivery.outputs.append(Abandon(exchange))
            self.lost(exchange)
        elif self._settings.slow_policy == "disconnect":
            self.cut(session, DisconnectReason.slow)
        else:
            exchange.in_flight = 1  # judged again from the next pulse on

    def groups_changed(self, session: Session) -> None:
        """The client needs a new token, where there are any; the position tells from then on who has it."""
        if not session.traits.position_on_wire:
            return
        session.groups_version += 1
        session.groups_position = self._topics.advance()
        self.renew_groups(session)

    def renew_groups(self, session: Session) -> None:
        """Send a new groups token, and another one before half its life is over."""
        self._delivery.want(session, Due.GROUPS)
        self.timers.arm(session, "groups", self._delivery.now + self._settings.groups_lifetime / 2.5)
