"""Whatever clients of both dialects ask for on one mount, and in whatever order: nothing raises (rule 5)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from persistconn import Settings
from persistconn.bus.post import Payload
from persistconn.protocol import Connected, Disconnected, Exchange, Received

from .aspnetcore_talk import JSON, PACKED, TRANSPORTS, CoreClient, CoreTalk, KeptFrames
from .talk import Client

METHODS = ("GET", "POST", "DELETE", "PUT", "OPTIONS", "HEAD")
PATHS = (
    *("/echo", "/echo/", "/Echo", "/echo/chat", "/echo/nothing", "/echo/negotiate", "/echo/chat/negotiate"),
    *("/echo/refresh", "/echo/connect", "/echo/start", "/echo/send", "/echo/abort", "/echo/poll", "/echo/reconnect"),
    *("/echo/ping", "/core", "/core/negotiate", "/parts", "/", "", "/\ud800", "/echo/\u0130"),
)
FIELDS = (
    *("id", "ID", "negotiateVersion", "useStatefulReconnect", "access_token", "transport", "clientProtocol"),
    *("connectionToken", "messageId", "groupsToken", "callback", "_"),
)
ACCEPTS = (None, "text/event-stream", "Text", "text/event-stream;q=x, , */*", "\xff")

text = st.text(max_size=20)


@st.composite
def queries(draw: st.DrawFn) -> str:
    fields = draw(st.lists(st.tuples(st.sampled_from(FIELDS), st.one_of(text, st.just("%token%"), st.just("1")))))
    raw = draw(st.one_of(st.none(), text))
    return raw or "&".join(f"{name}={quote(value, safe='%', errors='replace')}" for name, value in fields)


requests = st.tuples(
    st.sampled_from(METHODS),
    st.sampled_from(PATHS),
    queries(),
    st.booleans(),
    st.binary(max_size=30),
    st.sampled_from(ACCEPTS),
    st.sampled_from([None, "ann", "bob"]),
)
events = st.one_of(
    requests,
    st.tuples(st.sampled_from(["lost", "graceful", "sent", "hear", "time"]), st.integers(0, 40)),
    st.tuples(st.sampled_from(["get", "post", "delete", "say", "speak", "resume", "close"]), st.integers(0, 5)),
)


class Chaos:
    """Clients of all kinds, and strangers who know their tokens."""

    def __init__(self) -> None:
        self.talk = CoreTalk(Settings(allow_stateful_reconnect=True, inbox_messages=2, ring_messages=32))
        self.clients = [CoreClient(self.talk, one, stateful=True) for one in TRANSPORTS for _ in range(2)]
        self.classic = Client(self.talk)
        self.exchanges: list[Exchange] = []

    def do(self, what: tuple[Any, ...]) -> None:
        if len(what) > 2:
            self.ask(*what)
        elif what[0] in ("lost", "graceful", "sent", "hear", "time"):
            self.happen(*what)
        else:
            self.act(what[0], self.clients[what[1]])

    def ask(self, method: str, path: str, query: str, upgrade: bool, body: bytes, accept: Any, user: Any) -> None:
        tokens = [client.token for client in self.clients] + [quote(self.classic.token)]
        for token in tokens[: 1 + len(body)]:
            exchange = self.talk.open(
                path,
                query.replace("%token%", token),
                method=method,
                upgrade=upgrade,
                body=body,
                headers=None if accept is None else {"Accept": accept},
                user=user,
                slow=len(body) % 2 > 0,
            )
            self.exchanges.append(exchange)

    def happen(self, what: str, which: int) -> None:
        talk = self.talk
        if what == "time":
            talk.pass_time(which)
        elif self.exchanges:
            exchange = self.exchanges[which % len(self.exchanges)]
            if what == "hear":
                talk.endpoint.receive(exchange, "hello", talk.now)
            elif what == "sent":
                if exchange.in_flight:
                    talk.endpoint.sent([exchange], talk.now)
            else:
                talk.endpoint.lost(exchange, talk.now, graceful=what == "graceful")
            talk.drain()

    def act(self, what: str, client: CoreClient) -> None:
        talk = self.talk
        if what in ("get", "post", "delete"):
            exchange = getattr(client, what)()
            self.exchanges.append(exchange)
        elif what == "say":
            talk.say(client, b"frame")
            talk.broadcast("all")
        elif what == "speak":
            talk.speak(client, JSON if talk.now % 2 else PACKED)
        elif what == "resume":
            talk.endpoint.terms.resume_with(client.id, KeptFrames(2), talk.now)
        else:
            talk.close(client)


@given(st.lists(events, max_size=25))
@settings(max_examples=100)
def test_nothing_that_a_peer_asks_raises(story: list[tuple[Any, ...]]) -> None:
    chaos = Chaos()
    for what in story:
        chaos.do(what)
    talk = chaos.talk
    talk.shut_down()
    talk.pass_time(1_000)
    begun, ended = ([event.connection_id for event in talk.told(kind)] for kind in (Connected, Disconnected))
    assert len(set(begun)) == len(begun) and sorted(begun) == sorted(ended)
    assert {event.connection_id for event in talk.told(Received)} <= set(begun)
    assert talk.endpoint.statistics().connections == 0
    lifecycle = talk.endpoint._lifecycle
    assert not lifecycle.by_key and not lifecycle.sessions
    assert talk.endpoint.send("nobody", Payload("x"), talk.now) is None
