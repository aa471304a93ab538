"""What a driver is tried with: an application that does as clients say, and an endpoint that watches its caller."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

import anyio

from persistconn import App, Connection, DisconnectReason, LocalProtocolError, Payload, PersistentConnection, Settings

from ...protocol import (
    AppEvent,
    Connected,
    Disconnected,
    Received,
    Reconnected,
    Rejoining,
    Route,
    ServerEndpoint,
    Transmit,
    everyone,
)

__all__ = ["PATH", "Told", "Trial"]

PATH: Final = "/contract"
_BIG: Final = "x" * 60_000
_KEY: Final = b"the key of a contract, 32 bytes!"
_BACK: Final = 1.0
"""Seconds by which `now` may go back before we say so: threads read the clock before they have the lock."""


class BriefSettings(Settings):
    """Settings with time-outs shorter than any that work between real machines."""

    def __post_init__(self) -> None:
        pass


class Told:
    """What the application was told, and what was wrong with how it was told; any thread may ask."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._notes: list[tuple[str, str]] = []
        self.complaints: list[str] = []
        self.unsent = False
        """There was a Transmit, and `sent` was never called: whatever else goes wrong, that is why."""

    def note(self, id: str, what: str) -> None:
        """The application was told `what` of a connection."""
        with self._changed:
            self._notes.append((id, what))
            self._changed.notify_all()

    def complain(self, sentence: str) -> None:
        """The driver broke a rule."""
        with self._changed:
            self.complaints.append(sentence)
            self._changed.notify_all()

    def of(self, id: str) -> list[str]:
        """All that was told of a connection."""
        with self._changed:
            return [what for whose, what in self._notes if whose == id]

    def forget(self, id: str) -> None:
        """Count anew what is told of a connection."""
        with self._changed:
            self._notes = [note for note in self._notes if note[0] != id]

    def wait(self, id: str, what: str, patience: float, times: int = 1) -> None:
        """Until the application has been told; TimeoutError: it never was."""

        def is_told() -> bool:
            return bool(self.complaints) or sum(note == (id, what) for note in self._notes) >= times

        with self._changed:
            if not self._changed.wait_for(is_told, patience):
                heard = ", ".join(dict.fromkeys(note for whose, note in self._notes if whose == id)) or "nothing"
                raise TimeoutError(f"the application was not told {what!r} of the connection, but: {heard[:200]}")


class Trial:
    """What a driver has to be started with.

    One that drives the core takes `endpoint` and `application`: it calls `application(endpoint, event, now)` for each
    event of `poll`, and the application calls `complete`, perhaps much later and in the call for another event. One
    that serves an `App` takes `app`. The connections are at `/contract`.
    """

    def __init__(self, settings: Settings | None = None, *, dwell: float = 0.0) -> None:
        self.settings = Settings() if settings is None else settings
        self.told = Told()
        self._dwell = dwell
        self._held: list[AppEvent] = []

    @cached_property
    def endpoint(self) -> ServerEndpoint:
        """An endpoint whose time is `time.monotonic()`. It notes every misuse, beside raising LocalProtocolError."""
        return _WatchfulEndpoint(self)

    @cached_property
    def app(self) -> App:
        """An App with the same application."""
        app = App(settings=self.settings, secret_keys=[_KEY])
        app.add_connection(PATH, _Guided(self.told))
        return app

    def application(self, endpoint: ServerEndpoint, event: AppEvent, now: float) -> None:
        """Do what the client says in a message; what it does not know is echoed."""
        id, told = event.connection_id, self.told
        if isinstance(event, Connected):
            told.note(id, "connected")
        elif isinstance(event, Reconnected):
            told.note(id, "reconnected" if event.recovered else "reconnected, with a loss")
        elif isinstance(event, Disconnected):
            told.note(id, f"disconnected: {event.reason}")
        elif isinstance(event, Received):
            text = event.data if isinstance(event.data, str) else event.data.decode()
            word, _, rest = text.rstrip(";").partition(" ")
            told.note(id, word)
            if word == "hold":
                self._held.append(event)
                return
            if word == "release":
                held, self._held = self._held, []
                for one in held:
                    endpoint.complete(one, now)
            if word == "close":
                endpoint.close(id, now)
            elif word == "to":
                whom, _, text = rest.partition(" ")
                endpoint.send(whom, Payload(f"{text};"), now)
            elif word == "all":
                endpoint.publish(everyone(PATH), Payload(f"{rest};"), now)
            elif word == "big":
                endpoint.send(id, Payload(f"{_BIG}{rest};"), now)
            elif word != "quiet":
                endpoint.send(id, Payload(text), now)
        answer = list(event.groups) if isinstance(event, Rejoining) else None
        endpoint.complete(event, now, answer=answer)


