"""What layers like hubs need: topics chosen when a client comes, replies, and word of those who left."""

from __future__ import annotations

import pytest

from persistconn import LocalProtocolError, RemoteProtocolError, Settings
from persistconn.bus.post import Payload
from persistconn.bus.topic import everyone, named
from persistconn.protocol import Admission, Deserted, Drained, Exchange, Received, Transmit
from persistconn.wire.http import Message

from .talk import ALL, LP, SSE, WS, Client, Talk


@pytest.fixture
def talk() -> Talk:
    return Talk()


def received(talk: Talk) -> Received:
    """The message that the application deals with."""
    event = talk.events[-1]
    assert isinstance(event, Received)
    return event


def begun(talk: Talk, transport: str) -> tuple[Client, Exchange | None, Received]:
    """A client whose message is being dealt with, and the `/send` it came in."""
    client = Client(talk, transport).start()
    talk.automatic = False
    sending = client.send("ask")
    return client, sending, received(talk)


def replies(talk: Talk, exchange: Exchange | None) -> list[bytes]:
    assert exchange is not None
    return [
        bytes(piece.data) for piece in talk.pieces[exchange] if isinstance(piece, Message) and b'"C"' not in piece.data
    ]


# Topics -----------------------------------------------------------------------------------------


def publish(talk: Talk, name: str, data: object, route: str = "/echo") -> None:
    talk.endpoint.publish(named(route, name), Payload(data), talk.now)
    talk.drain()


@pytest.mark.parametrize("transport", ALL)
def test_who_is_admitted_with_topics_reads_them_from_the_first_moment(talk: Talk, transport: str) -> None:
    client = Client(talk, transport)
    path, upgrade = "/echo/connect", transport == WS
    client.exchange = talk.open(path, client.query(), upgrade=upgrade, admission=Admission(topics=("red", "blue")))
    publish(talk, "red", 1)
    publish(talk, "green", 2)
    publish(talk, "blue", 3, route="/other")
    client.take()
    client.ask("start")
    publish(talk, "blue", 4)
    if transport == LP:
        client.poll()
    client.take()
    assert client.messages == [1, 4]


def test_only_the_request_that_brings_a_connection_counts(talk: Talk) -> None:
    client = Client(talk, SSE).start()
    client.drop()
    talk.open("/echo/reconnect", client.query(messageId=client.cursor), admission=Admission(topics=("red",)))
    publish(talk, "red", 1)
    assert talk.endpoint.statistics().rings.posts == 0  # nobody reads it


def test_a_topic_is_no_group_and_no_token_speaks_of_it(talk: Talk) -> None:
    client = Client(talk, SSE)
    client.exchange = talk.open("/echo/connect", client.query(), admission=Admission(topics=("red",)))
    client.ask("start")
    talk.to_group("red", "to the group")
    publish(talk, "red", "to the topic")
    assert client.take() == ["to the topic"] and client.groups_token is None
    assert talk.endpoint.terms.topics_of(client.id) == ("red",) and talk.endpoint.terms.topics_of("nobody") == ()
    talk.endpoint.leave(client.id, "red", talk.now)
    publish(talk, "red", "still")
    assert client.take() == ["still"]


def test_who_has_gone_reads_no_topic_any_more(talk: Talk) -> None:
    client = Client(talk, SSE)
    talk.open("/echo/connect", client.query(), admission=Admission(topics=("red",)))
    client.ask("start")
    client.ask("abort")
    publish(talk, "red", 1)
    assert talk.endpoint.statistics().rings.topics == 0


@pytest.mark.parametrize(("status", "reason"), [(500, "No such topic."), (403, "Not you."), (401, "")])
def test_a_refusal_may_give_its_reason(talk: Talk, status: int, reason: str) -> None:
    exchange = talk.open("/echo/negotiate", admission=Admission(status, reason))
    assert (talk.status(exchange), talk.body(exchange).decode()) == (status, reason)


# Replies ----------------------------------------------------------------------------------------


