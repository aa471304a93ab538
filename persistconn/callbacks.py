"""Runs the user's callbacks, those of all connections in one task, as long as none of them waits.

Leader and followers: one task, the leader, deals with every event that has come, so one wake-up serves whatever a
round of the event loop brings, and what all these callbacks send leaves together. A callback that waits keeps its
task for itself, from then on a follower; the next event gets a new leader. So there are as many tasks as callbacks
that wait at this moment, and one more; an idle connection has none. Plain functions run in a worker thread.
"""

from __future__ import annotations

import logging
import types
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextvars import Context, copy_context
from typing import Any, Final, Protocol

import anyio
import anyio.lowlevel
import anyio.to_thread

from .connection import Connection, PersistentConnection
from .errors import ConnectionClosed, PersistconnError, RemoteProtocolError
from .lifetime import Lifetime, call
from .outlet import Outlet
from .protocol.outputs import Alarm, AppEvent, Connected, Disconnected, Gap, Received, Reconnected, Rejoining
from .protocol.server import ServerEndpoint
from .tasks import Parking, Tasks, ends_this_task
from .wire.classic import read_data

__all__ = ["Callbacks", "Stage", "call"]

_logger = logging.getLogger("persistconn.app")

_EVENTS_AT_ONCE: Final = 128
"""The leader lets other tasks run after so many events."""


class Stage(Outlet, Protocol):
    """What callbacks need of a host."""

    endpoint: ServerEndpoint
    clock: Callable[[], float]

    def flush(self) -> None:
        """Let leave what has been sent."""


class _Lead:
    """One task that runs callbacks: the leader, or a follower that was."""

    __slots__ = ("event", "parked", "parking", "resting", "scope", "waited")

    def __init__(self, parking: Parking) -> None:
        self.parking = parking
        """Where it waits for events."""
        self.event: AppEvent | None = None
        """What it is dealing with."""
        self.scope: anyio.CancelScope | None = None
        """Once it has begun. Cancelled: this callback is its last."""
        self.resting = False
        """It is the task itself that waits, for more events, and not a callback."""
        self.parked = False
        """It waits for somebody to wake it."""
        self.waited = False
        """The newest callback has waited for something."""


