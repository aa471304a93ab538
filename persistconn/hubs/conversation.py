"""One connection on the dialect of ASP.NET Core: what is to be done, whose turn it is, what is under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import anyio

from persistconn import Connection, ConnectionClosed, DisconnectReason, Settings

from .described import DescribedHub
from .members import Member
from .messages import Completion, Invocation
from .session import HubSession
from .stages import Output
from .uploads import Upload

__all__ = ["Awaited", "Conversation", "Place", "Resumption"]


class Awaited:
    """A result that a client owes us."""

    __slots__ = ("completion", "failure", "ready")

    def __init__(self) -> None:
        self.ready = anyio.Event()
        self.completion: Completion | None = None
        self.failure: Exception | None = None


class Conversation(Member):
    """One connection, and the hub that it uses.

    Whoever holds the turn reads: it carries out what the session says, in order, and may have to wait. One message
    that comes meanwhile waits for its turn; the core holds back all others.
    """

    __slots__ = (
        "armed",
        "awaited",
        "connection",
        "free",
        "hub",
        "is_beginning",
        "is_read",
        "next_place",
        "next_turn",
        "outputs",
        "reason",
        "session",
        "spoken",
        "streams",
        "uploads",
    )

    def __init__(
        self, connection: Connection, hub: DescribedHub, session: HubSession, settings: Settings, now: float
    ) -> None:
        super().__init__((), settings, now)
        self.connection = connection
        self.hub = hub
        """Which it asked for. It is among `hubs` once the client may hear of it."""
        self.session = session
        self.spoken: Literal["json", "messagepack"] = "json"
        """The protocol that was agreed on."""
        self.outputs: deque[Output] = deque()
        """What is still to be carried out."""
        self.is_read = False
        """Somebody holds the turn."""
        self.next_turn: anyio.Event | None = None
        self.free = settings.max_parallel_calls
        """Places for calls."""
        self.next_place: anyio.Event | None = None
        self.is_beginning = False
        """`on_connected` runs: nothing that the client says is read meanwhile."""
        self.uploads: dict[str, Upload] = {}
        self.streams: dict[str, anyio.CancelScope] = {}
        self.awaited: dict[str, Awaited] = {}
        self.armed: float | None = None
        """When the next alarm comes."""
        self.reason: DisconnectReason | None = None
        """Why the session has ended, when the client or we ended it."""

    async def wait_for_turn(self) -> None:
        """Wait until nobody reads, and hold the turn."""
        while self.is_read:
            self.next_turn = anyio.Event()  # only one message can wait here: the core lets no further one come
            await self.next_turn.wait()
        self.is_read = True

    def pass_turn(self) -> None:
        """Whoever waits may read."""
        self.is_read = False
        if self.next_turn is not None:
            self.next_turn.set()
            self.next_turn = None

    async def wait_for_place(self) -> None:
        """Wait until there is room for one more call; only who holds the turn may ask."""
        while not self.free:
            self.next_place = anyio.Event()
            await self.next_place.wait()

    def open_uploads(self, call: Invocation) -> list[Upload]:
        """What comes for these ids is the call's, even before it has begun."""
        opened = [Upload() for _ in call.stream_ids]
        self.uploads.update(zip(call.stream_ids, opened, strict=True))
        return opened

    def close_uploads(self, call: Invocation, opened: list[Upload]) -> None:
        """The call is over: what comes for it from now on is dropped."""
        for id, upload in zip(call.stream_ids, opened, strict=True):
            upload.drop()
            if self.uploads.get(id) is upload:  # and not of a later call, that uses the id again
                del self.uploads[id]
                self.session.ids.end_uploads([id])

    def lose(self) -> None:
        """The connection is over: who waits for something of the client waits no more."""
        for upload in self.uploads.values():
            upload.end(ConnectionClosed("The underlying connection was closed."))
        for awaited in self.awaited.values():
            awaited.failure = ConnectionClosed(f"Connection '{self.connection.id}' disconnected.")
            awaited.ready.set()
        self.awaited.clear()


class Place:
    """The place of one call; given back once, when the call is over or waits for a result of its client."""

    __slots__ = ("_conversation",)

    def __init__(self, conversation: Conversation) -> None:
        """One has to be free."""
        conversation.free -= 1
        self._conversation: Conversation | None = conversation

    def give_back(self) -> None:
        """The next call may begin."""
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.free += 1
            if conversation.next_place is not None:
                conversation.next_place.set()
                conversation.next_place = None


class Resumption:
    """Stateful reconnect as the core asks for it: a `persistconn.Replay` made of the session."""

    __slots__ = ("_arm", "_clock", "_session")

    def __init__(self, session: HubSession, clock: Callable[[], float], arm: Callable[[], Any]) -> None:
        self._session = session
        self._clock = clock
        self._arm = arm

    @property
    def must_wait(self) -> bool:
        """See `persistconn.Replay`."""
        return self._session.must_wait

    def track(self, frame: bytes) -> None:
        """The same."""
        self._session.track(frame)

    def lost(self) -> None:
        """The same."""
        self._session.ended(graceful=False)

    def resume(self) -> tuple[bytes, ...]:
        """The same."""
        frames: tuple[bytes, ...] = ()
        if self._session.may_resume:
            said = self._session.resume(self._clock(), late=True)
            frames = tuple(frame for output in said for frame in output.frames)
        self._arm()
        return frames
