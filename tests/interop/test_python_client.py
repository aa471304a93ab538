"""signalr-client-threads 0.0.12, a classic client for hubs; its bare connection serves us too."""

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

    def __init__(self, url: str) -> None:
        self.session = requests.Session()
        self._answers: list[Any] = []
        self.session.hooks["response"].append(lambda answer, **options: self._answers.append(answer))
        self.connection = signalr.Connection(url, self.session)
        self.connection.received += self._on_received
        self._messages: list[Any] = []
        self._news = threading.Condition()

    def _on_received(self, **envelope: Any) -> None:
        with self._news:
            self._messages += envelope.get("M", ())
            self._news.notify_all()

    def until(self, count: int) -> list[Any]:
        """The first `count` messages; waits for them."""
        with self._news:
            assert self._news.wait_for(lambda: len(self._messages) >= count, 10), self._messages
            return self._messages[:count]

    def send(self, data: Any) -> None:
        self.connection.send(data)

    def close(self) -> None:
        if self.connection.is_open:
            self.connection.close()  # its listener ends with the next frame: a keep-alive
        for answer in self._answers:
            answer.close()  # the stream is left open by their client
        self.session.close()


@pytest.fixture
def talk_to() -> Iterator[Callable[[ServerProcess], Talk]]:
    talks: list[Talk] = []

    def talk_to(server: ServerProcess) -> Talk:
        talks.append(Talk(f"{server.origin}/chat"))
        return talks[-1]

    yield talk_to
    for talk in talks:
        talk.close()


def test_over_websockets(impatient_server: ServerProcess, talk_to: Callable[[ServerProcess], Talk]) -> None:
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


def test_over_event_streams(
    impatient_server: ServerProcess, talk_to: Callable[[ServerProcess], Talk], monkeypatch: pytest.MonkeyPatch
) -> None:
    websockets = pytest.importorskip("signalr.transports._ws_transport").WebSocketsTransport
    monkeypatch.setattr(websockets, "accept", lambda transport, negotiated: False)
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
