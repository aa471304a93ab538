"""Unmodified JavaScript clients of ASP.NET Core SignalR, in Node or in a page in Chromium, as a test drives them."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import threading
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .browser import BrowserPage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["WAYS", "Client", "ClientPage", "Clients", "NodeProcess", "Upload", "Way"]

DRIVER = Path(__file__).parent / "node" / "driver.mjs"
NEWEST = "@microsoft/signalr"

Way = tuple[str, str]
"""How a client is connected: its transport and its protocol."""

WAYS: tuple[Way, ...] = (
    ("webSockets", "json"),
    ("webSockets", "messagepack"),
    ("webSockets at once", "json"),  # without a negotiation
    ("webSockets at once", "messagepack"),
    ("serverSentEvents", "json"),
    ("longPolling", "json"),
    ("longPolling", "messagepack"),
)


class Upload:
    """An argument that is a stream of the client's: fill it with `Client.feed`, end it with `Client.finish`."""

    def __init__(self, name: str) -> None:
        self.name = name


def to_javascript(value: Any) -> Any:
    """Values as JSON; what that has not is tagged. JavaScript's side of this is `servers/aspnetcore.js`."""
    match value:
        case bytes():
            return {"$bytes": base64.b64encode(value).decode()}
        case datetime():
            return {"$date": value.isoformat()}
        case Upload():
            return {"$upload": value.name}
        case dict():
            return {key: to_javascript(each) for key, each in value.items()}
        case list() | tuple():
            return [to_javascript(each) for each in value]
        case _:
            return value


def from_javascript(value: Any) -> Any:
    match value:
        case {"$bytes": text}:
            return base64.b64decode(text)
        case {"$date": text}:
            return datetime.fromisoformat(text)
        case dict():
            return {key: from_javascript(each) for key, each in value.items()}
        case list():
            return [from_javascript(each) for each in value]
        case _:
            return value


class Clients(Protocol):
    """Where clients live. Each has a name there."""

    def obey(self, command: str, about: dict[str, Any]) -> Any:
        """Have the client called `about["client"]` do something (`servers/aspnetcore.js`), and wait until it has."""
        ...


