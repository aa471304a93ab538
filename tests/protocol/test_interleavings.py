"""Two things at once: each test is an order of events that was handled wrongly, or could easily be."""

from __future__ import annotations

import pytest

from persistconn import Settings
from persistconn.bus.post import Payload
from persistconn.bus.topics import Topics
from persistconn.protocol import Connected, Disconnected, DisconnectReason, Reconnected, Rejoining, Transmit
from persistconn.wire.http import Message

from .talk import LP, SSE, WS, Client, Ping, Talk


def test_start_during_an_adoption_is_answered_when_the_application_knows_the_connection() -> None:
    """A long polling client polls and starts at the same time; between its connect and these, we were restarted."""
    client = Client(Talk(epoch=1), LP)
    client.attach("connect")
    client.take()
    after = client.talk = Talk(epoch=2)
    after.automatic = False
    client.poll()
    start = client.ask("start")
    assert after.pieces[start] == []
    after.endpoint.complete(after.told(Reconnected)[0], after.now)
    after.drain()
    assert after.body(start) == b'{ "Response": "started" }'
    assert not after.told(Connected)


def test_a_full_inbox_is_not_read_on_a_new_transport_either() -> None:
    talk = Talk(Settings(inbox_messages=4))
    client = Client(talk, WS).start()
    talk.automatic = False
    for text in "abcde":
        client.send(text)
    assert client.exchange is not None
    assert client.exchange.paused
    client.reconnect()
    assert client.exchange.paused
    for _ in range(5):
        talk.endpoint.complete(talk.events[-1], talk.now)
        talk.drain()
    assert not client.exchange.paused


def test_a_client_we_do_not_read_is_not_lost_for_answering_no_pings() -> None:
    talk = Talk(Settings(inbox_messages=4))
    client = Client(talk, WS).start()
    talk.automatic = False
    talk.mute = True  # its pongs lie in the socket
    talk.pass_time(29)
    for text in "abcde":
        client.send(text)
    talk.pass_time(200)
    assert not [output for output in talk.outputs if "Abandon" in repr(output)]
    for _ in range(3):
        talk.endpoint.complete(talk.events[-1], talk.now)
        talk.drain()
    talk.mute = False
    talk.pass_time(200)
    assert not [output for output in talk.outputs if "Abandon" in repr(output)]


@pytest.mark.parametrize("transport", [SSE, LP])
def test_who_asks_for_an_upgrade_on_another_transport_gets_no_pings(transport: str) -> None:
    talk = Talk()
    client = Client(talk, transport)
    exchange = talk.open("/echo/connect", client.query(), upgrade=True, pings=True)
    if transport == LP:
        exchange = talk.open("/echo/poll", client.query(), upgrade=True, pings=True)
    talk.pass_time(60)
    assert Ping() not in talk.pieces[exchange]
    assert not talk.is_over(exchange)


def test_a_send_that_asks_for_an_upgrade_is_answered() -> None:
    talk = Talk()
    client = Client(talk, SSE).start()
    exchange = talk.open("/echo/send", client.query(), upgrade=True, body="data=x")
    assert talk.status(exchange) == 200
    assert talk.is_over(exchange)


def test_what_is_due_leaves_before_what_comes_later() -> None:
    """The token of a join that was asked for while a write was in flight goes with the next envelope."""
    talk = Talk()
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("in flight")
    talk.endpoint.join(client.id, "lobby", talk.now)
    talk.endpoint.publish("all:/echo", Payload("later"), talk.now)
    talk.endpoint.sent([client.exchange], talk.now)
    talk.drain()
    last = talk.envelopes(client.exchange)[-1]
    assert (last["M"], "G" in last) == (["later"], True)


@pytest.mark.parametrize("slow", [False, True])
def test_a_sign_of_life_does_not_hide_what_waits_to_be_handed_out(slow: bool) -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("in flight")
    talk.broadcast("waiting")
    talk.slow.clear()
    talk.now += 10
    talk.endpoint.sent([client.exchange], talk.now)
    talk.endpoint.tick(talk.now)  # before anything was polled
    if slow:
        talk.slow.add(client.exchange)
    talk.broadcast("newest")
    if slow:
        talk.slow.clear()
        talk.sent(client.exchange)
    assert client.take() == ["in flight", "waiting", "newest"]


def test_who_is_lost_when_its_turn_comes_gets_it_on_the_next_transport() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("in flight")
    talk.broadcast("waiting")
    client.take()
    talk.endpoint.sent([client.exchange], talk.now)
    client.drop()
    client.reconnect()
    client.take()
    assert client.messages == ["in flight", "waiting"]


