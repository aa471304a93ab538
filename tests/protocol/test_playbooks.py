"""The important conversations of a classic client with the endpoint, written down, on every transport."""

from __future__ import annotations

from itertools import count

import pytest

from persistconn import Settings
from persistconn.protocol import (
    Connected,
    Disconnected,
    DisconnectReason,
    Gap,
    Received,
    Reconnected,
    Rejoining,
    Route,
    ServerEndpoint,
)
from persistconn.testing import Line, Placeholder, Playbook

WS, SSE, FF, LP = "webSockets", "serverSentEvents", "foreverFrame", "longPolling"
ALL = [WS, SSE, FF, LP]
STREAMS = [WS, SSE, FF]
STARTED = {"Response": "started"}


def server(settings: Settings | None = None, life: int = 0) -> ServerEndpoint:
    numbers = count(life * 1000)
    return ServerEndpoint(
        [Route("/echo")],
        settings,
        secret_keys=[b"0123456789abcdef"],
        entropy=lambda n: next(numbers).to_bytes(4, "big") * (n // 4),
    )


class Classic:
    """What a client knows, and the requests it makes."""

    def __init__(self, transport: str) -> None:
        self.transport = transport
        self.id, self.token = Placeholder("id"), Placeholder("token")
        self.cursor, self.groups = Placeholder("cursor"), Placeholder("groups token")

    def negotiates(self, play: Playbook) -> None:
        line = Line("negotiate")
        play >> line.opens("GET", "/echo/negotiate?clientProtocol=2.1")
        answer = play.takes(line)
        self.id.value, self.token.value = answer["ConnectionId"], answer["ConnectionToken"]

    def asks(
        self, action: str, *, cursor: object = None, groups: object = None, transport: str = ""
    ) -> tuple[str, str]:
        transport = transport or self.transport
        query = f"transport={transport}&clientProtocol=2.1&connectionToken={self.token}"
        query += f"&messageId={cursor}" if cursor is not None else ""
        query += f"&groupsToken={groups}" if groups is not None else ""
        query += "&frameId=1" if transport == FF else ""
        method = "WS" if transport == WS and action in ("connect", "reconnect") else "GET"
        return method, f"/echo/{action}?{query}"

    def begins(self, play: Playbook, line: Line) -> None:
        """Connect, start and, with long polling, poll."""
        self.negotiates(play)
        start = Line("start")
        play >> line.opens(*self.asks("connect"))
        opened(play, line, self.transport)
        play << gets(line, self.transport, C=self.cursor, S=1, M=[])
        play >> start.opens(*self.asks("start")) << play.told(Connected, self.id)
        play >> play.completes() << start.answers(200, STARTED)
        if self.transport == LP:
            play >> line.opens(*self.asks("poll", cursor=self.cursor))


def opened(play: Playbook, line: Line, transport: str) -> None:
    """The head, and the first event of an event stream."""
    if transport != LP:
        play << line.begins(101 if transport == WS else 200)
    if transport == SSE:
        play << line.gets("initialized")


def gets(line: Line, transport: str, **keys: object):  # type: ignore[no-untyped-def]
    return line.answers(200, keys) if transport == LP else line.gets(**keys)


@pytest.mark.parametrize("transport", ALL)
def test_connect_start_echo_abort(transport: str) -> None:
    play, client, line = Playbook(server()), Classic(transport), Line("transport")
    client.begins(play, line)
    send, abort, after = Line("send"), Line("abort"), Placeholder("after")
    if transport == WS:
        play >> line.says("hello") << play.told(Received, client.id, data="hello")
        play >> play.completes()
    else:
        play >> send.opens("POST", client.asks("send")[1], "data=hello") << play.told(Received, client.id, data="hello")
        play >> play.completes() << send.answers(200, "")
    play >> play.does("send", client.id, "hello") << gets(line, transport, C=after, M=["hello"])
    if transport == LP:
        play >> line.opens(*client.asks("poll", cursor=after))
    play >> abort.opens("POST", client.asks("abort")[1])
    play << (line.answers(200, {"C": after, "M": []}) if transport == LP else line.ends())
    play << play.told(Disconnected, client.id, reason=DisconnectReason.closed) << abort.answers(200, "")
    play >> play.completes()
    play.ends()
    assert play.endpoint.statistics().connections == 0


@pytest.mark.parametrize("transport", STREAMS)
def test_fallback_keeps_the_id_and_connected_comes_once(transport: str) -> None:
    play, client = Playbook(server()), Classic(transport)
    first, second, start = Line("first"), Line("second"), Line("start")
    client.negotiates(play)
    play >> first.opens(*client.asks("connect"))
    opened(play, first, transport)
    play << first.gets(C=..., S=1, M=[])  # which the client never sees
    play >> second.opens(*client.asks("connect", transport=LP))
    play << first.ends() << second.answers(200, {"C": client.cursor, "S": 1, "M": []})
    play >> start.opens(*client.asks("start", transport=LP)) << play.told(Connected, client.id)
    play >> play.completes() << start.answers(200, STARTED)
    play >> first.lost()
    play.ends()


@pytest.mark.parametrize("transport", STREAMS)
def test_an_end_waits_until_what_is_in_flight_is_written(transport: str) -> None:
    play, client = Playbook(server()), Classic(transport)
    line, abort = Line("transport"), Line("abort")
    client.begins(play, line)
    line.is_slow = True
    play >> play.does("send", client.id, "one") << line.gets(C=..., M=["one"])
    play >> abort.opens("POST", client.asks("abort")[1])
    play << play.told(Disconnected, client.id) << abort.answers(200, "")  # and nothing on the line
    play >> line.sent() << line.ends()
    play.ends()


@pytest.mark.parametrize("before", ALL)
@pytest.mark.parametrize("after", ALL)
def test_a_new_transport_displaces_the_old_one(before: str, after: str) -> None:
    play, client = Playbook(server()), Classic(before)
    old, new = Line("old"), Line("new")
    client.begins(play, old)
    play >> new.opens(*client.asks("reconnect", cursor=client.cursor, transport=after))
    play << (old.answers(200, {"C": client.cursor, "M": []}) if before == LP else old.ends())
    play << play.told(Reconnected, client.id, recovered=True, missed=0)
    opened(play, new, after)
    play >> play.completes()
    play >> play.does("publish", "*/echo", "news") << gets(new, after, C=Placeholder("later"), M=["news"])
    play.ends()


def test_a_lost_answer_comes_again_for_the_previous_cursor() -> None:
    play, client, poll = Playbook(server()), Classic(LP), Line("poll")
    client.begins(play, poll)
    after = Placeholder("after")
    play >> play.does("publish", "*/echo", "one") << poll.answers(200, {"C": after, "M": ["one"]})
    play >> poll.lost()
    play >> poll.opens(*client.asks("poll", cursor=client.cursor)) << poll.answers(200, {"C": after, "M": ["one"]})
    play >> poll.opens(*client.asks("poll", cursor=after))
    play.ends()


@pytest.mark.parametrize("transport", ALL)
def test_a_reconnect_brings_a_thousand_missed_messages_in_order(transport: str) -> None:
    play, client, line = Playbook(server()), Classic(transport), Line("transport")
    client.begins(play, line)
    play >> line.lost()
    for number in range(1_000):
        play >> play.does("publish", "*/echo", number)
    play >> line.opens(*client.asks("reconnect", cursor=client.cursor))
    play << play.told(Reconnected, client.id, recovered=True, missed=0)
    opened(play, line, transport)
    play << gets(line, transport, C=Placeholder("after"), M=list(range(1_000)))
    play.ends()


@pytest.mark.parametrize("transport", ALL)
def test_what_the_ring_has_dropped_is_told_with_its_number(transport: str) -> None:
    play, client, line = Playbook(server(Settings(ring_messages=32))), Classic(transport), Line("transport")
    client.begins(play, line)
    play >> line.lost()
    for number in range(41):  # a ring drops back to 32 when a quarter more than that is in it
        play >> play.does("publish", "*/echo", number)
    play >> line.opens(*client.asks("reconnect", cursor=client.cursor))
    play << play.told(Reconnected, client.id, recovered=False, missed=9)
    opened(play, line, transport)
    play << gets(line, transport, C=Placeholder("after"), M=list(range(9, 41)))
    play.ends()


def test_a_slow_reader_is_told_of_its_gap_or_ended() -> None:
    for policy in ("skip", "disconnect"):
        play = Playbook(server(Settings(ring_messages=32, slow_policy=policy)))
        client, line = Classic(WS), Line("socket")
        client.begins(play, line)
        line.is_slow = True
        play >> play.does("publish", "*/echo", 0) << line.gets(C=..., M=[0])
        for number in range(1, 42):
            play >> play.does("publish", "*/echo", number)
        play >> line.sent()
        if policy == "skip":
            play << play.told(Gap, client.id, missed=8) << line.gets(C=..., M=list(range(9, 42)))
        else:
            play << line.gets(C=..., M=[], E=...) << line.ends()
            play << play.told(Disconnected, client.id, reason=DisconnectReason.slow)
        play.ends()


@pytest.mark.parametrize("transport", ALL)
def test_a_groups_token_that_was_lost_comes_again(transport: str) -> None:
    play, client, line = Playbook(server()), Classic(transport), Line("transport")
    client.begins(play, line)
    play >> play.does("join", client.id, "lobby")
    play << gets(line, transport, C=Placeholder("joined"), G=Placeholder("lost"), M=[])
    play >> line.lost() >> line.opens(*client.asks("reconnect", cursor=client.cursor))
    play << play.told(Reconnected, client.id, recovered=True)
    opened(play, line, transport)
    play << gets(line, transport, C=Placeholder("again"), G=client.groups, M=[])
    play >> play.completes()
    cursor, groups = Placeholder("later"), client.groups
    play >> line.lost() >> line.opens(*client.asks("reconnect", cursor=client.cursor, groups=groups))
    play << play.told(Reconnected, client.id, recovered=True)
    opened(play, line, transport)  # and nothing else: the client has it
    play >> play.does("publish", "#lobby/echo", "hi") << gets(line, transport, C=cursor, M=["hi"])
    play.ends()


@pytest.mark.parametrize("transport", ALL)
def test_an_unknown_id_is_adopted_with_the_groups_it_may_keep(transport: str) -> None:
    play, client, line = Playbook(server()), Classic(transport), Line("transport")
    client.begins(play, line)
    play >> play.does("join", client.id, "lobby")
    play << gets(line, transport, C=client.cursor.__class__("joined"), G=client.groups, M=[])
    play = Playbook(server(life=1))  # restarted, with the same keys
    play >> line.opens(*client.asks("reconnect", cursor=client.cursor, groups=client.groups))
    play << play.told(Rejoining, client.id, groups=("lobby",))
    opened(play, line, transport)
    play >> play.completes(answer=["lobby"])
    play << play.told(Reconnected, client.id, recovered=False, missed=None, adopted=True)
    play << gets(line, transport, C=Placeholder("new epoch"), G=Placeholder("new token"), M=[])
    play.ends()


@pytest.mark.parametrize("transport", ALL)
def test_draining_sends_everybody_away_and_lets_nobody_in(transport: str) -> None:
    play, client, line = Playbook(server()), Classic(transport), Line("transport")
    client.begins(play, line)
    play >> play.does("drain")
    if transport == LP:
        play << line.answers(200, {"C": client.cursor, "T": 1, "M": []})
    else:
        play << line.ends()
    play << play.told(Disconnected, client.id, reason=DisconnectReason.shutdown)
    play >> line.opens("GET", "/echo/negotiate?clientProtocol=2.1") << line.answers(503)
    play.ends()


@pytest.mark.parametrize("transport", ALL)
def test_an_ended_id_does_not_come_back(transport: str) -> None:
    play, client, line = Playbook(server()), Classic(transport), Line("transport")
    client.begins(play, line)
    play >> play.does("close", client.id, reason="enough")
    if transport == LP:
        play << line.answers(200, {"C": client.cursor, "M": [], "E": "enough"})
    else:
        play << line.gets(C=client.cursor, M=[], E="enough") << line.ends()
    play << play.told(Disconnected, client.id, reason=DisconnectReason.aborted)
    play >> play.completes()
    play >> line.opens(*client.asks("reconnect", cursor=client.cursor))
    opened(play, line, transport)
    play << gets(line, transport, C=..., M=[], E=...)
    if transport != LP:
        play << line.ends()
    play.ends()


def test_a_conversation_that_goes_otherwise_shows_both() -> None:
    play, ping = Playbook(server()), Line("ping")
    play >> ping.opens("GET", "/echo/ping")
    with pytest.raises(AssertionError) as wrong:
        play << ping.answers(404)
    assert str(wrong.value).splitlines() == [
        ">> ping GET /echo/ping",
        "+ << ping answers 200 {'Response': 'pong'}",
        "- expected << ping answers 404",
    ]
    with pytest.raises(AssertionError, match="nothing more was expected"):
        play >> play.passes(1)
    with pytest.raises(LookupError, match="nothing has been met"):
        Classic(WS).asks("connect")
