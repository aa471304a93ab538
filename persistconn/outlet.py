"""The way out for what users send: what connections ask of the host that serves them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias

from anyio.lowlevel import checkpoint, current_token

from .bus.post import Encoded
from .errors import PersistconnError, RemoteProtocolError
from .protocol.outputs import Received
from .protocol.replay import Replay
from .protocol.terms import Terms
from .wire.format import Format

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Nothing", "Outlet", "Unmounted", "Unserved"]

Nothing: TypeAlias = Coroutine[Any, Any, None]


class Outlet(Protocol):
    """The way out for what users send; the host provides it.

    Each method that sends complains at once when it is called in a thread without the event loop: there a coroutine
    would be made and dropped in silence.
    """

    thread: int | None
    """The thread of the event loop; None when the app is not running."""

    def send(self, ids: Sequence[str], payload: Encoded) -> Nothing:
        """Post to connections; to a single one, wait while it is too far behind. Unknown ids are no error."""
        ...

    def publish(self, topic: str, payload: Encoded, exclude: frozenset[str]) -> Nothing:
        """Post to a topic; waits for nobody."""
        ...

    def join(self, connection_id: str, name: str) -> Nothing:
        """Put a connection into a group of its route."""
        ...

    def leave(self, connection_id: str, name: str) -> Nothing:
        """Take it out."""
        ...

    def close(self, connection_id: str, reason: str, allow_reconnect: bool) -> Nothing:
        """End a connection, or only its transport."""
        ...

    async def send_to(self, connection_id: str, payload: Encoded) -> None:
        """Like `send`, for callers who know that they are in the right `thread`; ConnectionClosed when it has ended."""
        ...

    def complain(self, what: str) -> NoReturn:
        """Say why `what` cannot be sent from here."""
        ...

    def reply(self, message: Received, payload: Encoded) -> Nothing:
        """Answer one message; wait while too many answers wait for the client."""
        ...

    def refuse(self, message: Received, error: RemoteProtocolError) -> None:
        """Answer one message with an error."""

    def let_next(self, message: Received) -> None:
        """The next message of its connection may come."""

    @property
    def terms(self) -> Terms:
        """What is known of connections, and counted."""
        ...

    def speak(self, connection_id: str, format: Format) -> None:
        """Send a connection this form of every payload."""

    def subscribe(self, connection_id: str, topic: str) -> Nothing:
        """Let a connection read a topic of its route."""
        ...

    def alarm(self, connection_id: str, seconds: float | None) -> None:
        """Tell a connection's owner when some time has passed."""

    def resume_with(self, connection_id: str, replay: Replay) -> None:
        """Let a connection outlive its socket."""

    def interject(self, connection_id: str, frame: bytes) -> None:
        """Send a frame out of turn."""

    def go_on_sending(self, connection_id: str) -> None:
        """Hand out what had to wait."""

    def start_soon(self, connection: Connection, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a task that ends with the connection."""


class Unmounted:
    """The outlet of a PersistentConnection that is in no App."""

    def __getattr__(self, name: str) -> Any:
        raise PersistconnError(
            "nothing can be sent, for nothing is being served: mount it with app.add_connection(path, …) or "
            "app.add_hubs(path, …), and serve the app first"
        )


class Unserved(Unmounted):
    """The outlet of a PersistentConnection in an App that does not run: nobody is connected, so nobody is reached.

    That is no mistake on an event loop: mounted in a framework, an App runs from its first request on, and a route that
    broadcasts must not fail before. Where no loop runs nobody can ever have been connected, and the error says so.
    """

    def publish(self, topic: str, payload: Encoded, exclude: frozenset[str]) -> Nothing:
        """See Outlet."""
        return self._reach_nobody()

    def send(self, ids: Sequence[str], payload: Encoded) -> Nothing:
        """See Outlet."""
        return self._reach_nobody()

    def join(self, connection_id: str, name: str) -> Nothing:
        """See Outlet."""
        return self._reach_nobody()

    def leave(self, connection_id: str, name: str) -> Nothing:
        """See Outlet."""
        return self._reach_nobody()

    def _reach_nobody(self) -> Nothing:
        try:
            current_token()
        except RuntimeError:
            self.__getattr__("send")
        return checkpoint()
