"""What an endpoint counts: connections by dialect and transport, what they carried, and their ends."""

from __future__ import annotations

import pytest

from persistconn.protocol import DisconnectReason, Exchange
from persistconn.protocol.session import Link
from persistconn.protocol.statistics import Ended, TransportStatistics
from persistconn.wire.http import Chunk, Message, Request

from .talk import ALL, LP, WS, Client, Talk


def only(talk: Talk) -> TransportStatistics:
    (found,) = [one for one in talk.endpoint.statistics().transports if one.started or one.active or one.ended]
    return found


def carried(talk: Talk, exchange: Exchange) -> int:
    return sum(len(piece.data) for piece in talk.pieces[exchange] if isinstance(piece, Chunk | Message))


def is_right(talk: Talk) -> bool:
    """The number of attached connections, which is counted as they come and go."""
    sessions = talk.endpoint._sessions.values()
    return talk.endpoint.statistics().attached == sum(session.link is Link.ATTACHED for session in sessions)


@pytest.mark.parametrize("transport", ALL)
def test_a_life_is_counted_where_it_was_lived(transport: str) -> None:
    ended: list[Ended] = []
    talk = Talk(on_ended=ended.append)
    client = Client(talk, transport).start()
    assert is_right(talk)
    talk.now += 7.0
    for text in ("one", "two", "three"):
        client.send(text)
    talk.broadcast("to all")
    assert client.take() == ["to all"]
    assert is_right(talk)
    before = only(talk)
    assert (before.dialect, before.transport) == ("classic", transport)
    assert (before.active, before.started, before.ended) == (1, 1, {})
    assert (before.messages_in, before.messages_out) == (3, 1)
    assert before.bytes_out >= len('"to all"')
    assert talk.endpoint.connections == 1
    client.ask("abort")
    after = only(talk)
    assert (after.active, after.started, after.ended) == (0, 1, {"closed": 1})
    (end,) = ended
    assert (end.connection_id, end.route, end.transport) == (client.id, "/echo", transport)
    assert (end.reason, end.duration) == (DisconnectReason.closed, 7.0)
    assert is_right(talk)


def test_bytes_are_those_of_what_carried_messages() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    begun = only(talk).bytes_out
    before = carried(talk, client.exchange)
    for text in ("x", "y" * 100):
        talk.broadcast(text)
    assert only(talk).bytes_out - begun == carried(talk, client.exchange) - before


def test_a_client_that_falls_back_counts_where_it_is_now() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    talk.lost(client.exchange)
    assert is_right(talk)
    client.transport = LP
    client.reconnect()
    assert is_right(talk)
    found = {one.transport: one for one in talk.endpoint.statistics().transports}
    assert (found[WS].active, found[WS].started) == (0, 1)
    assert (found[LP].active, found[LP].started) == (1, 0)
    talk.endpoint.drain(talk.now)
    talk.drain()
    found = {one.transport: one for one in talk.endpoint.statistics().transports}
    assert (found[LP].active, found[LP].ended) == (0, {"shutdown": 1})
    assert is_right(talk)


def test_who_only_negotiated_counts_on_no_transport() -> None:
    ended: list[Ended] = []
    talk = Talk(on_ended=ended.append)
    talk.open("/echo/negotiate", "negotiateVersion=1", method="POST")
    assert talk.endpoint.statistics().transports == ()
    talk.pass_time(60)
    assert talk.endpoint.connections == 0
    assert ended == []


def test_a_first_poll_that_is_answered_at_once_begins_a_connection() -> None:
    talk = Talk()
    negotiated = talk.json(talk.open("/echo/negotiate", "negotiateVersion=1", method="POST"))
    talk.open("/echo", f"id={negotiated['connectionToken']}")
    one = only(talk)
    assert (one.dialect, one.transport, one.active, one.started) == ("aspnetcore", LP, 1, 1)
    assert talk.endpoint.statistics().attached == 0
    assert is_right(talk)


def test_an_exchange_says_for_the_log_whose_it_is() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    assert client.exchange.log_extra == {"connection_id": client.id, "transport": WS, "route": "/echo"}
    assert Exchange(Request("GET", "/")).log_extra == {"connection_id": "", "transport": "", "route": ""}