def test_a_reply_is_a_message_of_its_own_on_a_websocket(talk: Talk) -> None:
    client, _, event = begun(talk, WS)
    assert talk.endpoint.reply(event, Payload({"R": 1}), talk.now)
    talk.endpoint.complete(event, talk.now, hold=True)
    assert talk.endpoint.reply(event, Payload({"R": 2}), talk.now)
    talk.drain()
    assert replies(talk, client.exchange)[-2:] == [b'{"R":1}', b'{"R":2}']
    assert client.take() == []


@pytest.mark.parametrize("transport", [SSE, LP])
def test_a_held_request_is_answered_by_its_reply(talk: Talk, transport: str) -> None:
    _, sending, event = begun(talk, transport)
    assert sending is not None
    talk.endpoint.complete(event, talk.now, hold=True)
    talk.drain()
    assert not talk.pieces[sending]
    assert talk.endpoint.reply(event, Payload([1]), talk.now)
    assert talk.endpoint.reply(event, Payload([2]), talk.now)  # it has one answer only
    talk.drain()
    assert (talk.status(sending), talk.body(sending), talk.is_over(sending)) == (200, b"[1]", True)


def test_a_reply_may_be_an_error_with_a_status(talk: Talk) -> None:
    _, sending, event = begun(talk, SSE)
    assert sending is not None
    talk.endpoint.complete(event, talk.now, hold=True)
    talk.endpoint.reply(event, RemoteProtocolError("gone", status=410), talk.now)
    talk.drain()
    assert (talk.status(sending), talk.body(sending)) == (410, b"gone")


def test_on_a_websocket_nobody_is_told_of_an_error(talk: Talk) -> None:
    client, _, event = begun(talk, WS)
    before = len(talk.pieces[client.exchange])  # type: ignore[index]
    assert talk.endpoint.reply(event, RemoteProtocolError("gone", status=410), talk.now)
    talk.endpoint.complete(event, talk.now, error=RemoteProtocolError("gone"))
    talk.drain()
    assert len(talk.pieces[client.exchange]) == before  # type: ignore[index]


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [(RemoteProtocolError("no call", status=500), 500, b"no call"), (RemoteProtocolError("bad"), 400, b"bad"),
     (ValueError("secret"), 500, b"")],
)  # fmt: skip
def test_a_message_that_failed_is_answered_with_what_may_be_said(
    talk: Talk, error: Exception, status: int, text: bytes
) -> None:
    _, sending, event = begun(talk, SSE)
    assert sending is not None
    talk.endpoint.complete(event, talk.now, error=error)
    talk.drain()
    assert (talk.status(sending), talk.body(sending)) == (status, text)


@pytest.mark.parametrize("transport", [SSE, LP])
def test_what_was_sent_before_a_reply_leaves_before_it(talk: Talk, transport: str) -> None:
    client, sending, event = begun(talk, transport)
    talk.endpoint.send(client.id, Payload("progress"), talk.now)
    talk.endpoint.publish(everyone("/echo"), Payload("to all"), talk.now)
    talk.endpoint.reply(event, Payload("result"), talk.now)
    written = [output.exchanges[0] for output in talk.drain() if isinstance(output, Transmit)]
    assert written == [client.exchange, sending]


def test_what_was_sent_before_a_reply_leaves_before_it_on_a_websocket(talk: Talk) -> None:
    client, _, event = begun(talk, WS)
    talk.endpoint.send(client.id, Payload("progress"), talk.now)
    talk.endpoint.reply(event, Payload("result"), talk.now)
    talk.drain()
    assert client.exchange is not None
    last = [piece.data for piece in talk.pieces[client.exchange][-2:] if isinstance(piece, Message)]
    assert b'"M":["progress"]' in last[0] and last[1] == b'"result"'


def test_replies_do_not_travel_to_the_next_transport(talk: Talk) -> None:
    client, _, event = begun(talk, WS)
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("in flight")
    talk.endpoint.reply(event, Payload("lost"), talk.now)
    client.drop()
    talk.endpoint.reply(event, Payload("lost, too"), talk.now)
    after = client.reconnect()
    talk.endpoint.reply(event, Payload("of a transport that has gone"), talk.now)
    talk.drain()
    assert replies(talk, after) == []


