"""A conversation with an endpoint, written down and checked: `>>` is what happens, `<<` what it says to that."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ..protocol import (
    Abandon,
    AppEvent,
    Chunk,
    Drained,
    End,
    Exchange,
    Head,
    Message,
    Output,
    Payload,
    Ping,
    Request,
    Resume,
    ServerEndpoint,
    Transmit,
    Wait,
    everyone,
    group,
)
from .streams import Frames

__all__ = ["Line", "Placeholder", "Playbook", "Reply", "Tell"]


class Placeholder:
    """Something not known when the conversation is written down: it takes the first value it meets.

    From then on only an equal value matches it. In an f-string it is its value, percent-encoded.

    >>> cursor = Placeholder("cursor")
    >>> cursor == "e1-7", cursor == "e1-8", f"messageId={cursor}"
    (True, False, 'messageId=e1-7')
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.value: Any = None

    def __eq__(self, other: object) -> bool:
        if self.value is None:
            self.value = other
        return bool(self.value == other)

    __hash__ = None  # type: ignore[assignment]

    def __format__(self, spec: str) -> str:
        if self.value is None:
            raise LookupError(f"nothing has been met for {self!r} yet")
        return quote(str(self.value), safe="")

    def __repr__(self) -> str:
        return f"<{self.name}>" if self.value is None else f"<{self.name}: {self.value!r}>"


@dataclass(slots=True)
class Reply:
    """One thing the endpoint says: to a line (by name), or `app`, about a connection."""

    to: str
    what: str
    value: Any = ...
    """`...` is as good as anything."""

    def matches(self, said: Reply) -> bool:
        """`said` is what this expects."""
        return self.to == said.to and self.what == said.what and _like(self.value, said.value)

    def __str__(self) -> str:
        return f"<< {self.to} {self.what}{'' if self.value is ... else f' {self.value!r}'}"


@dataclass(frozen=True, slots=True)
class Tell:
    """Something that happens, in words, and how to do it."""

    words: str
    do: Callable[[Playbook], None]

    def __str__(self) -> str:
        return f">> {self.words}"


@dataclass(slots=True)
class Line:
    """A request or a WebSocket in the conversation. Its methods are what can happen to it or come on it."""

    name: str
    exchange: Exchange | None = None
    frames: Frames | None = None
    is_short: bool = True
    is_slow: bool = False
    body: bytes = field(default=b"", repr=False)

    def opens(self, method: str, target: str, body: str = "", *, slow: bool = False, pings: bool = False) -> Tell:
        """The request comes. `WS` as the method asks for a WebSocket; `slow`: `sent` has to be said."""
        path, _, query = target.partition("?")
        upgrade = method == "WS"
        request = Request("GET" if upgrade else method, path, query, body=body.encode(), upgrade=upgrade)

        def do(play: Playbook) -> None:
            transport = request.query.get("transport", "")
            receives = path.rsplit("/", 1)[-1] in ("connect", "reconnect", "poll")
            self.is_short = not receives or transport == "longPolling"
            self.is_slow = slow
            self.body = b""
            self.frames = None
            if receives and transport in ("serverSentEvents", "foreverFrame"):
                self.frames = Frames(scripts=transport == "foreverFrame")
            self.exchange = play.endpoint.open(request, play.now, context=self, pings=pings)

        return Tell(f"{self.name} {method} {path}", do)

    def says(self, text: str) -> Tell:
        """A WebSocket message comes from the client."""
        return Tell(f"{self.name} says {text!r}", lambda play: play.endpoint.receive(self._exchange(), text, play.now))

    def sent(self) -> Tell:
        """What is in flight has been written."""
        return Tell(f"{self.name} sent", lambda play: play.endpoint.sent([self._exchange()], play.now))

    def lost(self, *, graceful: bool = False) -> Tell:
        """The peer or its socket is gone; `graceful`: after the close frame of a WebSocket."""
        return Tell(
            f"{self.name} {'left' if graceful else 'lost'}",
            lambda play: play.endpoint.lost(self._exchange(), play.now, graceful=graceful),
        )

    def answers(self, status: int, body: Any = ...) -> Reply:
        """A whole answer: JSON as its value, anything else as text."""
        return Reply(self.name, f"answers {status}", body)

    def begins(self, status: int = 200) -> Reply:
        """The head of a stream, or 101 for a WebSocket."""
        return Reply(self.name, f"begins {status}")

    def gets(self, envelope: Any = ..., **keys: Any) -> Reply:
        """An envelope, a keep-alive (`{}`) or another message; or an envelope with these keys."""
        return Reply(self.name, "gets", keys or envelope)

    def ends(self) -> Reply:
        """The stream is over, or the WebSocket is closed."""
        return Reply(self.name, "ends")

    def abandoned(self) -> Reply:
        """It is to be cut."""
        return Reply(self.name, "abandoned")

    def _exchange(self) -> Exchange:
        if self.exchange is None:
            raise LookupError(f"{self.name} has not been opened")
        return self.exchange

    def read(self, pieces: tuple[Any, ...]) -> list[Reply]:
        """What these pieces say."""
        said: list[Reply] = []
        status = next((piece.status for piece in pieces if isinstance(piece, Head)), None)
        if status is not None and not (self.is_short and End() in pieces):
            said.append(self.begins(status))
        for piece in pieces:
            if isinstance(piece, Message):
                said.append(self.gets(json.loads(piece.data)))
            elif isinstance(piece, Chunk) and self.frames is not None:
                said += [self.gets(_value(text)) for text in self.frames.feed(piece.data)]
            elif isinstance(piece, Chunk):
                self.body += piece.data
                if self.is_short and not piece.data.strip() and End() not in pieces:
                    said.append(self.gets(" "))
            elif isinstance(piece, Ping):
                said.append(Reply(self.name, "pinged"))
            elif isinstance(piece, End):
                body = self.body.decode()
                if not self.is_short:
                    said.append(self.ends())
                elif status is None:
                    said.append(self.gets(_value(body)))
                else:
                    said.append(self.answers(status, _value(body)))
        return said


