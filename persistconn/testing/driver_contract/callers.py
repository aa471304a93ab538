"""Clients of both dialects on all transports, as small as they can be: what they ask for, say and hear."""

from __future__ import annotations

import json
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar, Final
from urllib.parse import quote, urlencode

from ...wire.transports import EventStreamReader
from ..streams import Frames
from .trial import PATH, Trial
from .wire import UPGRADE, Ended, Wire, frame

__all__ = ["CALLERS", "Caller", "Classic", "Modern"]


class Caller(ABC):
    """A client that has connected. All it says and hears ends with a semicolon, by which raw polls are cut."""

    dialect: ClassVar[str]

    def __init__(self, trial: Trial, connect: Callable[[], socket.socket], transport: str, patience: float) -> None:
        self.trial = trial
        self.transport = transport
        self.patience = patience
        self.batches = 0
        """How many envelopes with messages came."""
        self.stream: Wire | None = None
        self.polls = False
        """A poll is under way."""
        self._connect = connect
        self._heard: list[str] = []
        self.side = self.wire()
        self.id = self.negotiate()
        self.open()

    # Each dialect has its own ---------------------------------------------------------------------

    @abstractmethod
    def negotiate(self) -> str:
        """Ask for an id."""

    @abstractmethod
    def open(self) -> None:
        """Connect."""

    @abstractmethod
    def target(self, verb: str = "") -> str:
        """Where to send what, the query included."""

    @abstractmethod
    def read(self, text: str) -> None:
        """Take in what came at once: an envelope, or the messages themselves."""

    @abstractmethod
    def say_by_request(self, text: str) -> None:
        """Say something where the transport goes one way only."""

    @abstractmethod
    def leave(self) -> None:
        """Go, and say so."""

    # And all have this ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """For what goes wrong."""
        return f"{self.dialect} {self.transport}"

    def wire(self) -> Wire:
        """Another socket."""
        return Wire(self._connect(), self.patience)

    def say(self, text: str) -> None:
        """Send a message."""
        if self.transport == "webSockets":
            assert self.stream is not None
            self.stream.send(frame(text))
        else:
            self.say_by_request(text)

    def hear(self) -> str:
        """The next message."""
        while not self._heard:
            self.take()
        return self._heard.pop(0)

    def take(self) -> None:
        """Wait for what the transport brings next, be it a sign of life."""
        stream = self.stream
        assert stream is not None
        if self.transport == "webSockets":
            self.read(stream.hear())
        elif self.transport == "longPolling":
            self.poll()
            self.polls = False
            status, body = stream.answer()
            if status != 200:
                raise Ended(f"a poll was answered {status}")
            self.read(body.decode())
        else:
            data = stream.chunk()
            if not data:
                raise Ended("the stream ended")
            for text in self._events(data):
                if text != "initialized":
                    self.read(text)

    def poll(self) -> None:
        """Be on the line: a long poll has to be asked for."""
        if self.transport == "longPolling" and not self.polls:
            assert self.stream is not None
            self.stream.request("GET", self.target("poll"))
            self.polls = True

    def attach(self, verb: str) -> None:
        """Begin a transport: its request, and the head of its answer."""
        self.stream = stream = self.wire()
        upgrades = self.transport == "webSockets"
        accept = "Accept: text/event-stream\r\n" if self.transport == "serverSentEvents" else ""
        stream.request("GET", self.target(verb), headers=UPGRADE if upgrades else accept)
        if self.transport == "longPolling":
            self.polls = True
            return
        status = stream.head()
        if status != (101 if upgrades else 200):
            raise Ended(f"the transport was answered {status}")
        self._events = self._reader()

    def _reader(self) -> Callable[[bytes], list[str]]:
        return Frames(scripts=True).feed if self.transport == "foreverFrame" else EventStreamReader().feed

    def cut(self) -> None:
        """Go without a word."""
        assert self.stream is not None
        self.stream.cut()
        self.polls = False

    def wait(self, what: str, times: int = 1) -> None:
        """Until the application has been told of it."""
        self.trial.told.wait(self.id, what, self.patience, times)

    def ask(self, method: str, target: str, body: str = "") -> bytes:
        """A request beside the transport."""
        status, answer = self.side.ask(method, target, body)
        if status not in (200, 202):
            raise Ended(f"{method} {target.partition('?')[0]} was answered {status} {answer[:100]!r}")
        return answer


class Classic(Caller):
    """A client of SignalR 2."""

    dialect = "classic"

    def negotiate(self) -> str:
        self._cursor: str | None = None
        self._works = False
        answer = json.loads(self.ask("GET", f"{PATH}/negotiate?clientProtocol=2.1"))
        self._token = answer["ConnectionToken"]
        id: str = answer["ConnectionId"]
        return id

    def target(self, verb: str = "") -> str:
        query = {"clientProtocol": "2.1", "transport": self.transport, "connectionToken": self._token}
        if self.transport == "foreverFrame":
            query["frameId"] = "1"
        if self._cursor is not None and verb in ("poll", "reconnect"):
            query["messageId"] = self._cursor
        return f"{PATH}/{verb}?{urlencode(query)}"

    def open(self) -> None:
        self.attach("connect")
        while not self._works:
            self.take()
        self.ask("GET", self.target("start"))

    def come_back(self) -> None:
        """The transport was lost: another one, from where the client is."""
        if self.transport == "longPolling":
            self.stream = self.wire()
        else:
            self.attach("reconnect")

    def read(self, text: str) -> None:
        envelope = json.loads(text)
        self._cursor = envelope.get("C", self._cursor)
        self._works = self._works or "S" in envelope
        if envelope.get("M"):
            self.batches += 1
            self._heard += envelope["M"]

    def say_by_request(self, text: str) -> None:
        self.ask("POST", self.target("send"), urlencode({"data": text}))

    def leave(self) -> None:
        self.ask("POST", self.target("abort"), "")


class Modern(Caller):
    """A client of ASP.NET Core SignalR, without a hub."""

    dialect = "aspnetcore"

    def negotiate(self) -> str:
        answer = json.loads(self.ask("POST", f"{PATH}/negotiate?negotiateVersion=1"))
        self._token = answer["connectionToken"]
        id: str = answer["connectionId"]
        return id

    def target(self, verb: str = "") -> str:
        return f"{PATH}?id={quote(self._token)}"

    def open(self) -> None:
        self.attach("")
        if self.transport == "longPolling":
            self.take()  # the first poll says that polls work

    def read(self, text: str) -> None:
        messages = text.split(";")[:-1]
        self.batches += bool(messages)
        self._heard += [f"{message};" for message in messages]

    def say_by_request(self, text: str) -> None:
        self.ask("POST", self.target(), text)

    def leave(self) -> None:
        assert self.stream is not None
        if self.transport == "webSockets":
            self.stream.say_goodbye()
            with suppress(Ended):
                self.stream.hear()
        elif self.transport == "longPolling":
            self.ask("DELETE", self.target())
        else:
            self.stream.sock.close()


CALLERS: Final[tuple[tuple[type[Caller], str], ...]] = (
    *((Classic, name) for name in ("webSockets", "serverSentEvents", "longPolling", "foreverFrame")),
    *((Modern, name) for name in ("webSockets", "serverSentEvents", "longPolling")),
)
"""Every way to connect."""