def test_a_reply_to_a_client_that_has_gone_is_dropped(talk: Talk) -> None:
    client, sending, event = begun(talk, SSE)
    assert sending is not None
    talk.endpoint.complete(event, talk.now, hold=True)
    client.ask("abort")
    talk.lost(sending)
    assert talk.endpoint.reply(event, Payload("x"), talk.now)
    assert talk.endpoint.reply(event, RemoteProtocolError("x"), talk.now)
    talk.drain()
    assert not talk.pieces[sending]


@pytest.mark.parametrize(
    "limits", [Settings(send_high_water=3), Settings(send_high_water=100, send_high_water_bytes=3 * 5)]
)
def test_who_replies_faster_than_the_client_reads_has_to_wait(limits: Settings) -> None:
    talk = Talk(limits)
    client, _, event = begun(talk, WS)
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("in flight")
    assert [talk.endpoint.reply(event, Payload("xyz"), talk.now) for _ in range(5)] == [True, True, True, False, False]
    assert Drained(client.id) not in talk.drain()
    talk.sent(client.exchange)  # now they are handed out
    assert [output for output in talk.outputs if isinstance(output, Drained)] == [Drained(client.id)]
    assert len(replies(talk, client.exchange)) == 5
    assert talk.endpoint.reply(event, Payload("xyz"), talk.now)


def test_who_waits_learns_of_the_end(talk: Talk) -> None:
    talk = Talk(Settings(send_high_water=1))
    client, _, event = begun(talk, WS)
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("in flight")
    assert [talk.endpoint.reply(event, Payload("x"), talk.now) for _ in range(2)] == [True, False]
    client.ask("abort")
    assert Drained(client.id) in talk.outputs


# Word of those who left -------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ALL)
def test_the_application_learns_that_nobody_waits_any_more(talk: Talk, transport: str) -> None:
    client, _, event = begun(talk, transport)
    client.ask("abort")
    assert talk.outputs.count(Deserted(client.id)) == 1
    talk.endpoint.complete(event, talk.now)
    talk.drain()
    talk.endpoint.complete(talk.events[-1], talk.now)
    assert talk.endpoint.statistics().connections == 0


def test_a_lost_line_is_no_desertion_until_its_time_is_over(talk: Talk) -> None:
    client, _, _ = begun(talk, WS)
    client.drop()
    assert Deserted(client.id) not in talk.outputs
    talk.pass_time(100)
    assert Deserted(client.id) in talk.outputs


def test_who_leaves_while_nothing_of_it_is_dealt_with_deserts_nobody(talk: Talk) -> None:
    client = Client(talk, WS).start()
    client.ask("abort")
    other = Client(talk, WS)
    talk.automatic = False
    other.attach("connect")
    other.ask("start")
    other.ask("abort")  # while the application is told of its beginning
    assert not [output for output in talk.outputs if isinstance(output, Deserted)]


# Limits of others -------------------------------------------------------------------------------


def test_limits_that_others_look_after_are_counted(talk: Talk) -> None:
    for _ in range(2):
        talk.endpoint.terms.react("max_call_rate")
    assert talk.endpoint.statistics().reactions == {"max_call_rate": 2}


def test_a_message_is_completed_once(talk: Talk) -> None:
    _, _, event = begun(talk, WS)
    talk.endpoint.complete(event, talk.now)
    with pytest.raises(LocalProtocolError, match="not in flight"):
        talk.endpoint.complete(event, talk.now)


@pytest.mark.parametrize("high_water", [1, 256])
def test_what_was_sent_before_a_reply_leaves_before_it_however_many_batches_that_takes(high_water: int) -> None:
    talk = Talk(Settings(batch_messages=2, send_high_water=high_water))
    client, _, event = begun(talk, WS)
    keeps_up = [talk.endpoint.send(client.id, Payload(number), talk.now) for number in range(5)]
    talk.endpoint.reply(event, Payload("done"), talk.now)
    talk.endpoint.complete(event, talk.now)
    assert client.exchange is not None
    talk.automatic = True
    talk.drain()
    said = [bytes(piece.data) for piece in talk.pieces[client.exchange] if isinstance(piece, Message)]
    assert said[-1] == b'"done"' and b"[4]" in said[-2]
    assert talk.outputs.count(Drained(client.id)) == (not all(keeps_up))