def _like(expected: Any, said: Any) -> bool:
    """`...` is like anything, also within an object."""
    if expected is ...:
        return True
    if isinstance(expected, dict) and isinstance(said, dict):
        return expected.keys() == said.keys() and all(_like(expected[key], said[key]) for key in expected)
    return bool(expected == said)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


class Playbook:
    """Plays a conversation with an endpoint, and raises AssertionError where it says something else.

    >>> from persistconn.protocol import Route, ServerEndpoint
    >>> endpoint = ServerEndpoint([Route("/echo")], secret_keys=[b"0123456789abcdef"], entropy=lambda n: b"e" * n)
    >>> play, ping = Playbook(endpoint), Line("ping")
    >>> play = play >> ping.opens("GET", "/echo/ping") << ping.answers(200, {"Response": "pong"})
    """

    def __init__(self, endpoint: ServerEndpoint, *, now: float = 0.0) -> None:
        self.endpoint = endpoint
        self.now = now
        self.events: list[AppEvent] = []
        """Those that have not completed, oldest first."""
        self._said: deque[Reply] = deque()
        self._written: list[str] = []

    def __rshift__(self, tell: Tell) -> Playbook:
        """Something happens. Everything said so far must have been expected."""
        self.ends()
        self._written.append(str(tell))
        tell.do(self)
        self._drain()
        return self

    def __lshift__(self, expected: Reply) -> Playbook:
        """The endpoint says this next; what goes to other lines at the same time may come in any order."""
        for said in self._said:
            if said.to == expected.to:
                if not expected.matches(said):
                    self._fail(f"expected {expected}")
                self._said.remove(said)
                self._written.append(str(said))
                return self
        return self._fail(f"expected {expected}")

    def takes(self, line: Line) -> Any:
        """What was said to `line` next, as a value, whatever it is."""
        said = next((said for said in self._said if said.to == line.name), None)
        if said is None:
            self._fail(f"expected something for {line.name}")
            return None
        self._said.remove(said)
        self._written.append(str(said))
        return said.value

    def ends(self) -> None:
        """Nothing more is said now."""
        if self._said:
            self._fail("nothing more was expected")

    def _fail(self, why: str) -> Playbook:
        lines = [*self._written, *(f"+ {said}" for said in self._said), f"- {why}"]
        raise AssertionError("\n".join(lines))

    # What else can happen -----------------------------------------------------------------------

    def passes(self, seconds: float) -> Tell:
        """Time passes; the endpoint is woken whenever it asked for it."""
        return Tell(f"{seconds:g} seconds pass", lambda play: play._sleep(seconds))

    def completes(self, answer: list[str] | None = None, error: Exception | None = None) -> Tell:
        """The application has dealt with the oldest event."""

        def do(play: Playbook) -> None:
            play.endpoint.complete(play.events.pop(0), play.now, answer=answer, error=error)

        return Tell("the application completes", do)

    def does(self, name: str, *arguments: Any, **more: Any) -> Tell:
        """The application calls this method of the endpoint; a topic is written `*/path` or `#name/path`."""

        def do(play: Playbook) -> None:
            given = list(arguments)
            if name == "publish":
                route = "/" + given[0].partition("/")[2]
                given[0] = everyone(route) if given[0][0] == "*" else group(route, given[0].partition("/")[0][1:])
            if name in ("publish", "send"):
                given[1] = Payload(given[1])
            given = [one.value if isinstance(one, Placeholder) else one for one in given]
            getattr(play.endpoint, name)(*given, play.now, **more)

        return Tell(f"the application does {name} {arguments!r}", do)

    def told(self, kind: type[AppEvent], connection_id: Any = ..., **values: Any) -> Reply:
        """The application is told; `values` are compared with the fields of the event."""
        return Reply("app", f"is told {kind.__name__}", _Values(connection_id, values))

    # Driving ------------------------------------------------------------------------------------

    def _sleep(self, seconds: float) -> None:
        end = self.now + seconds
        while (until := self._drain()) is not None and until <= end:
            self.now = max(self.now, until)
            self.endpoint.tick(self.now)
        self.now = end

    def _drain(self) -> float | None:
        while not isinstance(output := self.endpoint.poll(), Wait):
            self._hear(output)
        return output.until

    def _hear(self, output: Output) -> None:
        if isinstance(output, Transmit):
            for exchange in output.exchanges:
                line: Line = exchange.context
                self._said += line.read(output.pieces)
                if not line.is_slow:
                    self.endpoint.sent([exchange], self.now)
        elif isinstance(output, AppEvent):
            self.events.append(output)
            self._said.append(Reply("app", f"is told {type(output).__name__}", output))
        elif isinstance(output, Abandon):
            self._said.append(output.exchange.context.abandoned())
        elif isinstance(output, Resume):
            self._said.append(Reply(output.exchange.context.name, "resumes"))
        elif isinstance(output, Drained):
            self._said.append(Reply("app", "is told Drained"))


class _Values:
    """Equal to an event that has these values."""

    def __init__(self, connection_id: Any, values: dict[str, Any]) -> None:
        self._values = values if connection_id is ... else {"connection_id": connection_id, **values}

    def __eq__(self, event: object) -> bool:
        assert isinstance(event, AppEvent)
        known = {name: getattr(event, name) for name in event.__struct_fields__}
        return all(expected == known[name] for name, expected in self._values.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return " ".join(f"{name}={value!r}" for name, value in self._values.items())
