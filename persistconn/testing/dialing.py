"""What a client of either dialect does in the same way: requests to a server in this process, and a line that ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ..drivers.state import ServerState
from ..errors import ConnectionClosed, PersistconnError
from ..tasks import Tasks
from .socketless import Socketless

__all__ = ["Dialer", "Heard", "Refused", "Wire"]

Heard: TypeAlias = Callable[[Any], None]
"""Is told of one thing that has come."""


class Refused(PersistconnError):
    """The server did not let the client in, or did not take what it sent: `status` and `text` are its answer.

    >>> from persistconn.testing import Refused
    >>> str(Refused("POST /chat/negotiate", 401, "Who are you?"))
    'POST /chat/negotiate was answered with 401: Who are you?'
    """

    def __init__(self, what: str, status: int, text: str = "") -> None:
        super().__init__(f"{what} was answered with {status}" + (f": {text}" if text else ""))
        self.status = status
        self.text = text


class Dialer:
    """Who makes the requests of one client."""

    def __init__(
        self, state: ServerState, tasks: Tasks, path: str, headers: Mapping[str, str], query: str, user: str | None
    ) -> None:
        self.tasks = tasks
        self.path = path
        """Where the connection is mounted; of a hub on ASP.NET Core, with its name."""
        self._state = state
        self._headers = headers
        self._query = query
        self._user = user

    def open(
        self,
        method: str,
        verb: str,
        query: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        upgrade: bool = False,
    ) -> Socketless:
        """Make a request, on a line of its own. `verb` is what stands behind the path, with its slash."""
        line = Socketless(self._state, self._user)
        query = "&".join(part for part in (query, self._query) if part)
        target = f"{self.path}{verb}" or "/"
        line.ask(
            *(method, f"{target}?{query}" if query else target, {**self._headers, **(headers or {})}, body),
            upgrade=upgrade,
        )
        return line

    async def ask(
        self, method: str, verb: str, query: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> bytes:
        """The body of the answer. Raises Refused for a status that is no success."""
        line = self.open(method, verb, query, headers=headers, body=body)
        await self.check(line, f"{method} {self.path}{verb}")
        content = await line.body()
        line.lose()
        return content

    async def check(self, line: Socketless, what: str) -> None:
        """Wait for the head of an answer. Raises Refused."""
        status = await line.head()
        if not (status == 101 or 200 <= status < 300):
            text = (await line.body()).decode("utf-8", "replace")
            line.lose()
            raise Refused(what, status, text)


class Wire(ABC):
    """One connection, as a client of one dialect makes it: `heard` is told of all that comes, in order."""

    def __init__(self, dialer: Dialer, transport: str, heard: Heard, ended: Heard) -> None:
        self.dialer = dialer
        self.transport = transport
        self.heard = heard
        self.ended = ended
        """Told when the server has ended the connection, with an error to raise."""
        self.id = ""
        """The server's name for the connection."""
        self.is_open = False
        self.line: Socketless | None = None
        """What goes to the client comes on it."""
        self.reason = ""
        """Why the server ends the connection, in its own words."""
        self._turn = 0
        """Counts lines, so that what comes on an old one is not taken for news."""

    @abstractmethod
    async def start(self) -> None:
        """Connect. Raises Refused."""

    @abstractmethod
    async def say(self, message: str | bytes) -> None:
        """Send a message. Raises Refused."""

    @abstractmethod
    async def come_back(self) -> None:
        """Connect again after `cut`, as the same client if the server lets it. Raises Refused."""

    @abstractmethod
    async def leave(self) -> None:
        """End the connection, and say so."""

    @abstractmethod
    async def listen(self, line: Socketless) -> None:
        """Tell `heard` what comes on this line, until it is over."""

    def cut(self) -> None:
        """The line is lost, and nobody says goodbye."""
        line, self.line = self.line, None
        self._turn += 1
        if line is not None:
            line.lose()

    def attach(self, line: Socketless) -> None:
        """From now on, this line is listened to."""
        self.is_open = True
        self.line = line
        self._turn += 1
        self.dialer.tasks.spawn(self._listen, line, self._turn)

    async def _listen(self, line: Socketless, turn: int) -> None:
        try:
            await self.listen(line)
            if turn == self._turn:  # nobody here has cut it or left
                await self.ended_by_server()
        except Exception as error:
            if turn == self._turn:
                self.over(error)

    async def ended_by_server(self) -> None:
        """The line is over, and it was not us."""
        self.over(ConnectionClosed(f"the server has ended the connection{self.reason and ': '}{self.reason}"))

    def over(self, error: Exception) -> None:
        """The connection is."""
        if self.is_open:
            self.is_open = False
            self.cut()
            self.ended(error)
