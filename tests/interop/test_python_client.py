"""signalr-client-threads 0.0.12, a classic client for hubs; on its bare connection, and as it is meant."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .harness import ServerProcess

signalr = pytest.importorskip("signalr", reason="signalr-client-threads is not installed")
requests = pytest.importorskip("requests", reason="requests, which signalr-client-threads needs, is not installed")


class Talk:
    """A connection of theirs and the messages it got."""

    def __init__(self, url: str, nudge: Callable[[Talk], None]) -> None:
        self._nudge = nudge
        """Has the server send it something."""
        self.session = requests.Session()
        self._answers: list[Any] = []
        self.session.hooks["response"].append(lambda answer, **options: self._answers.append(answer))
        self.connection = signalr.Connection(url, self.session)
        self.connection.received += self._on_received
        self._messages: list[Any] = []
        self._results: list[Any] = []
        self.heard: list[tuple[Any, ...]] = []
        self._news = threading.Condition()

    def _on_received(self, **envelope: Any) -> None:
        with self._news:
            if "I" in envelope:
                self._results.append(envelope)
            else:
                self._messages += envelope.get("M", ())
            self._news.notify_all()

    def until(self, count: int) -> list[Any]:
        """The first `count` messages; waits for them."""
        with self._news:
            assert self._news.wait_for(lambda: len(self._messages) >= count, 10), self._messages
            return self._messages[:count]

    def listen(self, hub: Any, name: str) -> None:
        """Give it a function that the server may call."""

        def note(*values: Any) -> None:
            with self._news:
                self.heard.append((name, *values))
                self._news.notify_all()

        hub.client.on(name, note)

    def until_heard(self, *call: Any) -> None:
        """Wait until the server has called a function so."""
        with self._news:
            assert self._news.wait_for(lambda: call in self.heard, 10), self.heard

    def until_result(self, id: int) -> dict[str, Any]:
        """What became of a call, as the wire has it: this client knows nothing of results."""
        with self._news:
            assert self._news.wait_for(lambda: any(each["I"] == str(id) for each in self._results), 10), self._results
            return next(each for each in self._results if each["I"] == str(id))

    def send(self, data: Any) -> None:
        self.connection.send(data)

    def close(self) -> None:
        if self.connection.is_open:
            self.connection.is_open = False
            self._nudge(self)  # its listener ends with the next frame
            self.connection.close()
        for answer in self._answers:
            answer.close()  # the stream is left open by their client
        self.session.close()


TalkTo = Callable[..., Talk]


@pytest.fixture
def talk_to() -> Iterator[TalkTo]:
    talks: list[Talk] = []

    def talk_to(server: ServerProcess, path: str = "/chat") -> Talk:
        def nudge(talk: Talk) -> None:
            if path == "/chat":
                server.order("send", id=talk.connection.id, texts=["that is all"])
            else:
                server.order("say", to="client", who=[talk.connection.id], texts=["that is all"])

        talks.append(Talk(server.url + path, nudge))
        return talks[-1]

    yield talk_to
    for talk in talks:
        talk.close()


@pytest.fixture
def no_websockets(monkeypatch: pytest.MonkeyPatch) -> None:
    websockets = pytest.importorskip("signalr.transports._ws_transport").WebSocketsTransport
    monkeypatch.setattr(websockets, "accept", lambda transport, negotiated: False)


def test_over_websockets(impatient_server: ServerProcess, talk_to: TalkTo) -> None:
    talk = talk_to(impatient_server)
    talk.connection.qs = {"name": "pelé"}
    talk.connection.start()
    event = impatient_server.wait("connected", id=talk.connection.id)
    assert (event["transport"], event["name"]) == ("webSockets", "pelé")
    talk.send({"text": "Grüße 😀"})
    assert talk.until(2) == [{"welcome": talk.connection.id}, {"echo": {"text": "Grüße 😀"}}]
    impatient_server.order("send every way", id=talk.connection.id, group="lobby", texts=list(map(str, range(100))))
    assert talk.until(102)[2:] == list(map(str, range(100)))
    talk.close()  # closes the socket and says nothing else
    impatient_server.wait("disconnected", id=talk.connection.id, reason="timed_out")


@pytest.mark.usefixtures("no_websockets")
def test_over_event_streams(impatient_server: ServerProcess, talk_to: TalkTo) -> None:
    talk = talk_to(impatient_server)
    talk.connection.start()
    assert impatient_server.wait("connected", id=talk.connection.id)["transport"] == "serverSentEvents"
    with pytest.raises(json.JSONDecodeError):  # written for hubs, it wants every /send to be answered with an object
        talk.send({"text": "Grüße 😀"})
    assert talk.until(2) == [{"welcome": talk.connection.id}, {"echo": {"text": "Grüße 😀"}}]
    impatient_server.order("send every way", id=talk.connection.id, group="lobby", texts=list(map(str, range(100))))
    assert talk.until(102)[2:] == list(map(str, range(100)))
    talk.close()
    impatient_server.wait("disconnected", id=talk.connection.id, reason="closed")


def test_hubs_over_websockets(hub_server: ServerProcess, talk_to: TalkTo) -> None:
    _uses_hubs(hub_server, talk_to(hub_server, "/signalr"), "webSockets")


@pytest.mark.usefixtures("no_websockets")
def test_hubs_over_event_streams(hub_server: ServerProcess, talk_to: TalkTo) -> None:
    talk = talk_to(hub_server, "/signalr")
    _uses_hubs(hub_server, talk, "serverSentEvents")
    talk.close()
    hub_server.wait("disconnected", id=talk.connection.id, hub="Lounge", reason="closed")


def _uses_hubs(server: ServerProcess, talk: Talk, transport: str) -> None:
    errors: list[str] = []
    connection = talk.connection
    connection.qs = {"colour": "blau & grün"}
    connection.error += errors.append
    lounge, board = connection.register_hub("Lounge"), connection.register_hub("NoticeBoard")
    for hub, name in ((lounge, "hear"), (lounge, "welcome"), (board, "pinned")):
        talk.listen(hub, name)
    connection.start()
    calls = iter(range(1000))

    def call(hub: Any, method: str, *arguments: Any) -> dict[str, Any]:
        hub.server.invoke(method, *arguments)
        return talk.until_result(next(calls))

    assert call(lounge, "WhoAmI") == {"R": [connection.id, None, transport, "blau & grün"], "I": "0"}
    assert call(lounge, "echo", {"text": "Grüße 😀", "list": [1, None]})["R"] == {"text": "Grüße 😀", "list": [1, None]}
    assert call(lounge, "join", "a room") == {"I": "2"}
    assert call(lounge, "fail", "no such room", {"code": 4}) == {
        "I": "3",
        "H": True,
        "E": "no such room",
        "D": {"code": 4},
    }
    generic = "There was an error invoking Hub method 'Lounge.{}'."
    assert call(lounge, "breakDown") == {"I": "4", "E": generic.format("breakDown")}
    assert call(lounge, "add", 1) == {"I": "5", "E": generic.format("add")}
    assert errors == ["no such room", generic.format("breakDown"), generic.format("add")]
    assert call(lounge, "remember", "seen", 1) == {"S": {"seen": 1}, "R": {}, "I": "6"}

    call(lounge, "say", "all", None, "to all")
    call(lounge, "say", "others", None, "not to itself")
    call(lounge, "sayExactly", "hear", [1, {"two": [3]}])
    call(lounge, "sayExactly", "HEAR", ["in capitals, which is another name here"])
    call(board, "pin", "a note")
    server.order("say", to="group", who=["a room"], texts=[str(number) for number in range(100)])
    server.order("say", to="client", who=[connection.id], texts=["the last"])
    talk.until_heard("hear", "the last")
    assert talk.heard == [
        ("welcome", None),
        ("hear", "seen is new"),
        ("hear", "to all"),
        ("hear", 1, {"two": [3]}),
        ("pinned", "a note"),
        *(("hear", str(number)) for number in range(100)),
        ("hear", "the last"),
    ]
    server.catch_up()
    assert [event["hub"] for event in server.events("connected", id=connection.id)] == ["Lounge", "Board"]
    assert [event["transport"] for event in server.events("connected", id=connection.id)] == [transport] * 2