class NodeProcess:
    """Clients in Node."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answers: dict[int, dict[str, Any]] = {}
        self.errors: list[str] = []
        """What was thrown and nobody caught."""
        self._news = threading.Condition()
        self._commands = 0
        self._over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            with self._news:
                if answer["number"] is None:
                    self.errors.append(answer["error"])
                else:
                    self._answers[answer["number"]] = answer
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()

    def obey(self, command: str, about: dict[str, Any]) -> Any:
        self._commands += 1
        number = self._commands
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"number": number, "command": command, **about}) + "\n")
        self._process.stdin.flush()
        with self._news:
            answered = self._news.wait_for(lambda: self._over or number in self._answers, 60)
            assert answered and number in self._answers, f"Node has not answered {command} {about}: {self.errors}"
            answer = self._answers.pop(number)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()  # it ends when there is nobody to talk to
        try:
            self._process.wait(5)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._process.stdout.close()


class ClientPage(BrowserPage):
    """Clients in a page, `servers/aspnetcore.html`."""

    def __init__(self, browser: Browser, url: str, **options: str) -> None:
        super().__init__(browser, url, **options)

    def obey(self, command: str, about: dict[str, Any]) -> Any:
        return self.run("([command, about]) => obey(command, about)", [command, about])


class Client:
    """One connection of a client. What it sees are lists: `["heard", name, …]` when the server has called it,
    `["item", stream, value]`, `["complete", stream]`, `["failed", stream, error]` of streams, `["outcome", call, …]`
    of calls that were begun, `["asked", …]`, `["received", data]`, and `["reconnecting", error]`,
    `["reconnected", id]`, `["closed", error]` in its life."""

    _numbers = itertools.count()

    def __init__(self, clients: Clients, url: str, way: Way, *, package: str = NEWEST) -> None:
        self._clients = clients
        self.name = f"client {next(self._numbers)}"
        self._url = url
        self.way = way
        transport, self.protocol = way
        self.at_once = transport.endswith(" at once")
        self.transport = transport.removesuffix(" at once")
        self._package = package
        self.id = ""

    def _do(self, command: str, **about: Any) -> Any:
        return from_javascript(self._clients.obey(command, {"client": self.name, **to_javascript(about)}))

    def _options(self, token: str | None) -> dict[str, Any]:
        return {
            "package": self._package,
            "url": self._url,
            "transport": self.transport[0].upper() + self.transport[1:],
            "skipNegotiation": self.at_once,
            "token": token,
        }

    # Its life

    def start(
        self,
        *,
        listen: Iterable[str] = ("hear",),
        token: str | None = None,
        reconnect: Iterable[float] | None = None,
        stateful: bool = False,
    ) -> Client:
        """Start it, with functions of the names in `listen`; `reconnect` are delays in seconds.

        There is a function `question` as well, which gives a result: it answers, fails or never ends."""
        self.id = self._do(
            "start",
            **self._options(token),
            protocol=self.protocol,
            listen=list(listen),
            reconnect=None if reconnect is None else [1000 * delay for delay in reconnect],
            stateful=stateful,
        )
        return self

    def start_raw(self, format: str, *, token: str | None = None) -> Client:
        """Start it as a connection without hubs; `format` is Text or Binary."""
        self.id = self._do("startRaw", **self._options(token), format=format)
        return self

    def stop(self) -> None:
        """Stop it, until it says that this is done."""
        assert self._do("stop") == {"value": None}

    @property
    def state(self) -> str:
        return str(self._do("state"))

    # Calls

    def call(self, method: str, *values: Any) -> Any:
        """What became of a call: `{"value"}` or `{"error"}`."""
        return self._do("call", method=method, values=values)

    def begin(self, name: str, method: str, *values: Any) -> None:
        """Call, and do not wait for what becomes of it: that will be seen."""
        self._do("begin", name=name, method=method, values=values)

    def until_outcome(self, name: str) -> Any:
        return self.until("outcome", name)[2]

    def send(self, method: str, *values: Any) -> None:
        """Call, and want no answer."""
        assert self._do("send", method=method, values=values) == {"value": None}

    def send_each(self, method: str, values: list[Any]) -> None:
        """One call for each value, none of them answered; nobody waits until they have left."""
        self._do("sendEach", method=method, values=values)

    def call_each(self, method: str, *before: Any, values: list[Any], at_once: int) -> None:
        """One call for each value, `before` in front of it, `at_once` of them at a time."""
        assert self._do("callEach", method=method, before=before, values=values, atOnce=at_once) == []

    def send_raw(self, data: str | bytes) -> None:
        assert self._do("sendRaw", data=data) == {"value": None}

    # Streams

    def stream(self, name: str, method: str, *values: Any) -> None:
        self._do("stream", name=name, method=method, values=values)

    def cancel(self, name: str) -> None:
        self._do("cancel", name=name)

    def feed(self, upload: Upload, *items: Any) -> None:
        self._do("feed", name=upload.name, items=items)

    def finish(self, upload: Upload, error: str | None = None) -> None:
        self._do("finish", name=upload.name, error=error)

    def items(self, stream: str) -> list[Any]:
        return [event[2] for event in self.seen if event[:2] == ["item", stream]]

    # What it saw

    def until(self, *event: Any, within: float = 15) -> list[Any]:
        """The first event that begins so; waits for it."""
        found: list[Any] = self._do("until", event=event, within=within)
        return found

    def until_heard(self, *values: Any, name: str = "hear", within: float = 15) -> None:
        """Wait until the server has called a function so."""
        self.until("heard", name, *values, within=within)

    @property
    def seen(self) -> list[list[Any]]:
        """All events, oldest first."""
        seen: list[list[Any]] = self._do("seen")
        return seen

    def heard(self, name: str = "hear") -> list[list[Any]]:
        """The arguments of each call of that function."""
        return [event[2:] for event in self.seen if event[:2] == ["heard", name]]

    def texts(self) -> list[str]:
        """What it heard, where that was one text each time."""
        return [text for (text,) in self.heard()]

    def moments(self) -> list[list[Any]]:
        """The events of its life."""
        return [event for event in self.seen if event[0] in ("reconnecting", "reconnected", "closed")]

    def forget(self) -> None:
        """Start the record of what was seen afresh."""
        self._do("forget")