class Callbacks:
    """The callbacks of all routes, and the tasks that run them."""

    def __init__(self, routes: Mapping[str, PersistentConnection], stage: Stage) -> None:
        self.running = False
        """A callback is being stepped: what it sends need not leave before it waits or ends."""
        self.now = 0.0
        """When the step began: near enough for what callbacks send, as none may keep the loop for long."""
        self._routes = routes
        self._stage = stage
        self._endpoint = stage.endpoint
        self._lifetimes: dict[str, Lifetime] = {}
        self._tasks: Tasks | None = None
        self._leader: _Lead | None = None
        self._clean = copy_context()
        """What each leader begins with: a context variable that a callback sets is not seen by the next one."""
        self._empty: anyio.Event | None = None
        """Made when somebody waits for the last connection to be told of its end."""
        self._waiting: dict[str, list[_Lead]] = {}
        """The tasks whose callback waits for something, by connection."""
        self._let_go: set[Received] = set()
        """Messages that are still being dealt with, while the next one may come."""

    def open(self, tasks: Tasks) -> None:
        """From now on there are tasks to run callbacks in."""
        self._tasks = tasks
        self._clean = copy_context()

    def close(self) -> None:
        """The tasks are being cancelled."""
        self._tasks = None
        for lifetime in self._lifetimes.values():
            lifetime.connection.ended = True

    async def ended(self) -> None:
        """Wait until no connection is left, and every callback has run."""
        if self._empty is None:
            self._empty = anyio.Event()
        self._check_empty()
        await self._empty.wait()

    def _check_empty(self) -> None:
        if self._empty is not None and not self._lifetimes and not self._endpoint.events:
            self._empty.set()

    def summon(self, *, at_once: bool = False) -> None:
        """The endpoint has events: see that the leader deals with them, `at_once` if it can, or that there is one."""
        leader = self._leader
        if leader is not None:
            if leader.parked:
                leader.parked = False
                if at_once:
                    leader.parking.enter()
                else:
                    leader.parking.wake()
            return
        if self._tasks is None:
            raise PersistconnError("the app is not running: use `async with app.running()` or serve it")
        leader = self._leader = _Lead(self._tasks.parking())
        self._clean.copy().run(self._tasks.spawn, self._run_as, leader)

    def desert(self, connection_id: str) -> None:
        """The connection has ended while one of its messages is being dealt with."""
        lifetime = self._lifetimes.get(connection_id)
        if lifetime is not None:
            self._desert(lifetime)

    def _desert(self, lifetime: Lifetime) -> None:
        lifetime.connection.ended = True
        if not lifetime.owner.cancels_received:
            return
        for lead in self._waiting.get(lifetime.connection.id, ()):
            if type(lead.event) is Received and lead.scope is not None:  # else what waits is on_disconnected
                lead.scope.cancel()

    def let_next(self, message: Received) -> None:
        """The next message of its connection may come."""
        self._let_go.add(message)
        self._complete(message)

    def start_soon(self, connection_id: str, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a task that ends with the connection."""
        lifetime = self._lifetimes.get(connection_id)
        if lifetime is None or self._tasks is None:
            raise ConnectionClosed(f"connection {connection_id} has ended")
        lifetime.start(self._tasks, function, *args)

    # Leading ------------------------------------------------------------------------------------

    async def _run_as(self, me: _Lead) -> None:
        with anyio.CancelScope() as me.scope:  # one per task: who shields what a callback does is not cut through
            await self._watch(me)

    @types.coroutine
    def _watch(self, me: _Lead) -> Generator[Any, Any, None]:
        """Step the callbacks of one task. Whenever one waits, what was sent leaves and somebody else may lead."""
        work = self._lead(me)
        clock = self._stage.clock
        try:
            self.running = True
            self.now = clock()
            step = work.send(None)
            while True:
                self.running = False
                if not me.resting:
                    if not me.waited and me.event is not None:
                        me.waited = True
                        self._waiting.setdefault(me.event.connection_id, []).append(me)
                    if self._leader is me:
                        self._leader = None
                    self._stage.flush()
                try:
                    value = yield step
                except GeneratorExit:
                    work.close()
                    raise
                except BaseException as error:
                    self.running = True
                    self.now = clock()
                    step = work.throw(error)
                else:
                    self.running = True
                    self.now = clock()
                    step = work.send(value)
        except StopIteration:
            pass
        finally:
            self.running = False
            if self._leader is me:
                self._leader = None
            if me.waited:
                self._waits_no_more(me)
            if self._tasks is not None:
                self._stage.flush()

    def _waits_no_more(self, me: _Lead) -> None:
        if me.event is not None and me in (waiting := self._waiting.get(me.event.connection_id, [])):
            waiting.remove(me)
            if not waiting:
                del self._waiting[me.event.connection_id]

    async def _lead(self, me: _Lead) -> None:
        """Deal with events, until somebody else leads when a callback is done."""
        events = self._endpoint.events
        clean = copy_context()
        count = 0
        while True:
            while events and count < _EVENTS_AT_ONCE:
                me.waited = False
                if type(events[0]) is Received:
                    count += await self._receive(me, clean, _EVENTS_AT_ONCE - count)
                else:
                    count += 1
                    me.event = events.popleft()
                    await self._tell(me.event)
                if me.waited:
                    if self._tasks is None or (me.scope is not None and me.scope.cancel_called):
                        return  # we are being cancelled, whatever the callback made of it
                    self._waits_no_more(me)
                    if self._leader is None:
                        self._leader = me
                    elif self._leader is not me:
                        return
                if copy_context() != clean:
                    return
            me.event = None  # a task that rests holds on to nothing
            count = 0
            self._stage.flush()
            me.resting = True
            if events:
                await anyio.lowlevel.checkpoint()
            else:
                me.parked = True
                await me.parking.wait()
            me.resting = False

    async def _receive(self, me: _Lead, clean: Context, most: int) -> int:
        """Hand the application messages until one waits or something else comes: what an echo costs.

        Gives back how many there were.
        """
        endpoint = self._endpoint
        events, proceed = endpoint.events, endpoint.proceed
        count = 0
        while events and count < most and type(first := events[0]) is Received:
            events.popleft()
            lifetime = self._lifetimes[first.connection_id]
            connection, owner, on_received = lifetime.connection, lifetime.owner, lifetime.on_received
            event: Received | None = first
            while event is not None:
                count += 1
                me.event = connection._message = event
                data: Any = event.data
                try:
                    if type(data) is str:
                        connection.text = data
                        if not lifetime.raw:
                            data = read_data(data)
                    else:
                        connection.text = ""
                    if not (connection.ended and owner.cancels_received):  # else nobody waits for it: it is not begun
                        await on_received(connection, data)
                except BaseException as error:
                    if not self._has_gone_on(event):
                        connection._message = None
                        self._complete(event, error=error)
                    self._failed(event, error)
                    return count
                taken = connection._message is not event
                if taken and self._has_gone_on(event):
                    return count
                connection._message = None
                if me.waited or count >= most or copy_context() != clean or (taken and not event.exchange.duplex):
                    self._complete(event, hold=taken)
                    return count
                event = proceed(event, self.now)
        return count

    def _has_gone_on(self, event: Received) -> bool:
        """It let the next message come, so that it is complete already."""
        if event not in self._let_go:
            return False
        self._let_go.remove(event)
        return True

    def _complete(
        self,
        event: AppEvent,
        *,
        answer: Sequence[str] | None = None,
        error: BaseException | None = None,
        hold: bool = False,
    ) -> None:
        if self._tasks is not None:
            self._endpoint.complete(event, self._stage.clock(), answer=answer, error=error, hold=hold)

    async def _tell(self, event: AppEvent) -> None:
        """Tell the application of anything but a message."""
        answer: Sequence[str] | None = None
        failure: BaseException | None = None
        try:
            answer = await self._run(event)
        except BaseException as error:
            failure = error
        self._complete(event, answer=answer, error=failure)
        try:
            if failure is not None:
                self._failed(event, failure)
        finally:
            if self._tasks is not None and type(event) is Disconnected:
                self._lifetimes.pop(event.connection_id).end()
                self._check_empty()

    def _failed(self, event: AppEvent, error: BaseException) -> None:
        """The event is over; its task may be, too."""
        if ends_this_task(error):
            raise error
        id = event.connection_id
        lifetime = self._lifetimes.get(id)
        extra = {"connection_id": id} if lifetime is None else lifetime.connection.log_extra
        if isinstance(error, RemoteProtocolError):
            _logger.warning("a message of connection %s was refused: %.300r", id, str(error), extra=extra)
        elif lifetime is not None and type(event) is not Disconnected and lifetime.is_cut_short_by(error):
            _logger.debug("%s of connection %s was cut short: it has ended", type(event).__name__, id, extra=extra)
        else:
            _logger.error("%s of connection %s failed", type(event).__name__, id, exc_info=error, extra=extra)

    async def _run(self, event: AppEvent) -> Sequence[str] | None:
        lifetime = self._lifetimes.get(event.connection_id)
        if lifetime is None:
            assert isinstance(event, Connected | Rejoining | Reconnected)
            connection = Connection(event.connection_id, event.request, self._stage, event.route)
            lifetime = self._lifetimes[event.connection_id] = Lifetime(self._routes[event.route], connection)
        connection, owner = lifetime.connection, lifetime.owner
        if _logger.isEnabledFor(logging.DEBUG) and not isinstance(event, Alarm):
            _logger.debug("connection %s: %s", connection.id, _told(event), extra=connection.log_extra)
        match event:
            case Connected():
                await call(owner.on_connected, connection)
            case Rejoining():
                return tuple(await call(owner.on_rejoining_groups, connection, event.groups))
            case Reconnected():
                connection.request = event.request
                connection.recovered, connection.missed = event.recovered, event.missed
                await call(owner.on_reconnected, connection)
            case Gap():
                connection.recovered, connection.missed = False, event.missed
                extra = connection.log_extra
                _logger.warning(
                    "connection %s is slow and missed %s messages", connection.id, event.missed, extra=extra
                )
                await call(owner.on_gap, connection)
            case Alarm():
                await call(owner.on_alarm, connection)
            case _:
                assert isinstance(event, Disconnected)
                self._desert(lifetime)
                await call(owner.on_disconnected, connection, event.reason)
        return None


def _told(event: AppEvent) -> str:
    """For the log."""
    match event:
        case Reconnected():
            return "reconnected" if event.recovered else f"reconnected, {event.missed} messages lost"
        case Disconnected():
            return f"disconnected ({event.reason})"
        case _:
            return type(event).__name__.lower()