class _Guided(PersistentConnection):
    """`Trial.application` for those who serve an App."""

    raw_text = True

    def __init__(self, told: Told) -> None:
        self._told = told
        self._released: list[anyio.Event] = []

    async def on_connected(self, connection: Connection) -> None:
        self._told.note(connection.id, "connected")

    async def on_reconnected(self, connection: Connection) -> None:
        self._told.note(connection.id, "reconnected" if connection.recovered else "reconnected, with a loss")

    async def on_disconnected(self, connection: Connection, reason: DisconnectReason) -> None:
        self._told.note(connection.id, f"disconnected: {reason}")

    async def on_received(self, connection: Connection, data: Any) -> None:
        text = data if isinstance(data, str) else data.decode()
        word, _, rest = text.rstrip(";").partition(" ")
        self._told.note(connection.id, word)
        if word == "hold":
            released = anyio.Event()
            self._released.append(released)
            await released.wait()
            return
        if word == "release":
            for released in self._released:
                released.set()
        if word == "close":
            await connection.close()
        elif word == "to":
            whom, _, text = rest.partition(" ")
            await self.send(whom, f"{text};")
        elif word == "all":
            await self.broadcast(f"{rest};")
        elif word == "big":
            await connection.send(f"{_BIG}{rest};")
        elif word != "quiet":
            await connection.send(text)


def _watched(name: str) -> Callable[..., Any]:
    inner = getattr(ServerEndpoint, name)

    def call(self: _WatchfulEndpoint, *args: Any, **options: Any) -> Any:
        return self.watch(name, inner, args, options)

    return call


class _WatchfulEndpoint(ServerEndpoint):
    """Says when a driver calls it in two threads at once (rule 5), or with a clock that goes back (rule 4)."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._turn = threading.RLock()
        self._newest = 0.0
        self._was_sent = False
        super().__init__(
            [Route(PATH)],
            trial.settings,
            secret_keys=[_KEY],
            entropy=secrets.token_bytes,
            wall=time.time() - time.monotonic(),
        )

    def watch(self, name: str, inner: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Make one call, and see that it is the only one."""
        try:
            if not self._turn.acquire(blocking=False):
                raise LocalProtocolError(
                    f"{name}() was called while another thread is in a call: make all calls in one loop, or hold one"
                    " lock around each call and the poll() that follows (rule 5)"
                )
            try:
                self._look_at_the_clock(name, args, options)
                if self._trial._dwell:  # gives other threads the time to break rule 5
                    time.sleep(self._trial._dwell)
                result = inner(self, *args, **options)
            finally:
                self._turn.release()
            self._was_sent = self._was_sent or name == "sent"
            self._trial.told.unsent = not self._was_sent and (self._trial.told.unsent or type(result) is Transmit)
            return result
        except LocalProtocolError as error:
            self._trial.told.complain(str(error))
            raise

    def _look_at_the_clock(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        times = [value for value in (*args, *options.values()) if type(value) is float]
        if times and times[0] < self._newest - _BACK:
            self._trial.told.complain(
                f"{name}() got a `now` of {times[0]:.1f} after one of {self._newest:.1f}: use one steady clock for all"
                " calls, as time.monotonic is (rule 4)"
            )
        self._newest = max(self._newest, *times, 0.0)


for _name in (
    *("open", "receive", "receive_all", "pong", "sent", "lost", "tick", "complete", "proceed", "reply", "send"),
    *("publish", "join", "leave", "close", "drain", "poll", "poll_network"),
):
    setattr(_WatchfulEndpoint, _name, _watched(_name))