def test_a_join_does_not_bring_what_was_sent_before() -> None:
    talk = Talk()
    one, two = Client(talk, WS).start(), Client(talk, WS).start()
    talk.endpoint.join(one.id, "g", talk.now)
    talk.endpoint.publish("group:/echo\ng", Payload("before"), talk.now)
    talk.endpoint.join(two.id, "g", talk.now)
    talk.endpoint.publish("group:/echo\ng", Payload("after"), talk.now)
    talk.drain()
    assert (one.take(), two.take()) == (["before", "after"], ["after"])


def test_a_transport_may_be_stuck_for_as_long_as_the_write_deadline() -> None:
    talk = Talk(Settings(write_deadline=25))
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("stuck")
    talk.pass_time(34)
    assert not talk.told(Disconnected)
    talk.pass_time(2)
    assert talk.told(Disconnected)[0].reason is DisconnectReason.slow


def test_a_request_that_finds_its_connection_fallen_out_of_the_ring_is_told_of_the_end() -> None:
    talk = Talk(Settings(ring_messages=32))
    client = Client(talk, WS).start()
    for number in range(41):
        talk.endpoint.publish("all:/echo", Payload(number), talk.now)
    exchange = client.reconnect()  # nothing was polled in between
    assert talk.told(Disconnected)[0].reason is DisconnectReason.slow
    assert talk.envelopes(exchange)[0]["E"] == "This connection has ended."


def test_after_a_gap_an_end_brings_no_messages() -> None:
    talk = Talk(Settings(ring_messages=32))
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("in flight")
    talk.broadcast(*range(60))
    talk.endpoint.close(client.id, talk.now, reason="enough")
    talk.drain()
    talk.sent(client.exchange)
    assert client.take() == ["in flight"]
    assert talk.envelopes(client.exchange)[-1]["E"] == "enough"


def test_a_browser_that_repeats_its_connect_after_a_gap_goes_on() -> None:
    """Nobody can know what it missed, and the application is told so; that the ring moved on adds nothing."""
    talk = Talk(Settings(ring_messages=32))
    client = Client(talk, SSE).start()
    client.drop()
    talk.broadcast(*range(60))
    client.attach("connect")
    assert not talk.told(Disconnected)
    assert client.take() == list(range(60))[-len(client.messages) :]
    assert [(event.recovered, event.missed) for event in talk.told(Reconnected)] == [(False, None)]


def test_what_one_moment_publishes_is_divided_as_a_batch() -> None:
    talk = Talk(Settings(batch_bytes=1000))
    client = Client(talk, WS).start()
    for _ in range(4):
        talk.endpoint.publish("all:/echo", Payload("x" * 300), talk.now)
    talk.drain()
    assert client.exchange is not None
    assert [len(envelope["M"]) for envelope in talk.envelopes(client.exchange)[1:]] == [2, 2]


def test_groups_beyond_the_limit_are_left_behind_when_a_connection_is_adopted() -> None:
    before = Talk(epoch=1)
    client = Client(before, WS).start()
    for name in "abc":
        before.endpoint.join(client.id, name, before.now)
    before.drain()
    client.take()
    after = client.talk = Talk(Settings(max_groups=2), epoch=2)
    client.reconnect()
    assert [type(event) for event in after.events] == [Rejoining, Reconnected]
    for name in "abc":
        after.to_group(name, name)
    assert client.take() == ["a", "b"]
    assert after.endpoint.statistics().reactions == {"max_groups": 1}


def test_who_joins_and_leaves_for_years_costs_no_more_than_at_first() -> None:
    topics = Topics(Settings(ring_age=10))
    somebody, restless = topics.reader("somebody"), topics.reader("restless")
    topics.subscribe(somebody, "room")
    for second in range(100):
        topics.subscribe(restless, "room")
        topics.publish("room", Payload(second), float(second))
        restless.position = topics.head
        topics.unsubscribe(restless, "room")
        topics.subscribe(restless, "room")
        topics.expire(float(second))
        topics.trim(restless)
        topics.unsubscribe(restless, "room")
    (intervals,) = restless.memberships.values()
    assert len(intervals) < 60


def test_reconnects_without_a_loss_leave_nothing_to_remember() -> None:
    topics = Topics(Settings(ring_messages=32))
    reader = topics.reader("reader")
    topics.subscribe(reader, "news")
    for number in range(60):
        topics.publish("news", Payload(number), 0.0)
    topics.account(reader)
    assert reader.accounted is not None
    for number in range(20):
        reader.position = topics.head
        topics.publish("news", Payload(number), 0.0)
        assert topics.account(reader) == 0
    assert [len(spans) for spans in reader.accounted.values()] == [1]


def test_an_unread_reply_of_a_displaced_transport_goes_with_the_newer() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    assert client.exchange is not None
    client.send("x")
    talk.endpoint.reply(talk.events[-1], Payload("answer"), talk.now)
    assert [output for output in talk.drain() if isinstance(output, Transmit)]
    assert [piece.data for piece in talk.pieces[client.exchange] if isinstance(piece, Message)][-1] == b'"answer"'
